"""The service on a real Slurm: the API in this process, dispatchers that can be killed, and what Slurm accounts for."""

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI
from sqlalchemy import Row, make_url

from app.core.clock import system_clock
from app.db.queries import gpus
from app.domain.quota import charge
from app.main import create_app
from tests.conftest import browser, make_settings
from tests.e2e.processes import Process, answers, free_port, said_in, start_process, wait_until
from tests.factories import Person, make_user, sign_in
from tests.services.desk import Desk
from tests.slurm.cluster import SlurmCluster
from tests.waiting import eventually

GPU_TYPE = "a100"
LIMIT = timedelta(minutes=10)


@dataclass
class SlurmDeployment:
    cluster: SlurmCluster
    app: FastAPI
    url: str
    directory: Path
    desk: Desk
    owner: Person
    admin: Person
    settings: dict[str, str]
    processes: ExitStack = field(default_factory=ExitStack)

    def start_dispatcher(self, **environment: str) -> Process:
        return self._start("app.dispatcher", **environment)

    def start_service(self) -> Process:
        """API and dispatcher in one process, as `scripts/serve` does: with the event loop that uvicorn chooses."""
        port = free_port()
        process = self._start("uvicorn", "app.main:app", "--port", str(port), DISPATCHER="embedded")
        wait_until(lambda: answers(f"http://127.0.0.1:{port}"), "the service answers")
        return process

    def _start(self, *arguments: str, **environment: str) -> Process:
        environment = {"DISPATCHER_TICK_SECONDS": "0.2", **self.cluster.environment, **self.settings, **environment}
        process = start_process(self.url, self.directory, *arguments, **environment)
        self.processes.callback(process.stop)
        return process

    async def token_of(self, person: Person) -> str:
        return (await sign_in(self.desk.state, person)).access_token

    def browser(self, token: str) -> httpx2.AsyncClient:
        """A client of the API, signed in."""
        return browser(self.app, token=token)

    async def approved(self, command: str, **facts: Any) -> int:
        """A job that the next dispatcher starts, if it does so by itself."""
        facts = {"gpu_type": GPU_TYPE, "time_limit": LIMIT, **facts}
        job_id = await self.desk.submit(self.owner, command=command, **facts)
        await self.desk.approve(self.admin, job_id)
        return job_id

    async def started(self, command: str, **facts: Any) -> int:
        """A job that is to run as soon as Slurm lets it."""
        job_id = await self.approved(command, **facts)
        await self.desk.start(self.admin, job_id)
        return job_id

    async def come_to(self, status: str, *jobs: int) -> None:
        async def all_have() -> bool:
            return {(await self.desk.job(job_id)).status for job_id in jobs} == {status}

        async def state() -> str:
            return f"{[await self.desk.job(job_id) for job_id in jobs]}\n{said_in(self.directory)}"

        await eventually(all_have, f"all jobs are {status}", seen=state)

    async def let_the_lease_run_out(self) -> None:
        """What its time does to the lease of a dispatcher that is dead."""
        await self.desk.sql("UPDATE dispatcher_lease SET expires_at = '-infinity'")

    async def cost_what_slurm_measured(self, *jobs: int) -> None:
        """Each of these jobs was one job of Slurm, and is charged what Slurm accounts for it."""
        for job_id in jobs:
            row = await self.desk.job(job_id)
            [accounted] = await self._accounts_when_written(row.run_id)
            assert accounted.job_id == row.engine_job_id
            expected = charge(row.reserved_seconds, row.num_gpus, accounted.elapsed)
            assert row.charged_seconds == expected, f"{accounted}: {row}"
        assert await self.desk.broken_rules() == []

    async def _accounts_when_written(self, run_id: UUID) -> list["Accounted"]:
        """Of a job that never began the service needs no account, so that it may be ahead of slurmdbd."""

        async def are_there() -> bool:
            return self.accounts_of(run_id) != []

        await eventually(are_there)
        return self.accounts_of(run_id)

    def accounts_of(self, run_id: UUID) -> list["Accounted"]:
        """Every job with this run's name that Slurm has ever had.

        One that is cancelled ends for Slurm at once, its batch step when it is gone: what lasted longer counts.
        """
        lines = self.cluster.run(
            "sacct", "-nPD", "--allusers", "--starttime=now-2days", f"--name=gtm-{run_id}",
            "--format=JobIDRaw,State,ElapsedRaw",
        ).splitlines()  # fmt: skip
        found: list[Accounted] = []
        for job_id, state, seconds in (line.split("|") for line in lines):
            elapsed = timedelta(seconds=int(seconds))
            if job_id.isdecimal():
                found.append(Accounted(job_id, state, elapsed))
            elif job_id.endswith(".batch"):
                found[-1] = replace(found[-1], elapsed=max(found[-1].elapsed, elapsed))
        return found

    async def queue_reason(self, job_id: int) -> str | None:
        row: Row[Any] = await self.desk.job(job_id)
        reason: str | None = row.queue_reason
        return reason


@dataclass(frozen=True, slots=True)
class Accounted:
    job_id: str
    state: str
    elapsed: timedelta


@asynccontextmanager
async def deployed_on(
    cluster: SlurmCluster, database_url: str, directory: Path, **settings: str
) -> AsyncIterator[SlurmDeployment]:
    """On a migrated database; the environment tells where the cluster is. `settings` are variables of the service."""
    settings = {"EXECUTOR": "slurm", "SLURM_LOG_DIR": str(cluster.job_logs), **settings}
    chosen: dict[str, Any] = {name.lower(): value for name, value in settings.items()}
    chosen["slurm_log_dir"] = cluster.job_logs
    app = create_app(make_settings(database_url, directory).model_copy(update=chosen), system_clock)
    async with app.router.lifespan_context(app):
        state = app.state.gtm
        async with state.database.autocommit() as connection:
            inventory = await state.engine.inventory()
            await gpus.sync_inventory(connection, executor=state.engine.name, gpus=inventory, now=system_clock())
        owner, admin = await make_user(state), await make_user(state, is_admin=True)
        url = make_url(database_url).render_as_string(hide_password=False)
        deployment = SlurmDeployment(cluster, app, url, directory, Desk(state), owner, admin, settings)
        with deployment.processes:
            yield deployment
