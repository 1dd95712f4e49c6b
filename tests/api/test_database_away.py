"""The database goes away and comes back: honest answers meanwhile, and nobody has to restart anything."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.api.deps import Transaction
from app.core.config import Settings
from tests.api.probes import add_route
from tests.conftest import browser
from tests.factories import Person, make_user, sign_in

pytestmark = pytest.mark.anyio

CUT = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"


class Outage:
    """Keeps everybody out of one database, as if its server were gone."""

    def __init__(self, server_url: str, database_url: str) -> None:
        self._name = make_url(database_url).database
        self._engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")

    async def begin(self) -> None:
        await self._run(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS false")
        await self.cut_connections()

    async def end(self) -> None:
        await self._run(f"ALTER DATABASE {self._name} ALLOW_CONNECTIONS true")

    async def cut_connections(self) -> None:
        """Returns when the last of them is gone."""
        await self._run(CUT.format(name=self._name))

    async def _run(self, statement: str) -> None:
        async with self._engine.connect() as connection:
            await connection.exec_driver_sql(statement)


@pytest.fixture
def outage(server_url: str, fresh_database_url: str) -> Outage:
    return Outage(server_url, fresh_database_url)


@pytest.fixture
async def own_service(
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]],
    settings: Settings,
    fresh_database_url: str,
) -> AsyncIterator[FastAPI]:
    own = Settings(_env_file=None, **{**settings.model_dump(), "database_url": fresh_database_url})
    async with start_service(own) as app:
        yield app


@pytest.fixture
async def person(own_service: FastAPI) -> Person:
    return await make_user(own_service.state.gtm)


@pytest.fixture
async def visitor(own_service: FastAPI, person: Person) -> AsyncIterator[httpx2.AsyncClient]:
    token = (await sign_in(own_service.state.gtm, person)).access_token
    async with browser(own_service, token=token) as client:
        yield client


async def test_away_it_is_a_503_and_back_it_works_at_the_first_request(
    visitor: httpx2.AsyncClient, outage: Outage, person: Person
) -> None:
    assert (await visitor.get("/api/v1/jobs")).status_code == 200
    await outage.begin()
    login = {"username": person.email, "password": person.password}
    for answer in (
        await visitor.get("/api/v1/jobs"),
        await visitor.get("/api/v1/jobs/1/log"),
        await visitor.get("/api/v1/events"),
        await visitor.post("/api/v1/auth/login", data=login),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
        assert answer.headers["retry-after"] == "2"
    assert (await visitor.get("/livez")).status_code == 200
    assert (await visitor.get("/health")).json()["database"] == "failed"
    metrics = await visitor.get("/metrics")
    assert metrics.status_code == 200
    assert "gtm_database_up 0.0" in metrics.text
    await outage.end()
    for _ in range(3):
        assert (await visitor.get("/api/v1/jobs")).status_code == 200
    assert (await visitor.post("/api/v1/auth/login", data=login)).status_code == 200


async def test_connections_that_died_in_the_pool_cost_no_request(visitor: httpx2.AsyncClient, outage: Outage) -> None:
    assert (await visitor.get("/api/v1/jobs")).status_code == 200
    await outage.cut_connections()
    assert (await visitor.get("/api/v1/jobs")).status_code == 200


async def test_a_connection_that_dies_under_a_request_costs_that_request_only(
    own_service: FastAPI, outage: Outage
) -> None:
    async def hold(connection: Transaction) -> None:
        await connection.execute(text("SELECT 1"))
        await outage.cut_connections()
        await connection.execute(text("SELECT 1"))

    path = add_route(own_service, hold)
    async with browser(own_service) as client:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
        assert (await client.get("/health")).status_code == 200


async def test_a_commit_that_fails_is_never_answered_as_a_success(own_service: FastAPI, outage: Outage) -> None:
    async def write(connection: Transaction) -> str:
        await connection.execute(text("INSERT INTO login_failures (subject, failed_at) VALUES ('lost', now())"))
        await outage.cut_connections()
        return "written"

    path = add_route(own_service, write, methods=["POST"])
    async with browser(own_service) as client:
        answer = await client.post(path)
    assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable")
    async with own_service.state.gtm.database.autocommit() as connection:
        assert (
            await connection.execute(text("SELECT count(*) FROM login_failures WHERE subject = 'lost'"))
        ).scalar_one() == 0
