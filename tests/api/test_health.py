"""What load balancers, containers and operators ask: is it alive, can it serve, is all in order?"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.state import AppState
from app.core.config import Settings
from app.db.queries import lease
from tests.conftest import browser
from tests.owner import become_owner

pytestmark = pytest.mark.anyio


async def hold_lease(state: AppState, ttl: timedelta = timedelta(seconds=15)) -> None:
    async with state.database.autocommit() as connection:
        await lease.acquire(connection, holder="test", ttl=ttl)


async def test_all_is_in_order_with_a_database_and_a_dispatcher(client: httpx2.AsyncClient, state: AppState) -> None:
    await hold_lease(state)
    for path in ("/health", "/readyz"):
        answer = await client.get(path)
        assert answer.status_code == 200
        body = answer.json()
        assert 0 <= body.pop("lease_age_seconds") < 5
        assert body == {
            "status": "ok",
            "database": "ok",
            "migrations": "ok",
            "dispatcher": "ok",
        }


@pytest.mark.parametrize("path", ["/livez", "/health", "/docs"])
async def test_watchers_that_ask_with_head_are_answered(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""


async def test_without_a_dispatcher_the_service_can_be_used_but_is_not_ready(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health")).json()["dispatcher"] == "failed"
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
    assert answer.json()["dispatcher"] == "failed"
    assert answer.headers["retry-after"] == "2"


async def test_a_lease_that_ran_out_is_no_dispatcher(client: httpx2.AsyncClient, state: AppState) -> None:
    await hold_lease(state, ttl=timedelta(seconds=-1))
    assert (await client.get("/readyz")).json()["dispatcher"] == "failed"


async def test_a_database_at_another_migration_is_not_served(
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]],
    settings: Settings,
    fresh_database_url: str,
) -> None:
    own = Settings(_env_file=None, **{**settings.model_dump(), "database_url": fresh_database_url})
    async with start_service(own) as app, browser(app) as client:
        assert (await client.get("/health")).status_code == 200
        async with app.state.gtm.database.transaction() as connection:
            await become_owner(connection)
            await connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
        for path in ("/health", "/readyz"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")
            assert answer.json()["migrations"] == "failed"
        assert (await client.get("/livez")).json() == {"status": "ok"}
