"""What Slurm says of one job, whichever command and version said it."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.domain.execution import RunState

NAME_PREFIX = "gtm-"
LENGTH_OF_NAME = len(NAME_PREFIX) + len(str(UUID(int=0)))

CLEANING_UP = frozenset({"COMPLETING", "STAGE_OUT"})
WAITING = frozenset(
    {
        "PENDING",
        "CONFIGURING",
        "POWER_UP_NODE",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    }
)
NEVER_RUN = frozenset({"LAUNCH_FAILED", "RECONFIG_FAIL"})
"""Slurm itself says that the command was not run."""
PUT_BACK = frozenset({"REQUEUED"})
"""How the accounts call what a job did before it was put back into the queue."""
HOLDING = frozenset({"RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING"})
ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "LAUNCH_FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "RECONFIG_FAIL",
        "TIMEOUT",
    }
)
LONGEST_SETUP = timedelta(seconds=10)
"""A job whose script refuses to run the command a second time, or whose files cannot be set up, ends within this."""
_GPUS = re.compile(r"(?:^|,)gres/gpu=(\d+)(?:,|$)")


def name_of(run_id: UUID) -> str:
    """The name of the one job that carries this run."""
    return f"{NAME_PREFIX}{run_id}"


def run_of(name: str) -> UUID | None:
    """The run of a job with this name; None: not one of ours."""
    if not name.startswith(NAME_PREFIX):
        return None
    try:
        run_id = UUID(name.removeprefix(NAME_PREFIX))
    except ValueError:
        return None
    return run_id if name_of(run_id) == name else None  # UUID() reads several spellings of the same one


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How the batch script ended: by its own exit, or by a signal."""

    exit_code: int | None = None
    signal: int | None = None

    @classmethod
    def of_wait_status(cls, status: int) -> "ExitStatus":
        """From the number that waitpid gives: exit 7 is 1792, SIGSEGV with a core dump is 139."""
        signal = status & 0x7F
        return cls(signal=signal) if signal else cls(exit_code=(status >> 8) & 0xFF)


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """`states` holds the state and its flags, as in COMPLETED with COMPLETING. Times are whole seconds, as Slurm's are.

    `elapsed` is set where Slurm itself measured it; `gpus` where it says how many it gave. `placement` names the GPUs
    as far as they are known: `n1:0,1`, or only `n1`. `uid` is whose job it is: anybody can give one any name.
    """

    run_id: UUID
    job_id: str
    states: frozenset[str]
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    elapsed: timedelta | None = None
    exit: ExitStatus = ExitStatus()
    gpus: int | None = None
    placement: str | None = None
    cancelled_by_uid: int | None = None
    uid: int | None = None

    @property
    def phase(self) -> RunState | None:
        """None: a state that proves nothing, such as REVOKED, or one that this program does not know.

        A job that cleans up still holds its GPUs, whatever its end will be called.
        """
        if self.states & CLEANING_UP:
            return RunState.RUNNING
        if self.states & WAITING:
            return RunState.STARTING
        if self.states & HOLDING:
            return RunState.RUNNING
        return RunState.ENDED if self.states & ENDED else None

    @property
    def held(self) -> timedelta:
        """How long it held its GPUs, once it has ended: of a running job Slurm tells when its limit will be over."""
        if self.states & NEVER_RUN:
            return timedelta(0)
        if self.elapsed is not None:
            return self.elapsed
        if self.phase is not RunState.ENDED or self.started_at is None or self.ended_at is None:
            return timedelta(0)
        return max(timedelta(0), self.ended_at - self.started_at)

    @property
    def never_began(self) -> bool:
        """Slurm gave it no GPUs: refused, or cancelled while it waited; both count as begun and ended at once.

        Without nodes alone that is not proved: a controller that was restarted forgets those of a job that has ended.
        """
        if self.phase is not RunState.ENDED or self.placement is not None:
            return False
        return self.started_at is None or (self.ended_at is not None and self.ended_at <= self.started_at)


def most_telling(jobs: Collection[SlurmJob], began_as: str | None) -> SlurmJob:
    """The job which is the run, should several carry its name: the one whose script began it, else the latest.

    A job can forge that mark. It counts for nothing against one that holds GPUs now, or has held them for longer.
    """
    present = [job for job in jobs if job.phase is RunState.RUNNING] or jobs
    longest = max(job.held for job in present)
    credible = [job for job in present if job.held >= longest - LONGEST_SETUP]
    return max(credible, key=lambda job: (job.job_id == began_as, not job.never_began, int(job.job_id)))


def held_in_all(records: Collection[SlurmJob]) -> timedelta:
    """How long jobs held GPUs together, by the accounts: a record for each time that Slurm has begun one of them."""
    by_id: dict[str, list[SlurmJob]] = {}
    for record in records:
        if record.states & (ENDED | PUT_BACK):
            by_id.setdefault(record.job_id, []).append(record)
    return sum((_held_by_one(records) for records in by_id.values()), timedelta(0))


def _held_by_one(records: Collection[SlurmJob]) -> timedelta:
    """Records that overlap tell of the same time: a job holds its GPUs once."""
    total, counted_until = timedelta(0), datetime.min.replace(tzinfo=UTC)
    for started_at, held in sorted((record.started_at, record.held) for record in records if record.started_at):
        ended_at = started_at + held
        total += max(timedelta(0), ended_at - max(started_at, counted_until))
        counted_until = max(counted_until, ended_at)
    return total


def count_gpus(tres: str) -> int | None:
    """From Slurm's list of resources: `cpu=1,gres/gpu=2,gres/gpu:a100=2` has 2. None: GPUs are not told of."""
    found = _GPUS.search(tres)
    return int(found[1]) if found else None


def by_run(jobs: Collection[SlurmJob]) -> Mapping[UUID, Sequence[SlurmJob]]:
    grouped: dict[UUID, list[SlurmJob]] = {}
    for job in jobs:
        grouped.setdefault(job.run_id, []).append(job)
    return grouped
