"""What admins do with accounts: find, promote, disable, rename, see how they stand."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.email_address import normalise_email
from app.db.queries import sessions
from app.db.queries import users as queries
from app.db.queries.users import UserChange, UserFilter
from app.domain.audit import AuditAction
from app.domain.errors import NotFound
from app.domain.identity import Actor
from app.domain.job_state import JobStatus
from app.domain.quota import QuotaBalance
from app.services import audit, quotas
from app.services.audit import Origin
from app.services.quotas import QuotaPolicy


@dataclass(frozen=True, slots=True)
class Standing:
    """A user's present month, and how many of the user's jobs stand in each status."""

    user_id: int
    quota: QuotaBalance
    counts: Mapping[JobStatus, int]


async def read_page(
    connection: AsyncConnection, chosen: UserFilter, *, last_id: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first."""
    return await queries.page(connection, chosen, last_id=last_id, limit=limit)


async def read(connection: AsyncConnection, user_id: int) -> Row[Any]:
    """One user.

    Raises:
        NotFound: unknown.
    """
    user = await queries.get(connection, user_id)
    if user is None:
        raise NotFound
    return user


async def standing(
    connection: AsyncConnection, ids: Collection[int], *, policy: QuotaPolicy, now: datetime
) -> Sequence[Standing]:
    """What is left of the month, and the jobs so far, of those of these users who exist. In the order of their ids."""
    rows = await queries.standing(connection, ids, now=now)
    return [
        Standing(row.user_id, quotas.present(_month_of(row), policy=policy, now=now), _counts_of(row)) for row in rows
    ]


async def find(connection: AsyncConnection, email: str) -> Row[Any]:
    """One user by e-mail address, in any spelling.

    Raises:
        NotFound: unknown.
    """
    user = await queries.find(connection, normalise_email(email) or email)
    if user is None:
        raise NotFound
    return user


async def admins(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Everybody with the rights of an admin, the disabled included."""
    return await queries.admins(connection)


async def update(
    connection: AsyncConnection,
    user_id: int,
    change: UserChange,
    *,
    actor: Actor,
    origin: Origin = audit.NO_ORIGIN,
    now: datetime,
) -> Row[Any]:
    """Change rights or name. Older tokens die with the old rights; a disabled user's sessions end.

    Raises:
        NotFound: unknown.
        LastAdmin: nobody would be left to administer.
    """
    before = await queries.get(connection, user_id, locked=True)
    if before is None:
        raise NotFound
    await audit.set_actor(connection, actor, origin)
    user = await queries.update(connection, user_id, change, now=now)
    if user is None:
        raise NotFound
    if not user.is_active:
        await sessions.end_all(connection, user_id, now=now)
    if user.full_name != before.full_name:
        details = {"email": user.email, "from": before.full_name, "to": user.full_name}
        await audit.record(
            connection,
            actor,
            AuditAction.USER_RENAMED,
            target_type="user",
            target_id=user_id,
            details=details,
            origin=origin,
        )
    return user


def _month_of(row: Row[Any]) -> QuotaBalance | None:
    if row.starts_at is None:
        return None
    return QuotaBalance(row.starts_at, row.ends_at, row.limit_seconds, row.reserved_seconds, row.used_seconds)


def _counts_of(row: Row[Any]) -> Mapping[JobStatus, int]:
    return {status: row.jobs.get(status, 0) for status in JobStatus}
