"""A second service for a module of tests, to which they may add routes."""

from collections.abc import AsyncIterator

import pytest
from fastapi import FastAPI

from app.core.clock import Clock
from app.core.config import Settings
from app.main import create_app


@pytest.fixture(scope="module")
async def probe(settings: Settings, _session_clock: Clock) -> AsyncIterator[FastAPI]:
    app = create_app(settings, _session_clock)
    async with app.router.lifespan_context(app):
        yield app
