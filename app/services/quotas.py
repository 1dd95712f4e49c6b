"""The monthly quota: read it, open the months that time brings, change a limit, correct what was used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.config import Settings
from app.db.queries import quotas as queries
from app.domain.audit import AuditAction
from app.domain.errors import AdjustmentOutOfRange, QuotaBelowUse
from app.domain.identity import Actor
from app.domain.periods import Calendar, MonthRule
from app.domain.quota import QuotaBalance, seconds_from_hours
from app.services import audit
from app.services.audit import NO_ORIGIN, Origin


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """How this installation grants quota: its months, and the GPU-seconds that a new user's first month has."""

    months: MonthRule
    default_limit_seconds: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        months = MonthRule(Calendar(settings.quota_calendar), settings.zone)
        return cls(months, seconds_from_hours(settings.default_monthly_gpu_hours))


async def read(connection: AsyncConnection, user_id: int, *, policy: QuotaPolicy, now: datetime) -> QuotaBalance:
    """The user's present month; it is opened when nobody has asked for it yet."""
    balance = await queries.current(connection, user_id=user_id, now=now)
    if balance is None:
        await open_months(connection, user_id, policy=policy, now=now)
        balance = await queries.current(connection, user_id=user_id, now=now)
    if balance is None:
        raise RuntimeError(f"user {user_id} has no month at {now.isoformat()}: is a clock wrong?")
    return balance


async def open_months(connection: AsyncConnection, user_id: int, *, policy: QuotaPolicy, now: datetime) -> None:
    """Add every month from the user's last one to the present one, so that none is missing. Each inherits the limit."""
    latest = await queries.latest(connection, user_id=user_id)
    if latest is None:
        months, limit_seconds = [policy.months.period_at(now)], policy.default_limit_seconds
    else:
        months, limit_seconds = list(policy.months.periods_since(latest[0], now)), latest[1]
    await queries.open_months(connection, user_id=user_id, months=months, limit_seconds=limit_seconds, now=now)


def present(latest: QuotaBalance | None, *, policy: QuotaPolicy, now: datetime) -> QuotaBalance:
    """The month that `read` would answer with, for a user whose latest one is known; nothing is opened."""
    if latest is None:
        month, limit_seconds = policy.months.period_at(now), policy.default_limit_seconds
    elif latest.ends_at > now:
        return latest
    else:
        *_, month = policy.months.periods_since(latest.ends_at, now)
        limit_seconds = latest.limit_seconds
    return QuotaBalance(month.starts_at, month.ends_at, limit_seconds, reserved_seconds=0, used_seconds=0)


async def set_limit(
    connection: AsyncConnection,
    user_id: int,
    limit_seconds: int,
    *,
    note: str,
    actor: Actor,
    policy: QuotaPolicy,
    now: datetime,
    origin: Origin = NO_ORIGIN,
) -> QuotaBalance:
    """Change the present month's limit; later months inherit it.

    Raises:
        QuotaBelowUse: with the smallest limit that is possible now.
    """
    await read(connection, user_id, policy=policy, now=now)
    changed = await queries.set_limit(
        connection, user_id=user_id, limit_seconds=limit_seconds, note=note, actor=actor, now=now
    )
    balance = await read(connection, user_id, policy=policy, now=now)
    if not changed:
        raise QuotaBelowUse(minimum_seconds=balance.reserved_seconds + balance.used_seconds)
    details = {"limit_seconds": limit_seconds, "reason": note}
    await audit.record(
        connection,
        actor,
        AuditAction.QUOTA_LIMIT_SET,
        target_type="user",
        target_id=user_id,
        details=details,
        origin=origin,
    )
    return balance


async def adjust(
    connection: AsyncConnection,
    user_id: int,
    delta_seconds: int,
    *,
    note: str,
    actor: Actor,
    policy: QuotaPolicy,
    now: datetime,
    origin: Origin = NO_ORIGIN,
) -> QuotaBalance:
    """Correct the used GPU-seconds of the present month, up or down.

    Raises:
        AdjustmentOutOfRange: with the range that is possible now.
    """
    await read(connection, user_id, policy=policy, now=now)
    changed = await queries.adjust(
        connection, user_id=user_id, delta_seconds=delta_seconds, note=note, actor=actor, now=now
    )
    balance = await read(connection, user_id, policy=policy, now=now)
    if not changed:
        raise AdjustmentOutOfRange(minimum_seconds=-balance.used_seconds, maximum_seconds=balance.available_seconds)
    details = {"delta_seconds": delta_seconds, "reason": note}
    await audit.record(
        connection,
        actor,
        AuditAction.QUOTA_ADJUSTED,
        target_type="user",
        target_id=user_id,
        details=details,
        origin=origin,
    )
    return balance


async def entries(connection: AsyncConnection, user_id: int, *, before: int, limit: int) -> Sequence[Row[Any]]:
    """The user's ledger, newest first, below the entry number `before`."""
    return await queries.entries(connection, user_id=user_id, before=before, limit=limit)
