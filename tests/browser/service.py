"""The service as browsers meet it: a real process with its dispatcher inside; and how to prepare a scene for it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import BrowserContext

from app.api.state import AppState
from app.core.clock import Clock, system_clock
from app.core.config import DispatcherPlacement, Settings
from app.core.security import PasswordPool
from app.db.engine import Database
from app.domain.execution import RunReader
from app.executors.registry import create_executor
from app.models import Base
from app.services.events import EventFeed
from app.services.quotas import QuotaPolicy
from tests.conftest import SECRET
from tests.e2e.processes import Process, answers, free_port, start_process, wait_until
from tests.factories import Person
from tests.owner import UNGUARDED

APP = "app.main:app"
KEPT = {"gpus", "dispatcher_lease"}
"""What the dispatcher keeps in mind, and would not write anew."""
RESUME_ALL = "UPDATE gpus SET drained_at = NULL, drain_reason = NULL, drained_by = NULL, is_quarantined = false"
NOTE = "begin-as"
READ_NOTE = f"""
if (location.protocol.startsWith("http") && document.cookie.includes("{NOTE}=")) {{
  localStorage.clear();
  sessionStorage.clear();
  if (document.cookie.includes("{NOTE}=user")) localStorage.setItem("gtm.signed-in", "1");
  document.cookie = "{NOTE}=; path=/; max-age=0";
}}
"""


@dataclass
class Service:
    """`state` is what a service in this process would hold, so that factories can work on the same database.

    `app` is where uvicorn finds the application.
    """

    url: str
    state: AppState
    directory: Path
    database_url: str
    environment: Mapping[str, str]
    app: str = APP
    process: Process = field(init=False)

    async def start(self) -> None:
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        arguments = ("uvicorn", self.app, "--no-access-log", "--port", self.url.rpartition(":")[2])
        self.process = start_process(self.database_url, self.directory, *arguments, **self.environment)
        wait_until(lambda: self.process.died_by_itself() or answers(self.url), "the service answers")
        assert not self.process.died_by_itself(), self.process.output.read_text(encoding="utf-8")

    async def stop(self) -> None:
        await asyncio.to_thread(self.process.stop)

    async def forget_everything(self) -> None:
        """Delete all people, and all that they did. The dispatcher finds its jobs gone, and thinks no more of them."""
        tables = [table.name for table in Base.metadata.sorted_tables if table.name not in KEPT]
        deletions = "; ".join(f"DELETE FROM {table}" for table in tables)  # noqa: S608 - our own names
        async with self.state.database.autocommit() as connection:
            raw = await connection.get_raw_connection()
            driver: Any = raw.driver_connection
            await driver.execute(f"BEGIN; LOCK TABLE jobs; {UNGUARDED}; {deletions}; {RESUME_ALL}; COMMIT")


@asynccontextmanager
async def serving(
    database_url: str,
    directory: Path,
    environment: Mapping[str, str],
    *,
    port: int | None = None,
    app: str = APP,
    engine: RunReader | None = None,
) -> AsyncIterator[Service]:
    """A service on loopback, on a migrated database, until the block ends."""
    url = f"http://127.0.0.1:{port or free_port()}"
    async with joining(url, database_url, directory, environment, app=app, engine=engine) as service:
        await service.start()
        try:
            yield service
        finally:
            await service.stop()


@asynccontextmanager
async def joining(
    url: str,
    database_url: str,
    directory: Path,
    environment: Mapping[str, str],
    *,
    app: str = APP,
    engine: RunReader | None = None,
) -> AsyncIterator[Service]:
    """One that whoever has begun it starts and stops."""
    database = Database(database_url, pool_size=4)
    state = state_on(database, directory, environment, engine=engine)
    try:
        yield Service(url, state, directory, database_url, environment, app)
    finally:
        state.passwords.close()
        await database.dispose()


def state_on(
    database: Database,
    directory: Path,
    environment: Mapping[str, str],
    clock: Clock = system_clock,
    engine: RunReader | None = None,
) -> AppState:
    """With the settings of the process, in as far as services ask for them, and its engine or another one."""
    chosen: dict[str, Any] = {"dispatcher": DispatcherPlacement.EXTERNAL}
    chosen |= {name.lower(): value for name, value in environment.items()}
    settings = Settings(
        _env_file=None,
        data_dir=directory,
        jwt_secret_key=SECRET,
        bcrypt_cost=4,
        **chosen,
    )
    return AppState(
        settings=settings,
        clock=clock,
        database=database,
        engine=engine or create_executor(settings, clock),
        passwords=PasswordPool(settings.bcrypt_cost, threads=1),
        feed=EventFeed(database, clock),
        quota_policy=QuotaPolicy.of(settings),
    )


OWN_CONNECTION = {"Connection": "close"}
"""For a request beside the pages: one that was kept open may be closed by the service just when it is used again."""


async def sign_in_at_once(context: BrowserContext, base_url: str, person: Person) -> None:
    """For a new context. Without the form: the first page that is opened finds the session by its cookie."""
    await context.add_init_script(READ_NOTE)
    await sign_in(context, base_url, person)


async def sign_in(context: BrowserContext, base_url: str, person: Person) -> None:
    """For a context that reads notes (`READ_NOTE`)."""
    answer = await context.request.post(
        f"{base_url}/api/v1/auth/login",
        form={"username": person.email, "password": person.password},
        headers=OWN_CONNECTION,
    )
    assert answer.ok, await answer.text()
    await begin_anew(context, base_url, "user")


async def begin_anew(context: BrowserContext, base_url: str, reader: Literal["user", "nobody"]) -> None:
    """The first page that is opened from now on finds a note, and its browser remembers nothing but its session.

    The context reads notes (`READ_NOTE`). Playwright could write what a browser remembers by itself (`storage_state`),
    but opens and closes a page of its own for it, which costs as much as a test.
    """
    await context.add_cookies([{"name": NOTE, "value": reader, "url": base_url}])
