"""The service with the local engine: processes that can be killed, and jobs that are processes themselves."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Row, make_url

from app.core.clock import system_clock
from app.db.queries import gpus
from app.domain.quota import charge
from app.executors.local import wrapper
from app.executors.local.processes import run_of
from app.main import create_app
from tests.conftest import make_settings
from tests.e2e.processes import Process, answers, free_port, said_in, start_process, wait_until
from tests.executors.local.runs import runs_directory
from tests.factories import Person, make_user, sign_in
from tests.services.desk import Desk
from tests.waiting import eventually

GPUS = 8
LIMIT = timedelta(minutes=10)


@dataclass
class LocalDeployment:
    url: str
    directory: Path
    runs: Path
    counts: Path
    desk: Desk
    owner: Person
    admin: Person
    settings: dict[str, str]
    processes: ExitStack = field(default_factory=ExitStack)

    def start_dispatcher(self, **environment: str) -> Process:
        """It starts approved jobs by itself."""
        return self._start("app.dispatcher", DISPATCH_MODE="automatic", **environment)

    def start_service(self) -> tuple[Process, str]:
        """As `scripts/serve` starts it, the dispatcher inside; and its address, once it answers."""
        port = free_port()
        process = self._start("uvicorn", "app.main:app", "--port", str(port))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), "the service answers")
        return process, f"http://127.0.0.1:{port}"

    def _start(self, *arguments: str, **environment: str) -> Process:
        process = start_process(self.url, self.directory, *arguments, **self.settings, **environment)
        self.processes.callback(process.stop)
        return process

    async def token_of(self, person: Person) -> str:
        return (await sign_in(self.desk.state, person)).access_token

    def counting(self, command: str) -> str:
        """The command, which first counts itself."""
        return f"echo begun >>{self.counts}/$GTM_JOB_ID; {command}"

    def times_begun(self, job_id: int) -> int:
        count = self.counts / str(job_id)
        return len(count.read_text().splitlines()) if count.exists() else 0

    async def approved(self, command: str, **facts: Any) -> int:
        facts = {"gpu_type": "CPU", "time_limit": LIMIT, "command": self.counting(command), **facts}
        job_id = await self.desk.submit(self.owner, **facts)
        await self.desk.approve(self.admin, job_id)
        return job_id

    async def let_the_lease_run_out(self) -> None:
        """What its time does to the lease of a dispatcher that is dead."""
        await self.desk.sql("UPDATE dispatcher_lease SET expires_at = '-infinity'")

    async def come_to(self, statuses: str | set[str], *jobs: int) -> None:
        wanted = {statuses} if isinstance(statuses, str) else statuses

        async def all_have() -> bool:
            return {(await self.desk.job(job_id)).status for job_id in jobs} <= wanted

        async def state() -> str:
            return f"{[await self.desk.job(job_id) for job_id in jobs]}\n{said_in(self.directory)}"

        await eventually(all_have, f"all jobs are {wanted}", seen=state)

    async def have_begun(self, *jobs: int) -> None:
        async def all_have() -> bool:
            return all(self.times_begun(job_id) for job_id in jobs)

        await eventually(all_have)

    def evidence_of(self, run: Row[Any]) -> dict[str, Any]:
        evidence: dict[str, Any] = json.loads((self.runs / str(run.run_id) / "evidence.json").read_bytes())
        return evidence

    async def books_are_right(self, *jobs: int) -> None:
        """I6, I18, I20, I21: what is COMPLETED began once, nothing twice; final jobs cost what was measured."""
        assert await self.desk.broken_rules() == []
        for job_id in jobs:
            row = await self.desk.job(job_id)
            if row.status == "COMPLETED":
                elapsed = timedelta(seconds=self.evidence_of(row)["elapsed_seconds"])
                assert self.times_begun(job_id) == 1
                assert row.charged_seconds == charge(row.reserved_seconds, row.num_gpus, elapsed)
            elif row.status in {"FAILED", "CANCELLED"}:
                assert self.times_begun(job_id) <= 1
                assert row.charged_seconds == 0 or row.reason != "LAUNCH_FAILURE"
            else:
                raise AssertionError(f"job {job_id} is {row.status}")
            assert pids_of(row.run_id) == []


def pids_of(run_id: UUID) -> list[int]:
    """The processes that say that they belong to a run."""
    return [pid for pid in wrapper.processes() if run_of(pid) == run_id]


@asynccontextmanager
async def deployed_locally(database_url: str, directory: Path, **settings: str) -> AsyncIterator[LocalDeployment]:
    """On a migrated database. `settings` are environment variables of the service, its dispatchers included."""
    with runs_directory() as place:
        runs, counts = place / "runs", place / "counts"
        counts.mkdir()
        counts.chmod(0o777)
        settings = {
            "EXECUTOR": "local",
            "LOCAL_GPUS": f"{GPUS}xCPU",
            "LOCAL_RUNS_DIR": str(runs),
            "LOCAL_SANDBOX": "none",  # jobs count themselves outside of their folder
            **({} if os.geteuid() == 0 else {"LOCAL_TRUST_USERS": "true"}),
            **settings,
        }
        chosen = {name.lower(): value for name, value in settings.items()} | {"local_runs_dir": runs}
        app = create_app(make_settings(database_url, directory).model_copy(update=chosen), system_clock)
        async with app.router.lifespan_context(app):
            state = app.state.gtm
            async with state.database.autocommit() as connection:
                inventory = await state.engine.inventory()
                await gpus.sync_inventory(connection, executor=state.engine.name, gpus=inventory, now=system_clock())
            owner, admin = await make_user(state), await make_user(state, is_admin=True)
            url = make_url(database_url).render_as_string(hide_password=False)
            deployment = LocalDeployment(url, directory, runs, counts, Desk(state), owner, admin, settings)
            with deployment.processes:
                yield deployment
