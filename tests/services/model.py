"""What the service promises, once more and without a database: the stateful test compares the two after every step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.domain.errors import AdjustmentOutOfRange as OutOfRange
from app.domain.errors import (
    DomainError,
    ExceedsFleet,
    ExceedsMonthlyQuota,
    IdempotencyKeyReused,
    JobStateConflict,
    NoCapacity,
    QuotaBelowUse,
    QuotaExceeded,
)
from app.domain.execution import EndReason, final_status
from app.domain.job_state import FINAL, JobStatus

KEY_LIFETIME = timedelta(hours=24)
STARVATION_LIMIT = timedelta(hours=24)
LOST_AFTER = timedelta(minutes=10)
KILL_GRACE = timedelta(seconds=30)
STANDS_DESPITE_CANCEL = {
    EndReason.EXITED,
    EndReason.TIME_LIMIT,
    EndReason.NODE_FAILURE,
    EndReason.LAUNCH_FAILURE,
    EndReason.LOST,
}

Refusal = type[DomainError]


@dataclass(frozen=True)
class Fate:
    """What a run will do: the command that asks for it, how it ends, and after which share of its time limit."""

    command: str
    reason: EndReason
    share: float
    ignores_term: bool = False


FATES = (
    Fate("train #SIM duration=50%", EndReason.EXITED, 0.5),
    Fate("train #SIM duration=25% exit=3", EndReason.NONZERO_EXIT, 0.25),
    Fate("train #SIM duration=150%", EndReason.TIME_LIMIT, 1),
    Fate("train #SIM duration=30% fault=node-loss", EndReason.NODE_FAILURE, 0.3),
    Fate("train #SIM duration=20% fault=lost", EndReason.LOST, 0.2),
    Fate("train #SIM fault=launch-failure", EndReason.LAUNCH_FAILURE, 0),
    Fate("train #SIM duration=80% fault=ignore-term", EndReason.EXITED, 0.8, ignores_term=True),
)


@dataclass(frozen=True)
class Wish:
    """The body of a submission."""

    gpu_type: str
    num_gpus: int
    time_limit: timedelta
    fate: Fate

    @property
    def reserved(self) -> int:
        return self.num_gpus * int(self.time_limit.total_seconds())


@dataclass
class Month:
    limit: int
    reserved: int = 0
    used: int = 0

    @property
    def available(self) -> int:
        return self.limit - self.reserved - self.used


@dataclass
class Job:
    id: int
    owner: int
    wish: Wish
    month: datetime
    status: JobStatus = JobStatus.PENDING
    reason: EndReason | None = None
    charged: int | None = 0
    """None: it was lost, and how long it was seen to run is not known here."""
    events: int = 1
    decided_by: int | None = None
    decided_at: datetime | None = None
    started_by: int | None = None
    started_at: datetime | None = None
    ended_by: int | None = None
    cancelled_by: int | None = None
    is_launched: bool = False
    is_told_to_stop: bool = False
    stops_at: datetime | None = None
    unknown_since: datetime | None = None

    @property
    def ends_at(self) -> datetime:
        assert self.started_at is not None
        return self.started_at + self.wish.time_limit * self.wish.fate.share


@dataclass
class Gpu:
    gpu_type: str
    job: int | None = None
    is_drained: bool = False
    is_quarantined: bool = False

    @property
    def is_free(self) -> bool:
        return self.job is None and not self.is_drained and not self.is_quarantined


@dataclass
class Model:
    default_limit: int
    starts_by_itself: bool
    gpus: dict[int, Gpu] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    months: dict[tuple[int, datetime], Month] = field(default_factory=dict)
    keys: dict[tuple[int, str], tuple[Wish, int, datetime]] = field(default_factory=dict)

    def month(self, user: int, now: datetime) -> Month:
        """Every month from the user's last one on inherits the limit of the one before."""
        known = [start for owner, start in self.months if owner == user]
        if not known:
            self.months[user, _first_day(now)] = Month(self.default_limit)
        start = max(known, default=_first_day(now))
        while start < _first_day(now):
            limit = self.months[user, start].limit
            start = _first_day(start + timedelta(days=32))
            self.months[user, start] = Month(limit)
        return self.months[user, _first_day(now)]

    def free(self, gpu_type: str) -> int:
        return sum(gpu.is_free for gpu in self.gpus.values() if gpu.gpu_type == gpu_type)

    def submission(self, user: int, wish: Wish, key: str | None, now: datetime) -> Refusal | int | None:
        """The refusal, the job that the key has made before, or None: it makes a new one."""
        if key is not None and (user, key) in self.keys:
            first_wish, job_id, made_at = self.keys[user, key]
            if now - made_at < KEY_LIFETIME:
                return job_id if first_wish == wish else IdempotencyKeyReused
        if wish.num_gpus > sum(gpu.gpu_type == wish.gpu_type for gpu in self.gpus.values()):
            return ExceedsFleet
        month = self.month(user, now)
        if wish.reserved > month.limit:
            return ExceedsMonthlyQuota
        return QuotaExceeded if wish.reserved > month.available else None

    def submitted(self, job_id: int, user: int, wish: Wish, key: str | None, now: datetime) -> None:
        self.month(user, now).reserved += wish.reserved
        self.jobs[job_id] = Job(job_id, user, wish, _first_day(now))
        if key is not None:
            self.keys[user, key] = (wish, job_id, now)

    def approve(self, admin: int, job: Job, now: datetime) -> Refusal | None:
        if job.status is JobStatus.PENDING:
            job.decided_by, job.decided_at = admin, now
            self._step(job, JobStatus.APPROVED)
            return None
        is_repeated = job.decided_by == admin and job.status not in (JobStatus.REJECTED, JobStatus.CANCELLED)
        return None if is_repeated else JobStateConflict

    def reject(self, admin: int, job: Job) -> Refusal | None:
        if job.status is JobStatus.PENDING:
            job.decided_by = admin
            self._end(job, EndReason.REJECTED_BY_ADMIN)
            return None
        is_repeated = job.decided_by == admin and job.status is JobStatus.REJECTED
        return None if is_repeated else JobStateConflict

    def start(self, starter: int | None, job: Job, now: datetime) -> Refusal | None:
        """What starting would lead to; `started` does it. `starter` None is the dispatcher."""
        if job.status is not JobStatus.APPROVED:
            is_repeated = starter is not None and job.started_by == starter and job.status is not JobStatus.CANCELLED
            return None if is_repeated else JobStateConflict
        if self._must_move(job, now) and job.wish.reserved > self.month(job.owner, now).available:
            return QuotaExceeded
        return NoCapacity if job.wish.num_gpus > self.free(job.wish.gpu_type) else None

    def started(self, starter: int | None, job: Job, now: datetime, gpu_ids: Sequence[int]) -> None:
        """Which GPUs it got is the service's choice, among those that are free."""
        assert len(gpu_ids) == len(set(gpu_ids)) == job.wish.num_gpus
        for gpu_id in gpu_ids:
            assert self.gpus[gpu_id].is_free
            assert self.gpus[gpu_id].gpu_type == job.wish.gpu_type
            self.gpus[gpu_id].job = job.id
        if self._must_move(job, now):
            self.months[job.owner, job.month].reserved -= job.wish.reserved
            self.month(job.owner, now).reserved += job.wish.reserved
            job.month = _first_day(now)
        job.started_by, job.started_at = starter, now
        self._step(job, JobStatus.RUNNING)

    def _must_move(self, job: Job, now: datetime) -> bool:
        return job.month != _first_day(now)

    def cancel(self, person: int, job: Job) -> Refusal | None:
        if job.status in (JobStatus.PENDING, JobStatus.APPROVED):
            job.ended_by = person
            self._end(job, _cancellation(job, person))
            return None
        if job.status is JobStatus.RUNNING:
            if job.cancelled_by is None:
                job.cancelled_by = person
                job.events += 1
            return None
        is_repeated = job.status is JobStatus.CANCELLED and person in (job.ended_by, job.cancelled_by)
        return None if is_repeated else JobStateConflict

    def set_limit(self, user: int, limit: int, now: datetime) -> Refusal | None:
        month = self.month(user, now)
        if limit < month.reserved + month.used:
            return QuotaBelowUse
        month.limit = limit
        return None

    def adjust(self, user: int, delta: int, now: datetime) -> Refusal | None:
        month = self.month(user, now)
        if not -month.used <= delta <= month.available:
            return OutOfRange
        month.used += delta
        return None

    def dispatcher_dies(self) -> None:
        """With it goes what it and the simulated engine had in memory only."""
        for job in self.jobs.values():
            job.is_told_to_stop, job.stops_at = False, None

    def tick(self, now: datetime, gpus_of: Mapping[int, Sequence[int]]) -> None:
        """`gpus_of`: the GPUs that each job has been given in its life, as the service knows it after this tick."""
        self._launch()
        for job in self._running():
            self._stop_if_cancelled(job, now)
            self._observe(job, now)
        if self.starts_by_itself:
            for job in self._plan(now):
                if self.start(None, job, now) is None:
                    self.started(None, job, now, gpus_of.get(job.id, []))
            self._launch()

    def _launch(self) -> None:
        """What was cancelled before never is."""
        for job in self._running():
            if not job.is_launched and job.cancelled_by is not None:
                self._end(job, _cancellation(job, job.cancelled_by))
                continue
            if not job.is_launched and job.wish.fate.reason is EndReason.LAUNCH_FAILURE:
                self._end(job, EndReason.LAUNCH_FAILURE)
            job.is_launched = True

    def _stop_if_cancelled(self, job: Job, now: datetime) -> None:
        if job.cancelled_by is None or job.is_told_to_stop:
            return
        job.is_told_to_stop = True
        stops_at = now + KILL_GRACE if job.wish.fate.ignores_term else now
        if stops_at < job.ends_at:
            job.stops_at = stops_at

    def _observe(self, job: Job, now: datetime) -> None:
        assert job.started_at is not None
        if now < (job.stops_at or job.ends_at):
            return
        if job.stops_at is None and job.wish.fate.reason is EndReason.LOST:
            job.unknown_since = job.unknown_since or now
            if now - job.unknown_since >= LOST_AFTER:
                self._end(job, EndReason.LOST, None)
            return
        reason = EndReason.SIGNALLED if job.stops_at else job.wish.fate.reason
        elapsed = (job.stops_at or job.ends_at) - job.started_at
        if job.cancelled_by is not None and reason not in STANDS_DESPITE_CANCEL:
            reason = _cancellation(job, job.cancelled_by)
        price = job.wish.num_gpus * math.ceil(elapsed.total_seconds())
        self._end(job, reason, 0 if reason is EndReason.LAUNCH_FAILURE else price)

    def _plan(self, now: datetime) -> Sequence[Job]:
        waiting = [job for job in self.jobs.values() if job.status is JobStatus.APPROVED]
        waiting.sort(key=lambda job: (job.decided_at, job.id))
        left = {gpu_type: self.free(gpu_type) for gpu_type in {gpu.gpu_type for gpu in self.gpus.values()}}
        planned = []
        for job in waiting:
            assert job.decided_at is not None
            gpu_type = job.wish.gpu_type
            if self._must_move(job, now) and job.wish.reserved > self.month(job.owner, now).available:
                continue
            if job.wish.num_gpus <= left[gpu_type]:
                left[gpu_type] -= job.wish.num_gpus
                planned.append(job)
            elif now - job.decided_at > STARVATION_LIMIT:
                left[gpu_type] = 0
        return planned

    def _running(self) -> Sequence[Job]:
        return [job for job in self.jobs.values() if job.status is JobStatus.RUNNING]

    def _step(self, job: Job, status: JobStatus) -> None:
        job.status = status
        job.events += 1

    def learn_what_was_seen(self, job: Job, charged: int) -> None:
        """Of a lost run: it can be charged up to the moment from which its engine did not know it any more."""
        assert job.started_at is not None
        assert 0 <= charged <= job.wish.num_gpus * (job.ends_at - job.started_at).total_seconds()
        job.charged = charged
        self.months[job.owner, job.month].used += charged

    def _end(self, job: Job, reason: EndReason, charged: int | None = 0) -> None:
        job.reason, job.charged = reason, charged
        self._step(job, final_status(reason))
        assert job.status in FINAL
        month = self.months[job.owner, job.month]
        month.reserved -= job.wish.reserved
        month.used += 0 if reason is EndReason.NODE_FAILURE else charged or 0
        for gpu in self.gpus.values():
            if gpu.job == job.id:
                gpu.job = None
                gpu.is_quarantined |= reason is EndReason.LOST


def _first_day(now: datetime) -> datetime:
    return datetime(now.year, now.month, 1, tzinfo=UTC)


def _cancellation(job: Job, person: int) -> EndReason:
    return EndReason.CANCELLED_BY_USER if person == job.owner else EndReason.CANCELLED_BY_ADMIN
