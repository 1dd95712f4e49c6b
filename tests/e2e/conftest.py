"""Deployments: on the shared server, or on one of their own that may be stopped and killed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.db.embedded import EmbeddedPostgres
from app.db.migrations import upgrade_to_head
from tests.e2e.deployment import Deployment, deployed


@pytest.fixture
async def deployment(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployed(fresh_database_url, tmp_path) as deployment:
        yield deployment


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """What a killed process wrote is the kernel's, so that `fsync` matters only when the power fails."""
    server = EmbeddedPostgres(tmp_path, settings={"fsync": "off"})
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def deployment_on_own_server(own_server: EmbeddedPostgres, tmp_path: Path) -> AsyncIterator[Deployment]:
    url = await asyncio.to_thread(own_server.start)
    await asyncio.to_thread(upgrade_to_head, url)
    async with deployed(url, tmp_path) as deployment:
        yield deployment
