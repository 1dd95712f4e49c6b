"""An engine whose runs live in a directory, so that they outlast every dispatcher, as those of a real engine do.

`python -m tests.e2e.lasting_engine` is a dispatcher with this engine; `RUNS` names the directory. A run is a file,
made in one step and only if there is none: what is in the directory is the proof of what was started, and how often.
Of a command, only `sleep SECONDS` at its end matters.
"""

import asyncio
import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from app.core.clock import system_clock
from app.core.config import DispatchMode, load_settings
from app.core.logging import configure_logging
from app.db.bootstrap import open_database
from app.dispatcher.lease import LEASE_TTL
from app.dispatcher.loop import Dispatcher, DispatcherOptions
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
from app.services.quotas import QuotaPolicy


@dataclass(frozen=True, slots=True)
class Run:
    """What the directory says of a run."""

    job_id: int
    started_at: datetime
    ends_at: datetime
    stopped_at: datetime | None


class LastingEngine:
    name = "lasting"
    places_gpus = True

    def __init__(self, directory: Path, fleet: Sequence[GpuInfo]) -> None:
        self._directory = directory
        self._fleet = fleet

    async def inventory(self) -> Sequence[GpuInfo]:
        return self._fleet

    async def time_keeping(self) -> TimeKeeping:
        return EXACT

    async def start(self, spec: JobSpec) -> None:
        seconds = re.search(r"sleep ([0-9.]+)$", spec.command)
        now = system_clock()
        ends_at = now + timedelta(seconds=float(seconds[1] if seconds else 0))
        self._make(f"{spec.run_id}.run", json.dumps([spec.job_id, now.isoformat(), ends_at.isoformat()]))

    async def adopt(self, specs: Collection[JobSpec]) -> None:
        pass

    async def poll(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        found = {run_id: find_run(self._directory, run_id) for run_id in run_ids}
        return {run_id: observe(run) for run_id, run in found.items() if run is not None}

    async def stop(self, run_id: UUID, grace: timedelta) -> None:  # noqa: ARG002 - its runs stop at once
        self._make(f"{run_id}.stop", system_clock().isoformat())

    async def named_jobs(self) -> Collection[NamedJob]:
        """None: only the service submits to it."""
        return ()

    async def cancel_foreign_job(self, engine_job_id: str) -> None:
        """Nothing: there is none."""

    async def proved_gone(self, run_ids: Collection[UUID]) -> Collection[UUID]:  # noqa: ARG002 - the contract's name
        return ()

    async def read_log(
        self, spec: JobSpec, *, ended_at: datetime | None, progress: float | None = None, offset: int, limit: int
    ) -> LogChunk:
        raise NotImplementedError

    async def read_utilisation(
        self, spec: JobSpec, *, ended_at: datetime | None, limit: int
    ) -> Sequence[UtilisationSample]:
        raise NotImplementedError

    def _make(self, name: str, content: str) -> None:
        """A file with all of its content, unless there is one already. Killed in between, there is none."""
        draft = self._directory / f"{name}.{os.getpid()}"
        draft.write_text(content, encoding="ascii")
        with suppress(FileExistsError):
            (self._directory / name).hardlink_to(draft)
        draft.unlink()


def find_run(directory: Path, run_id: UUID) -> Run | None:
    try:
        job_id, started_at, ends_at = json.loads((directory / f"{run_id}.run").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    stop = directory / f"{run_id}.stop"
    stopped_at = datetime.fromisoformat(stop.read_text(encoding="ascii")) if stop.exists() else None
    return Run(job_id, datetime.fromisoformat(started_at), datetime.fromisoformat(ends_at), stopped_at)


def observe(run: Run) -> Observation:
    ended_at = run.ends_at if run.stopped_at is None else min(run.ends_at, run.stopped_at)
    if system_clock() < ended_at:
        return Observation(RunState.RUNNING, started_at=run.started_at, unchanged_until=ended_at)
    was_stopped = ended_at < run.ends_at
    return Observation(
        RunState.ENDED,
        ended_at - run.started_at,
        started_at=run.started_at,
        reason=EndReason.SIGNALLED if was_stopped else EndReason.EXITED,
        exit_code=None if was_stopped else 0,
        signal=15 if was_stopped else None,
    )


def runs_by_job(directory: Path) -> dict[int, list[UUID]]:
    """The runs that each job has had."""
    jobs: dict[int, list[UUID]] = {}
    for path in directory.glob("*.run"):
        run = find_run(directory, UUID(path.stem))
        assert run is not None
        jobs.setdefault(run.job_id, []).append(UUID(path.stem))
    return jobs


async def dispatch() -> None:
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    engine = LastingEngine(Path(os.environ["RUNS"]), parse_fleet(settings.simulated_fleet))
    options = DispatcherOptions(
        tick=timedelta(seconds=settings.dispatcher_tick_seconds),
        starts_by_itself=settings.dispatch_mode is DispatchMode.AUTOMATIC,
        starvation_limit=settings.starvation_limit,
        policy=QuotaPolicy.of(settings),
        lease_ttl=timedelta(seconds=float(os.environ.get("LEASE_SECONDS", LEASE_TTL.total_seconds()))),
    )
    async with open_database(settings) as database:
        await Dispatcher(database, engine, options, system_clock).run()


if __name__ == "__main__":
    asyncio.run(dispatch())
