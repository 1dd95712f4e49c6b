"""The quota ledger. Every change of a month's numbers is one conditional UPDATE and its entry."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Row, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.identity import Actor
from app.domain.periods import Period
from app.domain.quota import QuotaBalance

INSTANTS = ARRAY(DateTime(timezone=True))

_CURRENT = text(
    """
    SELECT starts_at, ends_at, limit_seconds, reserved_seconds, used_seconds
    FROM user_quotas WHERE user_id = :user_id AND starts_at <= :now AND ends_at > :now
    """
)
_LATEST = text(
    "SELECT ends_at, limit_seconds FROM user_quotas WHERE user_id = :user_id ORDER BY starts_at DESC LIMIT 1"
)
_COVERS = text("SELECT starts_at <= :now AND ends_at > :now FROM user_quotas WHERE id = :quota_id")
_OPEN = text(
    """
    WITH opened AS (
        INSERT INTO user_quotas (user_id, starts_at, ends_at, limit_seconds, updated_at)
        SELECT :user_id, month.starts_at, month.ends_at, :limit_seconds, :now
        FROM unnest(:starts, :ends) AS month (starts_at, ends_at) ORDER BY month.starts_at
        ON CONFLICT DO NOTHING
        RETURNING id, user_id, limit_seconds
    )
    INSERT INTO quota_entries (quota_id, user_id, kind, limit_delta, actor_process, created_at)
    SELECT id, user_id, 'GRANT', limit_seconds, 'calendar', :now FROM opened
    """
).bindparams(bindparam("starts", type_=INSTANTS), bindparam("ends", type_=INSTANTS))
_LOCK_PRESENT = text(
    """
    SELECT id, limit_seconds FROM user_quotas
    WHERE user_id = :user_id AND starts_at <= :now AND ends_at > :now FOR NO KEY UPDATE
    """
)
_SET_LIMIT = text(
    """
    WITH changed AS (
        UPDATE user_quotas q SET limit_seconds = :limit_seconds, updated_at = :now
        WHERE id = :quota_id AND reserved_seconds + used_seconds <= :limit_seconds
        RETURNING id, user_id, :limit_seconds - CAST(:present_seconds AS bigint) AS delta
    ), entry AS (
        INSERT INTO quota_entries (quota_id, user_id, kind, limit_delta, note, actor_user_id, actor_process, created_at)
        SELECT id, user_id, 'LIMIT', delta, :note, :actor_user_id, :actor_process, :now FROM changed
    )
    SELECT delta FROM changed
    """
).bindparams(bindparam("limit_seconds", type_=BigInteger))
_ADJUST = text(
    """
    WITH changed AS (
        UPDATE user_quotas SET used_seconds = used_seconds + :delta, updated_at = :now
        WHERE user_id = :user_id AND starts_at <= :now AND ends_at > :now
          AND used_seconds + :delta >= 0 AND reserved_seconds + used_seconds + :delta <= limit_seconds
        RETURNING id, user_id
    ), entry AS (
        INSERT INTO quota_entries (quota_id, user_id, kind, used_delta, note, actor_user_id, actor_process, created_at)
        SELECT id, user_id, 'ADJUST', :delta, :note, :actor_user_id, :actor_process, :now FROM changed
    )
    SELECT id FROM changed
    """
).bindparams(bindparam("delta", type_=BigInteger))
_LOCK_USED = text("SELECT used_seconds FROM user_quotas WHERE id = :quota_id FOR NO KEY UPDATE")
_REFUND = text(
    """
    WITH changed AS (
        UPDATE user_quotas SET used_seconds = used_seconds - :seconds, updated_at = :now
        WHERE id = :quota_id
        RETURNING id, user_id
    ), entry AS (
        INSERT INTO quota_entries
            (quota_id, user_id, job_id, kind, used_delta, note, actor_user_id, actor_process, created_at)
        SELECT id, user_id, :job_id, 'REFUND', -:seconds, :note, :actor_user_id, :actor_process, :now FROM changed
    )
    SELECT FROM changed
    """
).bindparams(bindparam("seconds", type_=BigInteger))
_LOCK_MONTHS = text(
    """
    SELECT id FROM user_quotas
    WHERE id = :from_quota_id OR (user_id = :user_id AND starts_at <= :now AND ends_at > :now)
    ORDER BY id FOR NO KEY UPDATE
    """
)
_MOVE = text(
    """
    WITH target AS (
        UPDATE user_quotas q SET reserved_seconds = q.reserved_seconds + :reserved, updated_at = :now
        WHERE q.user_id = :user_id AND q.starts_at <= :now AND q.ends_at > :now AND q.id <> :from_quota_id
          AND q.reserved_seconds + q.used_seconds + :reserved <= q.limit_seconds
        RETURNING q.id
    ), source AS (
        UPDATE user_quotas q SET reserved_seconds = q.reserved_seconds - :reserved, updated_at = :now
        FROM target WHERE q.id = :from_quota_id
    ), entries AS (
        INSERT INTO quota_entries
            (quota_id, user_id, job_id, kind, reserved_delta, actor_user_id, actor_process, created_at)
        SELECT moved.quota_id, :user_id, :job_id, moved.kind, moved.delta, :actor_user_id, :actor_process, :now
        FROM target, LATERAL (VALUES
            (:from_quota_id, 'MOVE_OUT', -:reserved), (target.id, 'MOVE_IN', :reserved)
        ) AS moved (quota_id, kind, delta)
    )
    UPDATE jobs SET quota_id = target.id FROM target WHERE jobs.id = :job_id
    RETURNING jobs.quota_id
    """
).bindparams(bindparam("reserved", type_=BigInteger), bindparam("from_quota_id", type_=BigInteger))
_ENTRIES = text(
    """
    SELECT e.id, e.kind, e.job_id, j.name AS job_name, e.limit_delta, e.reserved_delta, e.used_delta, e.note,
           e.created_at, q.starts_at AS period_start, e.actor_process, actor.id AS actor_id,
           actor.full_name AS actor_full_name, actor.email AS actor_email
    FROM quota_entries e
    JOIN user_quotas q ON q.id = e.quota_id
    LEFT JOIN jobs j ON j.id = e.job_id
    LEFT JOIN users actor ON actor.id = e.actor_user_id
    WHERE e.user_id = :user_id AND e.id < :before
    ORDER BY e.id DESC LIMIT :limit
    """
)
_ENTRY_AT = text(
    "SELECT id FROM quota_entries WHERE user_id = :user_id AND id < :below ORDER BY id DESC OFFSET :before LIMIT 2"
)


async def current(connection: AsyncConnection, *, user_id: int, now: datetime) -> QuotaBalance | None:
    row = (await connection.execute(_CURRENT, {"user_id": user_id, "now": now})).one_or_none()
    return QuotaBalance(*row) if row else None


async def latest(connection: AsyncConnection, *, user_id: int) -> tuple[datetime, int] | None:
    """Where the user's last month ends, and its limit in GPU-seconds."""
    row = (await connection.execute(_LATEST, {"user_id": user_id})).one_or_none()
    return (row.ends_at, row.limit_seconds) if row else None


async def covers(connection: AsyncConnection, *, quota_id: int, now: datetime) -> bool:
    """Is this month the present one?"""
    return bool((await connection.execute(_COVERS, {"quota_id": quota_id, "now": now})).scalar_one())


async def open_months(
    connection: AsyncConnection, *, user_id: int, months: Sequence[Period], limit_seconds: int, now: datetime
) -> None:
    """Add these months with their GRANT entries. A month that somebody else has just added is left as it is."""
    parameters = {
        "user_id": user_id,
        "starts": [month.starts_at for month in months],
        "ends": [month.ends_at for month in months],
        "limit_seconds": limit_seconds,
        "now": now,
    }
    await connection.execute(_OPEN, parameters)


async def set_limit(
    connection: AsyncConnection, *, user_id: int, limit_seconds: int, note: str, actor: Actor, now: datetime
) -> bool:
    """Change the current month's limit. False: it would fall below what is used and reserved, or there is no month."""
    present = (await connection.execute(_LOCK_PRESENT, {"user_id": user_id, "now": now})).one_or_none()
    if present is None:
        return False
    parameters = {
        "quota_id": present.id,
        "present_seconds": present.limit_seconds,
        "limit_seconds": limit_seconds,
        "note": note,
        "now": now,
    } | _actor(actor)
    return (await connection.execute(_SET_LIMIT, parameters)).one_or_none() is not None


async def adjust(
    connection: AsyncConnection, *, user_id: int, delta_seconds: int, note: str, actor: Actor, now: datetime
) -> bool:
    """Correct the used GPU-seconds of the current month. False: the result would leave `[0, limit - reserved]`."""
    parameters = {"user_id": user_id, "delta": delta_seconds, "note": note, "now": now} | _actor(actor)
    return (await connection.execute(_ADJUST, parameters)).one_or_none() is not None


async def lock_used(connection: AsyncConnection, *, quota_id: int) -> int:
    """The GPU-seconds that a month counts as used, kept from changing until the transaction ends."""
    used_seconds: int = (await connection.execute(_LOCK_USED, {"quota_id": quota_id})).scalar_one()
    return used_seconds


async def refund(
    connection: AsyncConnection, *, quota_id: int, job_id: int, seconds: int, note: str, actor: Actor, now: datetime
) -> None:
    """Give back used GPU-seconds of a job, in the month that it was charged to, which has so many (`lock_used`)."""
    parameters = {"quota_id": quota_id, "job_id": job_id, "seconds": seconds, "note": note, "now": now} | _actor(actor)
    await connection.execute(_REFUND, parameters)


async def move_reservation(
    connection: AsyncConnection,
    *,
    job_id: int,
    user_id: int,
    from_quota_id: int,
    reserved_seconds: int,
    actor: Actor,
    now: datetime,
) -> bool:
    """Carry a job's reservation into the current month. False: that month has no room, and nothing changed."""
    months = {"from_quota_id": from_quota_id, "user_id": user_id, "now": now}
    await connection.execute(_LOCK_MONTHS, months)
    parameters = {"job_id": job_id, "reserved": reserved_seconds} | months | _actor(actor)
    return (await connection.execute(_MOVE, parameters)).one_or_none() is not None


async def entries(connection: AsyncConnection, *, user_id: int, before: int, limit: int) -> Sequence[Row[Any]]:
    """The user's ledger, newest first."""
    return (await connection.execute(_ENTRIES, {"user_id": user_id, "before": before, "limit": limit})).all()


async def entry_id_at(connection: AsyncConnection, *, user_id: int, before: int, place: int) -> int | None:
    """The number of the user's entry at this place below `before`, from 1 on. None: none follows it, if it is there."""
    parameters = {"user_id": user_id, "below": before, "before": place - 1}
    found = (await connection.execute(_ENTRY_AT, parameters)).scalars().all()
    return found[0] if len(found) > 1 else None


def _actor(actor: Actor) -> dict[str, object]:
    return {"actor_user_id": actor.user_id, "actor_process": actor.process}
