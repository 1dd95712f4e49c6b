"""The words that the dispatcher and every executor share: what to run, what was seen of it, and why it ended."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from app.domain.job_state import JobStatus


class EndReason(StrEnum):
    """Why a job is final. Where it is (its status) is another question."""

    EXITED = "EXITED"
    NONZERO_EXIT = "NONZERO_EXIT"
    SIGNALLED = "SIGNALLED"
    TIME_LIMIT = "TIME_LIMIT"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    OUT_OF_DISK = "OUT_OF_DISK"
    NODE_FAILURE = "NODE_FAILURE"
    LAUNCH_FAILURE = "LAUNCH_FAILURE"
    LOST = "LOST"
    REJECTED_BY_ADMIN = "REJECTED_BY_ADMIN"
    CANCELLED_BY_USER = "CANCELLED_BY_USER"
    CANCELLED_BY_ADMIN = "CANCELLED_BY_ADMIN"


INFRASTRUCTURE_FAILURES = frozenset({EndReason.NODE_FAILURE, EndReason.LAUNCH_FAILURE, EndReason.LOST})
"""Ends that do not look like the job's doing."""

REFUNDED = frozenset({EndReason.NODE_FAILURE})
"""Ends whose charge is given back at once: a witness out of the job's reach has told of them."""

CANCELLATIONS = frozenset({EndReason.CANCELLED_BY_USER, EndReason.CANCELLED_BY_ADMIN})


class WaitReason(StrEnum):
    """Why a job that is not final has not started, or is about to stop."""

    AWAITING_DECISION = "AWAITING_DECISION"
    AWAITING_START = "AWAITING_START"
    AWAITING_GPUS = "AWAITING_GPUS"
    AWAITING_QUOTA = "AWAITING_QUOTA"
    IN_ENGINE_QUEUE = "IN_ENGINE_QUEUE"
    STARTING = "STARTING"
    CANCELLING = "CANCELLING"


def final_status(reason: EndReason) -> JobStatus:
    """The one status that each reason leads to."""
    if reason is EndReason.EXITED:
        return JobStatus.COMPLETED
    if reason is EndReason.REJECTED_BY_ADMIN:
        return JobStatus.REJECTED
    return JobStatus.CANCELLED if reason in CANCELLATIONS else JobStatus.FAILED


@dataclass(frozen=True, slots=True)
class GpuSlot:
    """One GPU in its place: node name, index on that node, and the vendor's identifier."""

    node: str
    index: int
    uuid: str


@dataclass(frozen=True, slots=True)
class GpuInfo:
    """A GPU that an engine knows, and what keeps it from being given to the next run.

    `contended`: a process which is not ours computes on it. `busy`: the engine itself has given it to somebody, which
    only one that places by itself can tell. `offline_reason`: nobody gets it now, in the engine's words (its node is
    down or drained). `memory_bytes` is 0 where the engine does not know.
    """

    slot: GpuSlot
    gpu_type: str
    memory_bytes: int
    contended: bool = False
    busy: bool = False
    offline_reason: str | None = None


@dataclass(frozen=True, slots=True)
class TimeKeeping:
    """How exactly an engine keeps time limits.

    It counts them in whole steps of `step_seconds`, and a run can hold its GPUs for `ending_seconds` beyond: until the
    engine notices that the time is up, and then as long as it lets a run end in order.
    """

    step_seconds: int = 1
    ending_seconds: int = 0

    def longest_hold_seconds(self, time_limit_seconds: int) -> int:
        """The longest that a run with this limit can hold its GPUs."""
        return -(-time_limit_seconds // self.step_seconds) * self.step_seconds + self.ending_seconds


EXACT = TimeKeeping()

OVERSTAYS_AFTER = timedelta(minutes=5)
"""How long a run may go on after it should have ended, before it is taken for one that keeps no limit and no stop."""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Everything an engine needs to run a job once. `run_id` is the identity of that one run.

    `launched_at` is when the intent to run was committed (UTC). The environment may hold secrets, so `repr` hides it.
    """

    run_id: UUID
    job_id: int
    name: str
    owner_email: str
    command: str
    gpu_type: str
    num_gpus: int
    time_limit: timedelta
    launched_at: datetime
    slots: tuple[GpuSlot, ...] = ()
    data_location: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


class RunState(StrEnum):
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class Observation:
    """What an engine can prove about a run at one moment.

    `elapsed` is the engine's own measure of the time that the run held its GPUs; quota is settled from it.
    `unchanged_until` promises that a poll before that moment shows nothing new but time and progress, unless `stop` is
    called.
    An engine with a queue of its own tells why a run waits there (`queue_reason`), when it expects to begin it
    (`expected_start_at`), which GPUs it chose (`placement`, as in `n1:0,1 n2:3`) and its own name for the run
    (`engine_job_id`).
    A run that ended has a `reason`; `ended_at`, `exit_code` and `signal` are set where the engine knows them.
    """

    state: RunState
    elapsed: timedelta = timedelta(0)
    started_at: datetime | None = None
    progress: float | None = None
    unchanged_until: datetime | None = None
    queue_reason: str | None = None
    expected_start_at: datetime | None = None
    placement: str | None = None
    engine_job_id: str | None = None
    reason: EndReason | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class LogChunk:
    """Bytes `[offset, next_offset)` of a run's log.

    `size` is the log's length so far; `complete` tells that the run has ended and nothing will follow `size`.
    `offset` can be larger than the one asked for when the beginning was cut away by the log's cap.
    """

    offset: int
    data: bytes
    size: int
    complete: bool

    @property
    def next_offset(self) -> int:
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class UtilisationSample:
    """One GPU at one moment: share of time computing (0-1), memory in bytes, power in watts, temperature in °C."""

    at: datetime
    slot: GpuSlot
    utilisation: float
    memory_used_bytes: int
    power_watts: float | None = None
    temperature_celsius: float | None = None


@dataclass(frozen=True, slots=True)
class NamedJob:
    """A job in the engine's queue in the service's name. `run_id`: the run that it carries; None: it carries none."""

    engine_job_id: str
    name: str
    run_id: UUID | None = None
    num_gpus: int | None = None


class RunReader(Protocol):
    """The part of an engine that people read through the API."""

    name: str
    places_gpus: bool

    async def read_log(
        self, spec: JobSpec, *, ended_at: datetime | None, progress: float | None = None, offset: int, limit: int
    ) -> LogChunk:
        """A part of what the run printed; empty while it has printed nothing. What was shown is never taken back.

        `progress` is the greatest that is recorded of the run. An engine that computes its logs shows what the run had
        printed by then, and after the end at least that. Without it, it shows what it knows itself.

        Raises:
            LogUnavailable: the run is over, or under way for long, and its log cannot be read from here.
        """
        ...

    async def read_utilisation(
        self, spec: JobSpec, *, ended_at: datetime | None, limit: int
    ) -> Sequence[UtilisationSample]: ...


class Executor(RunReader, Protocol):
    """An engine that runs jobs. It knows neither the database nor HTTP, and every call may be repeated after a crash.

    `places_gpus` tells who chooses the GPUs: we do, and `start` means RUNNING at once; or the engine, which queues.
    """

    async def inventory(self) -> Sequence[GpuInfo]:
        """Every GPU there is, with its state."""
        ...

    async def time_keeping(self) -> TimeKeeping:
        """How exactly time limits are kept. Quota is reserved for all that a run can hold."""
        ...

    async def start(self, spec: JobSpec) -> None:
        """Run the command at most once. A second call with the same `run_id` changes nothing.

        Raises:
            LaunchError: it is proved that this run did not start and never will.
            StartPostponed: it is proved that it did not start; it can be started later.
        """
        ...

    async def adopt(self, specs: Collection[JobSpec]) -> None:
        """Take over runs which an earlier dispatcher launched. Never starts anything."""
        ...

    async def poll(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        """What can be proved about these runs now, in one call. A missing run is unknown, which is not an end."""
        ...

    async def stop(self, run_id: UUID, grace: timedelta) -> None:
        """Ask the run to end (SIGTERM), and kill it after `grace`. The end shows in a later `poll`.

        A run that was not launched yet never will be. Also used on runs that were given up as lost.
        """
        ...

    async def proved_gone(self, run_ids: Collection[UUID]) -> Collection[UUID]:
        """Those of these lost runs of which it is proved that no process is left, so that their GPUs can be used."""
        ...

    async def named_jobs(self) -> Collection[NamedJob]:
        """The jobs that an engine with a queue of its own holds or runs in the service's name, whoever submitted them.

        None, where nobody but the service can submit any.
        """
        ...

    async def cancel_foreign_job(self, engine_job_id: str) -> None:
        """Ask the engine to end a job of `named_jobs` that carries no run of the service's."""
        ...


class LogUnavailable(Exception):
    """A log cannot be read from here. `where` says where it was looked for, such as a path."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


class StartPostponed(Exception):
    """A run is proved not to have begun for want of something that is not its own: room on a disk, memory, processes.

    A later `start` of it may succeed. The message is one sentence for the job's owner.
    """


class LaunchError(Exception):
    """The engine proved that a run did not start. The message is one sentence for the job's owner."""
