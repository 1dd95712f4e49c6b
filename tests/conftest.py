"""What tests share: a real PostgreSQL, the service on it, and people who use it.

The server is an embedded one of its own, or the one that `TEST_DATABASE_URL` names (PostgreSQL 15 or newer; the role
may create databases and is a superuser). Each pytest-xdist worker has a database of its own, cloned from a template
that was migrated once; the service works on it as a role that owns nothing (`tests/owner.py`). Between tests its rows
are deleted with the triggers that forbid it switched off: that takes a millisecond, and a new clone a hundred.
"""

# The service is imported by the fixtures that need it: tests of pure functions start seconds earlier.

from __future__ import annotations

import asyncio
import gc
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests import order, report
from tests.owner import OWNER, SERVICE, SERVICE_PASSWORD, UNGUARDED
from tests.surroundings import WORKER_VARIABLE, Run, give_back_what_the_report_asks_for, present_run

if TYPE_CHECKING:
    import httpx2
    from fastapi import FastAPI
    from sqlalchemy import URL

    from app.api.state import AppState
    from app.core.config import Settings
    from app.db.engine import Database
    from tests.factories import Person

present_run()  # before anything else is imported that reads the environment
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type] - httpx looks for it at each request, in all folders

BEGINNING = datetime(2026, 3, 10, 12, tzinfo=UTC)
TEMPLATE_LOCK = 4_761_003
QUICK_AND_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
SECRET = "k7Gq2mZr8VtXw4Yb6Nc0Pd1Le3Hf5Ju9Ao"


class FakeClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = BEGINNING

    def __call__(self) -> datetime:
        return self.now

    def advance(self, step: timedelta | None = None, **units: float) -> datetime:
        """`advance(hours=2)`, or by a timedelta."""
        self.now += step or timedelta(**units)
        return self.now


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and WORKER_VARIABLE not in os.environ:
        give_back_what_the_report_asks_for()
    report.install(config)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What has been imported by now stays: the garbage collector looks at it no more, and at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = order.in_order(items)


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The surroundings of all processes of this run. They work where no `.env` lies."""
    run = present_run()
    run.watch(tmp_path_factory.getbasetemp())
    before = Path.cwd()
    os.chdir(run.working_directory)
    yield run
    os.chdir(before)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server_url(surroundings: Run) -> Iterator[str]:
    """The server's maintenance database. All workers of a run share one server."""
    from sqlalchemy import make_url

    from app.db.embedded import EmbeddedPostgres
    from app.db.engine import normalise_url

    if own := os.environ.get("TEST_DATABASE_URL"):
        yield normalise_url(own)
        return
    with EmbeddedPostgres(surroundings.directory / "postgresql", settings=QUICK_AND_FORGETFUL) as url:
        yield make_url(url).set(database="postgres").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def template(server_url: str) -> str:
    """The name of a migrated, empty database without connections. Made once per version of the migrations."""
    from app.db import roles
    from app.db.migrations import MIGRATIONS

    sources = [*sorted(MIGRATIONS.rglob("*.py")), Path(roles.__file__)]
    content = b"".join(path.read_bytes() for path in sources)
    name = f"gtm_test_{hashlib.sha256(content).hexdigest()[:12]}"
    asyncio.run(_make_template(server_url, name))
    return name


@pytest.fixture(scope="session")
def database_url(server_url: str, template: str) -> Iterator[str]:
    """This worker's own database."""
    with cloned(server_url, template) as url:
        yield url


@pytest.fixture
def fresh_database_url(server_url: str, template: str) -> Iterator[str]:
    """A migrated database for one test alone, which may do to it what it likes. It costs a tenth of a second."""
    with cloned(server_url, template, "fresh") as url:
        yield url


@pytest.fixture
def fresh_owner_url(server_url: str, fresh_database_url: str) -> str:
    """The way into `fresh_database_url` for whoever owns its tables."""
    from sqlalchemy import make_url

    url = make_url(server_url).set(database=make_url(fresh_database_url).database)
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def settings(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Cheap hashes, no dispatcher. For other settings: `settings.model_copy(update={...})`."""
    return make_settings(database_url, tmp_path_factory.mktemp("data"))


def make_settings(database_url: str, data_dir: Path) -> Settings:
    from app.core.config import DispatcherPlacement, Settings

    return Settings(
        _env_file=None,
        database_url=database_url,
        database_pool_size=8,
        data_dir=data_dir,
        jwt_secret_key=SECRET,
        bcrypt_cost=4,
        dispatcher=DispatcherPlacement.EXTERNAL,
        migrate_on_start=False,
        log_level="WARNING",
    )


@pytest.fixture(scope="session")
def _session_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def clock(_session_clock: FakeClock) -> FakeClock:
    _session_clock.now = BEGINNING
    return _session_clock


@pytest.fixture(scope="session")
async def _service(settings: Settings, _session_clock: FakeClock) -> AsyncIterator[FastAPI]:
    """The service, started once: what it keeps between requests is in the database, which `database` empties."""
    from app.main import create_app

    app = create_app(settings, _session_clock)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture(scope="session")
async def _pool(settings: Settings) -> AsyncIterator[Database]:
    from app.db.engine import Database

    assert settings.database_url is not None
    database = Database(settings.database_url.get_secret_value(), pool_size=50)
    yield database
    await database.dispose()


@pytest.fixture
async def database(_pool: Database) -> Database:
    """The worker's database, empty but for what the migrations put there."""
    await empty(_pool)
    return _pool


@pytest.fixture
def app(_service: FastAPI, database: Database, clock: FakeClock) -> FastAPI:  # noqa: ARG001 - emptied, reset
    return _service


@pytest.fixture
def state(app: FastAPI) -> AppState:
    state: AppState = app.state.gtm
    return state


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Nobody in particular, over ASGI."""
    async with browser(app) as client:
        yield client


@pytest.fixture
async def user(state: AppState) -> Person:
    from tests.factories import make_user

    return await make_user(state)


@pytest.fixture
async def admin(state: AppState) -> Person:
    from tests.factories import make_user

    return await make_user(state, is_admin=True)


@pytest.fixture
def token_for(state: AppState) -> Callable[[Person], Awaitable[str]]:
    """`await token_for(user)`: an access token from a real sign-in."""
    from tests.factories import sign_in

    async def token_for(person: Person) -> str:
        return (await sign_in(state, person)).access_token

    return token_for


@pytest.fixture
async def as_user(app: FastAPI, user: Person, token_for: Callable[[Person], Awaitable[str]]) -> AsyncIterator[Any]:
    """`user`, signed in."""
    async with browser(app, token=await token_for(user)) as client:
        yield client


@pytest.fixture
async def as_admin(app: FastAPI, admin: Person, token_for: Callable[[Person], Awaitable[str]]) -> AsyncIterator[Any]:
    """`admin`, signed in."""
    async with browser(app, token=await token_for(admin)) as client:
        yield client


@pytest.fixture
def start_service(clock: FakeClock) -> Callable[[Settings], AbstractAsyncContextManager[FastAPI]]:
    """`async with start_service(settings) as app`: another service, with settings of its own."""
    from app.main import create_app

    @asynccontextmanager
    async def start_service(settings: Settings) -> AsyncIterator[FastAPI]:
        app = create_app(settings, clock)
        async with app.router.lifespan_context(app):
            yield app

    return start_service


def browser(
    app: FastAPI, *, token: str | None = None, address: str = "192.0.2.10", **headers: str
) -> httpx2.AsyncClient:
    """A client of the service. Answers come whole, so it is not for streams: see `tests/streams.py`."""
    import httpx2

    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app, client=(address, 50000), raise_app_exceptions=False),
        base_url="http://service.test",
        headers={**authorization, **headers},
    )


async def empty(database: Database) -> None:
    """Delete every row, past the triggers and foreign keys that would refuse it."""
    from app.models import Base

    tables = "; ".join(f"DELETE FROM {table.name}" for table in Base.metadata.sorted_tables)  # noqa: S608
    async with database.autocommit() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        async with driver.transaction():
            await driver.execute(f"{UNGUARDED}; {tables}; INSERT INTO dispatcher_lease DEFAULT VALUES")


@contextmanager
def cloned(server_url: str, template: str, purpose: str = "") -> Iterator[str]:
    """A database of this process alone; one for each purpose."""
    name = f"{template}_{os.getpid()}_{purpose}"
    yield asyncio.run(clone(server_url, template, name))
    asyncio.run(drop(server_url, name))


async def clone(server_url: str, template: str, name: str) -> str:
    from sqlalchemy import make_url

    await drop(server_url, name)
    await _execute(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    url = make_url(server_url).set(database=name, username=SERVICE, password=SERVICE_PASSWORD)
    return url.render_as_string(hide_password=False)


async def drop(server_url: str, name: str) -> None:
    await _execute(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _make_template(server_url: str, name: str) -> None:
    """One worker makes it, the others wait. It gets its name when it is complete."""
    from sqlalchemy import NullPool, make_url, text
    from sqlalchemy.ext.asyncio import create_async_engine

    from app.db.migrations import upgrade_to_head

    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"SELECT pg_advisory_lock({TEMPLATE_LOCK})")
        found = await connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = :name"), {"name": name})
        if found == 0:
            draft = f"{name}_draft"
            await connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {draft}")
            await connection.exec_driver_sql(f"CREATE DATABASE {draft}")
            url = make_url(server_url).set(database=draft)
            await asyncio.to_thread(upgrade_to_head, url.render_as_string(hide_password=False))
            await _admit_service(url)
            await connection.exec_driver_sql(f"ALTER DATABASE {draft} RENAME TO {name}")
    await engine.dispose()


async def _admit_service(url: URL) -> None:
    """Roles belong to the server: on one that outlives the run they are there already."""
    from app.db import roles
    from app.db.engine import Database

    owner = Database(url.render_as_string(hide_password=False), pool_size=1)
    service = url.set(username=SERVICE, password=SERVICE_PASSWORD).render_as_string(hide_password=False)
    await roles.admit(owner, service)
    async with owner.autocommit() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        if not await driver.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", OWNER):
            await driver.execute(
                f"CREATE ROLE {OWNER} SUPERUSER NOLOGIN; ALTER ROLE {SERVICE} NOINHERIT; GRANT {OWNER} TO {SERVICE}"
            )
    await owner.dispose()


async def _execute(server_url: str, statement: str) -> None:
    from sqlalchemy import NullPool
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(statement)
    await engine.dispose()
