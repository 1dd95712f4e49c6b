"""A service in pieces: a database, processes that can be killed, runs that outlast them, and people who use it."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from app.core.clock import system_clock
from app.db.embedded import EmbeddedPostgres
from app.executors.simulated.fleet import parse_fleet
from app.main import create_app
from tests.conftest import make_settings
from tests.e2e.lasting_engine import LastingEngine, runs_by_job
from tests.e2e.processes import Process, answers, free_port, said_in, start_process, wait_until
from tests.factories import Person, make_fleet, make_user, sign_in
from tests.services.desk import Desk
from tests.waiting import eventually

FLEET = "node1=A100x64,node2=A100x64"
FINAL = "('COMPLETED', 'FAILED', 'CANCELLED', 'REJECTED')"


@dataclass
class Deployment:
    url: str
    directory: Path
    desk: Desk
    owner: Person
    admin: Person
    processes: ExitStack = field(default_factory=ExitStack)

    @property
    def runs(self) -> Path:
        return self.directory / "runs"

    def start_dispatcher(self, **environment: str) -> Process:
        """It starts approved jobs by itself, with an engine whose runs outlast it."""
        return self._start(
            "tests.e2e.lasting_engine",
            RUNS=str(self.runs),
            SIMULATED_FLEET=FLEET,
            DISPATCH_MODE="automatic",
            **environment,
        )

    def start_api(self, port: int | None = None) -> tuple[Process, str]:
        """The process and its address, once it answers."""
        port = port or free_port()
        address = f"http://127.0.0.1:{port}"
        process = self._start("uvicorn", "app.main:app", "--port", str(port), DISPATCHER="external")
        wait_until(lambda: answers(address), "the API answers")
        return process, address

    def _start(self, *arguments: str, **environment: str) -> Process:
        process = start_process(self.url, self.directory, *arguments, **environment)
        self.processes.callback(process.stop)
        return process

    async def token(self) -> str:
        return (await sign_in(self.desk.state, self.owner)).access_token

    async def approve(self, number: int, *, seconds: float, **facts: Any) -> list[int]:
        """Jobs whose runs take so long; approved, so that the next dispatcher starts them."""
        limit = timedelta(minutes=5)
        command = f"sleep {seconds}"
        jobs = [await self.desk.submit(self.owner, command=command, time_limit=limit, **facts) for _ in range(number)]
        for job_id in jobs:
            await self.desk.approve(self.admin, job_id)
        return jobs

    async def let_the_lease_run_out(self) -> None:
        """What its time does to the lease of a dispatcher that is dead."""
        await self.desk.sql("UPDATE dispatcher_lease SET expires_at = '-infinity'")

    async def all_have_ended(self, jobs: list[int]) -> None:
        """I19: every job becomes final, or is adopted and runs; runs are short here."""
        await eventually(lambda: self._have_ended(jobs), "all jobs have ended", seen=lambda: self._state_of(jobs))

    async def _have_ended(self, jobs: list[int]) -> bool:
        [row] = await self.desk.sql(
            "SELECT bool_and(finished_at IS NOT NULL) FROM jobs WHERE id = ANY(CAST(:ids AS bigint[]))", ids=jobs
        )
        return bool(row[0])

    async def _state_of(self, jobs: list[int]) -> str:
        """Where each job is, and what the processes have said."""
        rows = await self.desk.sql(
            "SELECT id, status, launched_at, wait_reason FROM jobs WHERE id = ANY(CAST(:ids AS bigint[]))", ids=jobs
        )
        return f"{rows}\n{said_in(self.directory)}"

    async def nothing_was_lost_or_done_twice(self, completed: list[int]) -> None:
        """These jobs ran once and well, cost what their runs took, and all books balance."""
        assert await self.desk.broken_rules() == []
        runs = runs_by_job(self.runs)
        assert {job_id: len(run_ids) for job_id, run_ids in runs.items() if len(run_ids) > 1} == {}
        assert set(runs) >= set(completed)
        rows = await self.desk.sql(
            "SELECT id, run_id, status, charged_seconds, num_gpus, command FROM jobs "
            "WHERE id = ANY(CAST(:ids AS bigint[]))",
            ids=completed,
        )
        assert {row.status for row in rows} == {"COMPLETED"}
        assert len(rows) == len(completed)
        for row in rows:
            assert runs[row.id] == [row.run_id]
            seconds = float(row.command.removeprefix("sleep "))
            assert row.charged_seconds == row.num_gpus * max(1, round(seconds + 0.499))


@asynccontextmanager
async def deployed(database_url: str, directory: Path) -> AsyncIterator[Deployment]:
    """On a migrated database. Services that tests call run in this process, on the same database and in real time."""
    (directory / "runs").mkdir()
    settings = make_settings(database_url, directory).model_copy(update={"default_monthly_gpu_hours": 10_000})
    app = create_app(settings, system_clock)
    async with app.router.lifespan_context(app):
        state = replace(app.state.gtm, engine=LastingEngine(directory / "runs", parse_fleet(FLEET)))
        await make_fleet(state, FLEET)
        owner, admin = await make_user(state), await make_user(state, is_admin=True)
        url = make_url(database_url).render_as_string(hide_password=False)
        deployment = Deployment(url, directory, Desk(state), owner, admin)
        with deployment.processes:
            yield deployment


def postmaster_of(server: EmbeddedPostgres) -> int:
    return int((server.data_dir / "postgres/postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
