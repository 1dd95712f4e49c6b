"""Where people are signed in, and signing out there. How a session begins, goes on and is recognised is in `auth`."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import sessions as queries
from app.domain.audit import AuditAction
from app.domain.errors import NotFound
from app.domain.identity import Caller
from app.services import audit
from app.services.audit import NO_ORIGIN, Origin

MOST_LISTED = 100


async def read_own(connection: AsyncConnection, caller: Caller, *, now: datetime) -> Sequence[Row[Any]]:
    """The caller's live sessions: this one first, then those used last, `MOST_LISTED` of them."""
    return await queries.of_user(connection, caller.user_id, current=caller.credential_id, now=now, limit=MOST_LISTED)


async def end(
    connection: AsyncConnection, caller: Caller, session_id: UUID, *, now: datetime, origin: Origin = NO_ORIGIN
) -> None:
    """End one of the caller's own sessions; its tokens are refused from now on.

    Raises:
        NotFound: unknown, ended, or another person's.
    """
    ended = await queries.end_of_user(connection, caller.user_id, session_id, now=now)
    if ended is None:
        raise NotFound
    await audit.record(
        connection,
        caller.actor,
        AuditAction.SESSION_ENDED,
        target_type="user",
        target_id=caller.user_id,
        details={"email": caller.email, "address": ended.address, "user_agent": ended.user_agent},
        origin=origin,
    )


async def end_others(connection: AsyncConnection, caller: Caller, *, now: datetime, origin: Origin = NO_ORIGIN) -> None:
    """End all of the caller's sessions but this one."""
    count = await queries.end_all(connection, caller.user_id, now=now, except_for=caller.credential_id)
    if count:
        await audit.record(
            connection,
            caller.actor,
            AuditAction.SESSION_OTHERS_ENDED,
            target_type="user",
            target_id=caller.user_id,
            details={"email": caller.email, "count": count},
            origin=origin,
        )
