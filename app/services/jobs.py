"""What people do with jobs: submit, approve, reject, start, cancel. One verb each, the same verb everywhere."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import engines, events, gpus
from app.db.queries import jobs as queries
from app.db.queries import quotas as quota_queries
from app.db.queries.housekeeping import IDEMPOTENCY_KEY_LIFETIME
from app.db.queries.jobs import JobRow, Move, NewJob
from app.domain.audit import AuditAction
from app.domain.errors import (
    DomainError,
    ExceedsFleet,
    ExceedsMonthlyQuota,
    IdempotencyKeyReused,
    JobStateConflict,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    RefundOutOfRange,
    RequestDiffers,
    ServiceBusy,
    UnknownGpuType,
)
from app.domain.execution import EndReason
from app.domain.identity import Actor, Caller
from app.domain.job_request import JobFilter, JobRequest
from app.domain.job_state import JobStatus, available_actions
from app.domain.quota import QuotaBalance, reservation
from app.domain.scheduling import MOST_COUNTED, PlaceInQueue
from app.services import audit, quotas, transitions
from app.services.audit import Origin
from app.services.quotas import QuotaPolicy


@dataclass(frozen=True, slots=True)
class EngineKind:
    """What `start` must know about the engine: its name, and whether we place the GPUs or it does."""

    name: str
    places_gpus: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a submission would do: the month as it is now, and the GPUs of the type that are free now."""

    quota: QuotaBalance
    free_gpus: int


async def submit(
    connection: AsyncConnection,
    caller: Caller,
    request: JobRequest,
    *,
    key: str | None,
    engine: EngineKind,
    policy: QuotaPolicy,
    now: datetime,
) -> JobRow:
    """Reserve the quota and queue the job for approval. Every statement here is complete in itself: use autocommit.

    Raises:
        UnknownGpuType, ExceedsFleet, ExceedsMonthlyQuota, QuotaExceeded: it cannot be accepted, and nothing changed.
        IdempotencyKeyReused: this key named another request before.
        ServiceBusy: twice there was room, and twice others were faster.
    """
    reserved_seconds = await cost(connection, request, engine=engine)
    job = NewJob(user_id=caller.user_id, reserved_seconds=reserved_seconds, **asdict(request))
    body_sha256 = request.digest if key else None
    for _ in range(2):
        row = await _insert(connection, job, key=key, body_sha256=body_sha256, now=now)
        if row is not None:
            return row
        # Perhaps only this month is missing: looking for what is wrong opens it.
        refusal = await _refusal(connection, caller, request, reserved_seconds, policy=policy, now=now)
        if key is not None and (earlier := await _submitted_before(connection, caller, request, key=key, now=now)):
            return earlier
        if refusal is not None:
            raise refusal
    raise ServiceBusy


async def cost(connection: AsyncConnection, request: JobRequest, *, engine: EngineKind) -> int:
    """The GPU-seconds that this job reserves: the most that it can hold on this engine."""
    keeping = await engines.time_keeping(connection, engine.name)
    return reservation(request.num_gpus, request.time_limit_seconds, keeping)


async def forecast(
    connection: AsyncConnection,
    caller: Caller,
    request: JobRequest,
    reserved_seconds: int,
    *,
    policy: QuotaPolicy,
    now: datetime,
) -> Forecast:
    """Check a submission without making it.

    Raises:
        UnknownGpuType, ExceedsFleet, ExceedsMonthlyQuota, QuotaExceeded: it would be refused.
    """
    types = {row.name: row for row in await gpus.types(connection)}
    offered = types.get(request.gpu_type)
    if offered is None:
        raise UnknownGpuType(pointer="/gpu_type", gpu_type=request.gpu_type, known=sorted(types))
    if request.num_gpus > offered.total:
        raise ExceedsFleet(gpu_type=request.gpu_type, needed=request.num_gpus, total=offered.total)
    balance = await quotas.read(connection, caller.user_id, policy=policy, now=now)
    if reserved_seconds > balance.limit_seconds:
        raise ExceedsMonthlyQuota(needed_seconds=reserved_seconds, limit_seconds=balance.limit_seconds)
    if reserved_seconds > balance.available_seconds:
        raise _quota_exceeded(reserved_seconds, balance)
    return Forecast(quota=balance, free_gpus=offered.free)


async def read(connection: AsyncConnection, caller: Caller, job_id: int) -> JobRow:
    """One job. Another person's is not found, unless the caller is an admin."""
    row = await queries.get(connection, job_id, visible_to=None if caller.is_admin else caller.user_id)
    if row is None:
        raise NotFound
    return row


async def page(connection: AsyncConnection, filters: JobFilter, *, cursor: int | None, limit: int) -> Sequence[JobRow]:
    return await queries.page(connection, filters, cursor=cursor, limit=limit)


async def counts(connection: AsyncConnection, *, user_id: int | None) -> Mapping[JobStatus, int]:
    return await queries.counts(connection, user_id=user_id)


async def waiting(connection: AsyncConnection, caller: Caller, job_id: int) -> tuple[JobRow, PlaceInQueue | None]:
    """The job and what stands between it and its start; nothing does if it has a run or has ended."""
    job = await read(connection, caller, job_id)
    if job.run_id is not None or job.finished_at is not None:
        return job, None
    pending = approved = None
    if job.decided_at is None:
        pending = await queries.pending_ahead(connection, job_id, limit=MOST_COUNTED)
    else:
        approved = await queries.approved_ahead(
            connection, job_id, gpu_type=job.gpu_type, decided_at=job.decided_at, limit=MOST_COUNTED
        )
    supply = await gpus.supply(connection, job.gpu_type)
    return job, PlaceInQueue(pending, approved, supply.free, supply.held_by)


async def history(connection: AsyncConnection, caller: Caller, job_id: int) -> Sequence[Row[Any]]:
    """Every step of the job's life, oldest first."""
    await read(connection, caller, job_id)
    return await events.of_job(connection, job_id)


async def approve(
    connection: AsyncConnection,
    caller: Caller,
    job_id: int,
    *,
    note: str | None,
    digest: bytes | None = None,
    now: datetime,
    origin: Origin,
) -> JobRow:
    """Allow the job to run. Approving again what one has approved oneself changes nothing.

    Raises:
        RequestDiffers: `digest` is that of another request.
    """
    job = await read(connection, caller, job_id)
    asked = JobRequest.of(job).digest
    if digest not in (None, asked):
        raise RequestDiffers(job_id)
    move = Move(job_id, JobStatus.PENDING, JobStatus.APPROVED, note=note, approved_digest=asked)
    if job.status == JobStatus.PENDING and await transitions.apply(connection, [move], actor=caller.actor, now=now):
        await _record(connection, caller, AuditAction.JOB_APPROVED, job_id, note, origin)
        return await read(connection, caller, job_id)
    job = await read(connection, caller, job_id)
    if job.decided_by == caller.user_id and job.status not in (JobStatus.REJECTED, JobStatus.CANCELLED):
        return job
    raise await _conflict(connection, caller, job)


async def reject(
    connection: AsyncConnection, caller: Caller, job_id: int, *, reason: str, now: datetime, origin: Origin
) -> JobRow:
    """Refuse the job, with the reason its owner will read. Its reservation is released."""
    job = await read(connection, caller, job_id)
    move = Move(job_id, JobStatus.PENDING, JobStatus.REJECTED, reason=EndReason.REJECTED_BY_ADMIN, note=reason)
    if job.status == JobStatus.PENDING and await transitions.apply(connection, [move], actor=caller.actor, now=now):
        await _record(connection, caller, AuditAction.JOB_REJECTED, job_id, reason, origin)
        return await read(connection, caller, job_id)
    job = await read(connection, caller, job_id)
    if job.decided_by == caller.user_id and job.status == JobStatus.REJECTED:
        return job
    raise await _conflict(connection, caller, job)


async def start(
    connection: AsyncConnection,
    caller: Caller,
    job_id: int,
    *,
    engine: EngineKind,
    policy: QuotaPolicy,
    now: datetime,
    origin: Origin,
) -> JobRow:
    """Decide that the job runs now. The dispatcher launches it; where the engine queues, it stays APPROVED until then.

    Starting again what one has started oneself changes nothing.

    Raises:
        NoCapacity: too few GPUs of the type are free; the job stays APPROVED.
        QuotaExceeded: the job was reserved in an earlier month, and this one has no room for it.
    """
    job = await queries.lock(connection, job_id)
    if job is None:
        raise NotFound
    if job.status != JobStatus.APPROVED or job.run_id is not None:
        if job.status != JobStatus.CANCELLED and await events.starter(connection, job_id) == caller.user_id:
            return await read(connection, caller, job_id)
        raise await _conflict(connection, caller, job)
    await launch(connection, job, actor=caller.actor, engine=engine, policy=policy, now=now)
    await _record(connection, caller, AuditAction.JOB_STARTED, job_id, None, origin)
    return await read(connection, caller, job_id)


async def launch(
    connection: AsyncConnection,
    job: JobRow,
    *,
    actor: Actor,
    engine: EngineKind,
    policy: QuotaPolicy,
    now: datetime,
    term: int | None = None,
) -> bool:
    """Write down the intent to run a locked, approved job: its month, its GPUs, its run id.

    Returns False when nothing moved because the lease `term` is over.

    Raises:
        NoCapacity, QuotaExceeded: as for `start`.
    """
    await _charge_to_this_month(connection, job, actor=actor, policy=policy, now=now)
    run_id = uuid4()
    if not engine.places_gpus:
        return await queries.dispatch(
            connection, job_id=job.id, run_id=run_id, executor=engine.name, actor=actor, now=now
        )
    await gpus.lock_type(connection, job.gpu_type)
    free = await gpus.pick_free(connection, gpu_type=job.gpu_type, num_gpus=job.num_gpus)
    if len(free) < job.num_gpus:
        holders = await gpus.holders(connection, job.gpu_type)
        raise NoCapacity(gpu_type=job.gpu_type, needed=job.num_gpus, free=len(free), held_by_jobs=holders)
    move = Move(job.id, JobStatus.APPROVED, JobStatus.RUNNING, run_id=run_id, executor=engine.name)
    if not await transitions.apply(connection, [move], actor=actor, now=now, term=term):
        return False
    gpu_ids = [gpu_id for gpu_id, _ in free]
    await gpus.allocate(connection, gpu_ids=gpu_ids, job_id=job.id, run_id=run_id, now=now)
    return True


async def cancel(
    connection: AsyncConnection, caller: Caller, job_id: int, *, reason: str | None, now: datetime, origin: Origin
) -> JobRow:
    """Give the job up. One that has no run ends at once; a run is asked to stop, and ends when that is proved."""
    await read(connection, caller, job_id)
    job = await queries.lock(connection, job_id)
    if job is None:
        raise NotFound
    if job.run_id is None and job.finished_at is None:
        is_owner = job.user_id == caller.user_id
        why = EndReason.CANCELLED_BY_USER if is_owner else EndReason.CANCELLED_BY_ADMIN
        move = Move(job_id, JobStatus(job.status), JobStatus.CANCELLED, reason=why, note=reason)
        await transitions.apply(connection, [move], actor=caller.actor, now=now)
        await _record(connection, caller, AuditAction.JOB_CANCELLED, job_id, reason, origin)
        return await read(connection, caller, job_id)
    if job.finished_at is None:
        if await queries.request_cancel(connection, job_id=job_id, user_id=caller.user_id, reason=reason, now=now):
            await _record(connection, caller, AuditAction.JOB_CANCEL_REQUESTED, job_id, reason, origin)
        return await read(connection, caller, job_id)
    last = await events.last_transition(connection, job_id)
    if job.status == JobStatus.CANCELLED and caller.user_id in (last.actor_user_id, job.cancel_requested_by):
        return await read(connection, caller, job_id)
    raise await _conflict(connection, caller, job)


async def refund(
    connection: AsyncConnection,
    caller: Caller,
    job_id: int,
    *,
    seconds: int | None,
    reason: str,
    now: datetime,
    origin: Origin,
) -> JobRow:
    """Give back GPU-seconds that a job was charged, in its own month; all that are left without `seconds`.

    Raises:
        JobStateConflict: it has not ended, so that nothing is charged yet.
        RefundOutOfRange: with what is left of the charge.
    """
    if await queries.lock(connection, job_id) is None:
        raise NotFound
    job = await read(connection, caller, job_id)
    if job.finished_at is None:
        raise await _conflict(connection, caller, job)
    used_seconds = await quota_queries.lock_used(connection, quota_id=job.quota_id)  # less after a correction by hand
    left = min(job.charged_seconds - job.refunded_seconds, used_seconds)
    given_back = left if seconds is None else seconds
    if not 0 < given_back <= left:
        raise RefundOutOfRange(maximum_seconds=left)
    await quota_queries.refund(
        connection,
        quota_id=job.quota_id,
        job_id=job_id,
        seconds=given_back,
        note=reason,
        actor=caller.actor,
        now=now,
    )
    await audit.record(
        connection,
        caller.actor,
        AuditAction.JOB_REFUNDED,
        target_type="job",
        target_id=job_id,
        details={"refunded_seconds": given_back, "reason": reason},
        origin=origin,
    )
    return await read(connection, caller, job_id)


async def _record(
    connection: AsyncConnection, caller: Caller, action: AuditAction, job_id: int, note: str | None, origin: Origin
) -> None:
    details = {"note": note} if note else {}
    await audit.record(
        connection, caller.actor, action, target_type="job", target_id=job_id, details=details, origin=origin
    )


async def _insert(
    connection: AsyncConnection, job: NewJob, *, key: str | None, body_sha256: bytes | None, now: datetime
) -> JobRow | None:
    """None: there is no room for the job, or its key has been used before."""
    try:
        return await queries.submit(connection, job, key=key, body_sha256=body_sha256, now=now)
    except IntegrityError as error:
        if "pk_idempotency_keys" not in str(error.orig):
            raise
        return None


async def _refusal(
    connection: AsyncConnection,
    caller: Caller,
    request: JobRequest,
    reserved_seconds: int,
    *,
    policy: QuotaPolicy,
    now: datetime,
) -> DomainError | None:
    try:
        await forecast(connection, caller, request, reserved_seconds, policy=policy, now=now)
    except DomainError as refusal:
        return refusal
    return None


async def _submitted_before(
    connection: AsyncConnection, caller: Caller, request: JobRequest, *, key: str, now: datetime
) -> JobRow | None:
    """The job that this key has made, as it is now. A key that has served its time is forgotten."""
    known = await queries.idempotency_key(connection, user_id=caller.user_id, key=key)
    if known is None:
        return None
    if known.created_at <= now - IDEMPOTENCY_KEY_LIFETIME:
        await queries.forget_idempotency_keys(connection, until=now - IDEMPOTENCY_KEY_LIFETIME)
        return None
    if known.body_sha256 != request.digest:
        raise IdempotencyKeyReused
    return await read(connection, caller, known.job_id)


async def _charge_to_this_month(
    connection: AsyncConnection, job: JobRow, *, actor: Actor, policy: QuotaPolicy, now: datetime
) -> None:
    """A job is charged to the month in which it starts."""
    balance = await quotas.read(connection, job.user_id, policy=policy, now=now)
    if await quota_queries.covers(connection, quota_id=job.quota_id, now=now):
        return
    moved = await quota_queries.move_reservation(
        connection,
        job_id=job.id,
        user_id=job.user_id,
        from_quota_id=job.quota_id,
        reserved_seconds=job.reserved_seconds,
        actor=actor,
        now=now,
    )
    if not moved:
        raise _quota_exceeded(job.reserved_seconds, balance)


def _quota_exceeded(needed_seconds: int, balance: QuotaBalance) -> QuotaExceeded:
    return QuotaExceeded(
        needed_seconds=needed_seconds, available_seconds=balance.available_seconds, resets_at=balance.ends_at
    )


async def _conflict(connection: AsyncConnection, caller: Caller, job: JobRow) -> JobStateConflict:
    last = await events.last_transition(connection, job.id)
    allowed = available_actions(
        JobStatus(job.status),
        is_admin=caller.is_admin,
        is_owner=job.user_id == caller.user_id,
        cancel_requested=job.cancel_requested_at is not None,
        dispatched=job.run_id is not None,
    )
    return JobStateConflict(
        job_id=job.id,
        current_status=JobStatus(job.status),
        allowed=allowed,
        changed_by=last.actor_name,
        changed_at=last.created_at,
    )
