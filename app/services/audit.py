"""Writing down who did what, and reading it back.

Changes of rights and passwords are written by triggers, so that SQL typed by an operator leaves a trace as well; they
learn from `set_actor` whom to name. Everything else that people have to answer for calls `record`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import audit as queries
from app.db.queries.audit import AuditFilter
from app.domain.audit import AuditAction
from app.domain.identity import Actor


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an act came from: as much of it as is known."""

    address: str | None = None
    request_id: str | None = None
    user_agent: str | None = None


NO_ORIGIN = Origin()


async def set_actor(connection: AsyncConnection, actor: Actor, origin: Origin = NO_ORIGIN) -> None:
    """Name the person or process that the triggers write down, until the end of this transaction."""
    await queries.set_actor(connection, actor, request_id=origin.request_id, address=origin.address)


async def record(
    connection: AsyncConnection,
    actor: Actor,
    action: AuditAction,
    *,
    target_type: str,
    target_id: int | None,
    details: Mapping[str, Any] | None = None,
    origin: Origin = NO_ORIGIN,
) -> None:
    """Append one entry, in the transaction of the act itself. `details` must hold no secret: it is kept for ever."""
    await queries.record(
        connection,
        actor,
        action=action,
        target_type=target_type,
        target_id=target_id,
        details=details or {},
        request_id=origin.request_id,
        address=origin.address,
    )


async def read_page(
    connection: AsyncConnection, chosen: AuditFilter, *, last_id: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first."""
    return await queries.page(connection, chosen, last_id=last_id, limit=limit)
