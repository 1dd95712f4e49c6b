"""An executor without GPUs: it computes what a run would show by now instead of running it.

Everything told about a run follows from its specification, the moment of its launch and the clock; therefore a restart
changes nothing, and any process can read its log. Only a stop is kept in memory: after a restart the run goes on as
planned until it is stopped again. What a command can ask of the simulation stands in `directives.py`.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from signal import SIGKILL, SIGTERM
from uuid import UUID

from app.core.clock import Clock
from app.domain.execution import (
    EXACT,
    EndReason,
    GpuInfo,
    JobSpec,
    LaunchError,
    LogChunk,
    NamedJob,
    Observation,
    RunState,
    TimeKeeping,
    UtilisationSample,
)
from app.executors.simulated.log import SimulatedLog
from app.executors.simulated.plan import End, RunPlan, draw, plan_run
from app.executors.simulated.timeline import Timeline
from app.executors.simulated.utilisation import sample_run

SHORTEST_PROGRESS_INTERVAL = timedelta(seconds=2)
"""The log of a run grows as often."""
PROGRESS_POLLS_PER_SECOND = 200
"""Of all running runs together, so that ten thousand of them cost little between their ends."""
END_KEPT_FOR = timedelta(minutes=5)
"""An end is forgotten when nobody has asked for it for so long (real time). Adoption brings it back."""


@dataclass(slots=True)
class _Run:
    """A run that has not ended, and when it will: at its planned end, or earlier when it is stopped."""

    plan: RunPlan
    timeline: Timeline
    end: End
    ends_at: datetime
    phase: float
    """Where in the interval between two polls this run's poll lies, so that not all come at once."""


@dataclass(slots=True)
class _Ended:
    observation: Observation
    asked_at: datetime


class SimulatedExecutor:
    """Runs jobs on a fleet that does not exist, `speedup` times faster than real time.

    `elapsed` and the time limit are in simulated time; all moments are real.
    """

    name = "simulated"
    places_gpus = True

    def __init__(self, fleet: Sequence[GpuInfo], *, speedup: float, failure_rate: float, clock: Clock) -> None:
        self._fleet = fleet
        self._slots = {gpu.slot for gpu in fleet}
        self._speedup = speedup
        self._failure_rate = failure_rate
        self._clock = clock
        self._running: dict[UUID, _Run] = {}
        self._ends: list[tuple[datetime, UUID]] = []
        self._ended: OrderedDict[UUID, _Ended] = OrderedDict()

    async def inventory(self) -> Sequence[GpuInfo]:
        return self._fleet

    async def time_keeping(self) -> TimeKeeping:
        return EXACT

    async def start(self, spec: JobSpec) -> None:
        if spec.run_id in self._running or spec.run_id in self._ended:
            return
        self._refuse_wrong_slots(spec)
        plan = plan_run(spec, self._failure_rate)
        if plan.end.reason is EndReason.LAUNCH_FAILURE:
            raise LaunchError(plan.end.message)
        self._watch(spec, plan)

    def _refuse_wrong_slots(self, spec: JobSpec) -> None:
        if len(spec.slots) != spec.num_gpus:
            raise LaunchError(f"The run needs {spec.num_gpus} GPUs and was given {len(spec.slots)}.")
        for slot in spec.slots:
            if slot not in self._slots:
                raise LaunchError(f"The simulated fleet has no GPU {slot.uuid} at {slot.node}:{slot.index}.")

    def _watch(self, spec: JobSpec, plan: RunPlan) -> None:
        timeline = self._timeline(spec)
        ends_at = timeline.moment(plan.ends_after)
        self._running[spec.run_id] = _Run(plan, timeline, plan.end, ends_at, draw(spec.run_id, "phase"))
        heappush(self._ends, (ends_at, spec.run_id))

    async def adopt(self, specs: Collection[JobSpec]) -> None:
        for spec in specs:
            if spec.run_id in self._running or spec.run_id in self._ended:
                continue
            plan = plan_run(spec, self._failure_rate)
            if plan.end.reason is not EndReason.LAUNCH_FAILURE:
                self._watch(spec, plan)

    async def poll(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        now = self._clock()
        self._move_ended(now)
        interval = max(SHORTEST_PROGRESS_INTERVAL, timedelta(seconds=len(self._running) / PROGRESS_POLLS_PER_SECOND))
        observations = {}
        for run_id in run_ids:
            if (run := self._running.get(run_id)) is not None:
                observations[run_id] = _observe_running(run, now, interval)
            elif (ended := self._ended.get(run_id)) is not None:
                ended.asked_at = now
                self._ended.move_to_end(run_id)
                observations[run_id] = ended.observation
        self._forget(now)
        return observations

    def _move_ended(self, now: datetime) -> None:
        """An end can only be brought forward; then its first entry in the heap finds the run and the second none."""
        while self._ends and self._ends[0][0] <= now:
            _, run_id = heappop(self._ends)
            run = self._running.pop(run_id, None)
            if run is not None and run.end.reason is not EndReason.LOST:
                self._ended[run_id] = _Ended(_observe_ended(run), now)

    def _forget(self, now: datetime) -> None:
        """Drop the ends that nobody asks for any more; they stand in the order in which they were last asked for."""
        while self._ended and next(iter(self._ended.values())).asked_at <= now - END_KEPT_FOR:
            self._ended.popitem(last=False)

    async def stop(self, run_id: UUID, grace: timedelta) -> None:
        """See `Executor`.

        A run that ignores SIGTERM is killed after `grace` of simulated time, but never later than that much real time.
        """
        run = self._running.get(run_id)
        if run is None:
            return
        if run.plan.ignores_term:
            end, ends_at = End(EndReason.SIGNALLED, signal=SIGKILL), self._clock() + grace / max(1.0, self._speedup)
        else:
            end, ends_at = End(EndReason.SIGNALLED, signal=SIGTERM), self._clock()
        if ends_at < run.ends_at:
            run.end, run.ends_at = end, ends_at
            heappush(self._ends, (ends_at, run_id))

    async def named_jobs(self) -> Collection[NamedJob]:
        """There are none: only the service submits to it."""
        return ()

    async def cancel_foreign_job(self, engine_job_id: str) -> None:
        """Does nothing: there are none."""

    async def proved_gone(self, run_ids: Collection[UUID]) -> Collection[UUID]:  # noqa: ARG002 - the contract's name
        """Nothing: a run that the simulation loses stays suspect until an admin puts its GPUs back into service."""
        return ()

    async def read_log(
        self, spec: JobSpec, *, ended_at: datetime | None, progress: float | None = None, offset: int, limit: int
    ) -> LogChunk:
        """See `RunReader`.

        A run that is stopped ends at a moment that a reader does not know yet. The clock may have passed it, the
        recorded progress has not: it was observed before the stop.
        """
        plan = plan_run(spec, self._failure_rate)
        if plan.end.reason is EndReason.LAUNCH_FAILURE:
            return LogChunk(offset, b"", size=0, complete=True)
        log = SimulatedLog(spec, plan)
        lines = 0 if progress is None else plan.lines_printed(progress)
        if progress is not None and ended_at is None:
            return LogChunk(offset, *log.read(lines, offset=offset, limit=limit), complete=False)
        timeline = self._timeline(spec)
        moment = ended_at or self._clock()
        is_over = moment >= timeline.moment(plan.ends_after)
        complete = ended_at is not None or (is_over and plan.end.reason is not EndReason.LOST)
        elapsed = timeline.elapsed(moment, at_most=plan.ends_after)
        lines = max(lines, plan.lines_printed(plan.progress(elapsed)))
        ended_after = elapsed if complete else None
        return LogChunk(offset, *log.read(lines, ended_after, offset=offset, limit=limit), complete)

    async def read_utilisation(
        self, spec: JobSpec, *, ended_at: datetime | None, limit: int
    ) -> Sequence[UtilisationSample]:
        plan = plan_run(spec, self._failure_rate)
        if plan.end.reason is EndReason.LAUNCH_FAILURE:
            return []
        timeline = self._timeline(spec)
        elapsed = timeline.elapsed(ended_at or self._clock(), at_most=plan.ends_after)
        return sample_run(spec, plan, timeline, elapsed, limit)

    def _timeline(self, spec: JobSpec) -> Timeline:
        return Timeline(spec.launched_at, self._speedup)


def _observe_running(run: _Run, now: datetime, interval: timedelta) -> Observation:
    started_at = _started_at(run)
    elapsed = run.timeline.elapsed(now, at_most=run.plan.ends_after)
    if run.plan.starts_after and now < started_at:
        return Observation(RunState.STARTING, elapsed, unchanged_until=min(started_at, run.ends_at))
    first_poll_at = run.timeline.launched_at + run.phase * interval
    next_poll_at = first_poll_at + ((now - first_poll_at) // interval + 1) * interval
    return Observation(
        RunState.RUNNING,
        elapsed,
        started_at=started_at,
        progress=run.plan.progress(elapsed),
        unchanged_until=min(next_poll_at, run.ends_at),
    )


def _started_at(run: _Run) -> datetime:
    return run.timeline.moment(run.plan.starts_after)


def _observe_ended(run: _Run) -> Observation:
    never_started = run.plan.starts_after and run.ends_at < _started_at(run)
    elapsed = run.timeline.elapsed(run.ends_at, at_most=run.plan.ends_after)
    return Observation(
        RunState.ENDED,
        elapsed,
        started_at=None if never_started else _started_at(run),
        progress=run.plan.progress(elapsed),
        reason=run.end.reason,
        ended_at=run.ends_at,
        exit_code=run.end.exit_code,
        signal=run.end.signal,
        message=run.end.message,
    )
