"""An engine that does what a test tells it to. It keeps to the contract only as far as the test wants."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from app.domain.execution import (
    EXACT,
    EndReason,
    GpuInfo,
    JobSpec,
    LogChunk,
    NamedJob,
    Observation,
    RunState,
    TimeKeeping,
    UtilisationSample,
)
from app.executors.simulated.fleet import parse_fleet


async def nothing_happens() -> None:
    pass


class ScriptedEngine:
    """Starts what it is asked to start, and shows of each run what the test has written down for it."""

    name = "scripted"

    def __init__(self, *, fleet: str = "node1=A100x8,node2=V100x4", places_gpus: bool = True) -> None:
        self.places_gpus = places_gpus
        self.fleet: Sequence[GpuInfo] = parse_fleet(fleet)
        self.keeps_time = EXACT
        self.shows: dict[int, Observation] = {}
        """What `poll` shows of the run of a job. A job that was started and is not here runs; see `forget`."""
        self.refuses: dict[int, Exception] = {}
        """What `start` raises for the run of a job."""
        self.fails: dict[str, Exception] = {}
        """What the method of this name raises, whatever it is asked."""
        self.hangs: set[str] = set()
        """The methods that do not answer before `let_go`."""
        self.hangs_on: set[int] = set()
        """The jobs whose runs it neither starts nor stops before `let_go`."""
        self.forgets = False
        """Whether it does not remember what it is asked to adopt."""
        self.refuses_to_stop: set[int] = set()
        self.before_inventory: Callable[[], Awaitable[None]] = nothing_happens
        self.before_poll: Callable[[], Awaitable[None]] = nothing_happens
        self.gone: set[UUID] = set()
        """The lost runs of which nothing is left."""
        self.asked_to_start: list[int] = []
        self.started: list[JobSpec] = []
        self.adopted: list[JobSpec] = []
        self.stopped: list[tuple[int | None, timedelta]] = []
        """The jobs whose runs it was asked to stop; None: one that it had never heard of."""
        self.named: Collection[NamedJob] = ()
        """What it holds in the service's name."""
        self.cancelled: list[str] = []
        self.polls: list[set[int]] = []
        self.asked_gone: list[set[UUID]] = []
        self._let_go = asyncio.Event()
        self._jobs: dict[UUID, int] = {}
        self._names: dict[UUID, int] = {}
        """The jobs of all runs that it ever heard of."""

    def ends(
        self,
        job_id: int,
        reason: EndReason = EndReason.EXITED,
        *,
        elapsed: timedelta = timedelta(minutes=10),
        exit_code: int | None = None,
        signal: int | None = None,
        message: str | None = None,
    ) -> None:
        """From now on the run of this job shows this end."""
        self.shows[job_id] = Observation(
            RunState.ENDED, elapsed, reason=reason, exit_code=exit_code, signal=signal, message=message
        )

    def forget(self, job_id: int) -> UUID:
        """From now on the run of this job is unknown here, until it is remembered."""
        [run_id] = [run_id for run_id, job in self._jobs.items() if job == job_id]
        del self._jobs[run_id]
        return run_id

    def remember(self, job_id: int, run_id: UUID) -> None:
        self._jobs[run_id] = self._names[run_id] = job_id

    def let_go(self) -> None:
        """Whoever hangs gets the answer, and nobody hangs any more."""
        self.hangs.clear()
        self.hangs_on.clear()
        self._let_go.set()

    async def inventory(self) -> Sequence[GpuInfo]:
        await self._behave("inventory")
        await self.before_inventory()
        return self.fleet

    async def time_keeping(self) -> TimeKeeping:
        await self._behave("time_keeping")
        return self.keeps_time

    async def start(self, spec: JobSpec) -> None:
        self.asked_to_start.append(spec.job_id)
        await self._behave("start", spec.job_id)
        if spec.job_id in self.refuses:
            raise self.refuses[spec.job_id]
        self.started.append(spec)
        self.remember(spec.job_id, spec.run_id)

    async def adopt(self, specs: Collection[JobSpec]) -> None:
        await self._behave("adopt")
        self.adopted.extend(specs)
        for spec in () if self.forgets else specs:
            self.remember(spec.job_id, spec.run_id)

    async def poll(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        await self._behave("poll")
        await self.before_poll()
        known = {run_id: self._jobs[run_id] for run_id in run_ids if run_id in self._jobs}
        self.polls.append(set(known.values()))
        return {run_id: self.shows.get(job_id, Observation(RunState.RUNNING)) for run_id, job_id in known.items()}

    async def stop(self, run_id: UUID, grace: timedelta) -> None:
        await self._behave("stop", self._names.get(run_id))
        if self._names.get(run_id) in self.refuses_to_stop:
            raise ConnectionError("the node does not answer")
        self.stopped.append((self._names.get(run_id), grace))

    async def named_jobs(self) -> Collection[NamedJob]:
        await self._behave("named_jobs")
        return self.named

    async def cancel_foreign_job(self, engine_job_id: str) -> None:
        self.cancelled.append(engine_job_id)

    async def proved_gone(self, run_ids: Collection[UUID]) -> Collection[UUID]:
        self.asked_gone.append(set(run_ids))
        await self._behave("proved_gone")
        return self.gone

    async def read_log(
        self, spec: JobSpec, *, ended_at: datetime | None, progress: float | None = None, offset: int, limit: int
    ) -> LogChunk:
        raise NotImplementedError

    async def read_utilisation(
        self, spec: JobSpec, *, ended_at: datetime | None, limit: int
    ) -> Sequence[UtilisationSample]:
        raise NotImplementedError

    async def _behave(self, method: str, job_id: int | None = None) -> None:
        if method in self.fails:
            raise self.fails[method]
        if method in self.hangs or job_id in self.hangs_on:
            await self._let_go.wait()
