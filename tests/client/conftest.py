"""The client against the real service, which runs as a process with its dispatcher inside. Nothing is mocked.

    def test_…(sara: Gtm, reza: Gtm):
        job = sara("submit", "--parsable", "--gpus", "1", "--", "sleep", "60").out.strip()
        reza("admin", "approve", job)

Tests can be plain functions: a call waits for its end. Simulated time passes 3600 times faster than real time:
`sleep 7200` is a run of two seconds. A job that a test must find running gets hundreds of hours, which are minutes.
"""

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app.api.state import AppState
from tests.browser.service import Service, serving
from tests.client.runner import Gtm, new_gtm
from tests.conftest import cloned
from tests.factories import Person, make_token, make_user
from tests.services.desk import Desk

ENVIRONMENT = {
    "SIMULATION_SPEEDUP": "3600",
    "SIMULATION_FAILURE_RATE": "0",
    "DISPATCHER_TICK_SECONDS": "0.1",
    "DEFAULT_MONTHLY_GPU_HOURS": "1000",
    "LOGIN_FAILURE_LIMIT": "1000",
}


@pytest.fixture(autouse=True)
def _with_async_fixtures(anyio_backend: str) -> None:
    """Plain functions get them too."""


@pytest.fixture(scope="package")
def _client_database_url(server_url: str, template: str) -> Iterator[str]:
    with cloned(server_url, template, "client") as url:
        yield url


@pytest.fixture(scope="package")
async def _running_service(
    _client_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    async with serving(_client_database_url, tmp_path_factory.mktemp("client"), ENVIRONMENT) as service:
        yield service


@pytest.fixture
async def service(_running_service: Service) -> AsyncIterator[Service]:
    """It runs, and nobody has used it yet. A test may stop it: `_running_service` is started again for the next one."""
    await _running_service.forget_everything()
    yield _running_service
    if _running_service.process.died_by_itself():
        await _running_service.start()


@pytest.fixture
def state(service: Service) -> AppState:
    """What factories need, on the service's database."""
    return service.state


@pytest.fixture
def desk(state: AppState) -> Desk:
    """Jobs and quotas without `gtm`."""
    return Desk(state)


@pytest.fixture
async def user(state: AppState) -> Person:
    return await make_user(state, email="sara@example.org", full_name="Sara Ahmadi")


@pytest.fixture
async def admin(state: AppState) -> Person:
    return await make_user(state, email="reza@example.org", full_name="Reza Karimi", is_admin=True)


@pytest.fixture
def nobody_there() -> Iterator[str]:
    """A URL that refuses connections: its port is taken, so that no other program comes to listen there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def gtm(service: Service, tmp_path: Path) -> Gtm:
    """Somebody who is not signed in, and whose GTM_URL is the service's."""
    return new_gtm(tmp_path / "nobody", GTM_URL=service.url)


@pytest.fixture
async def sara(service: Service, user: Person, tmp_path: Path) -> Gtm:
    """A user with a token of all scopes in GTM_TOKEN."""
    return new_gtm(tmp_path / "sara", GTM_URL=service.url, GTM_TOKEN=(await make_token(service.state, user)).secret)


@pytest.fixture
async def reza(service: Service, admin: Person, tmp_path: Path) -> Gtm:
    """An admin with a token of all scopes in GTM_TOKEN."""
    return new_gtm(tmp_path / "reza", GTM_URL=service.url, GTM_TOKEN=(await make_token(service.state, admin)).secret)
