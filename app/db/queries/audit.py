"""The audit log: append, read. And who the triggers shall write down for changes of rights."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.identity import Actor

_SET_ACTOR = text(
    """
    SELECT set_config('gtm.actor_user_id', :user_id, true), set_config('gtm.actor_process', :process, true),
           set_config('gtm.request_id', :request_id, true), set_config('gtm.address', :address, true)
    """
)
_RECORD = text(
    """
    INSERT INTO audit_entries (actor_user_id, actor_process, action, target_type, target_id, details, request_id,
                               address)
    VALUES (:user_id, :process, :action, :target_type, :target_id, CAST(:details AS jsonb), :request_id,
            CAST(CAST(:address AS text) AS inet))
    """
)
_COLUMNS = """
    e.id, e.action, e.target_type, e.target_id, e.details, e.request_id, host(e.address) AS address, e.created_at,
    e.actor_process, actor.id AS actor_id, actor.email AS actor_email, actor.full_name AS actor_full_name,
    coalesce(job.name, person.email, gpu.node || ':' || gpu.gpu_index) AS target_name
"""
_NAMES = """
    LEFT JOIN users actor ON actor.id = e.actor_user_id
    LEFT JOIN jobs job ON e.target_type = 'job' AND job.id = e.target_id
    LEFT JOIN users person ON e.target_type = 'user' AND person.id = e.target_id
    LEFT JOIN gpus gpu ON e.target_type = 'gpu' AND gpu.id = e.target_id
"""
_CONDITIONS = {
    "action": "action = :action",
    "actor_user_id": "actor_user_id = :actor_user_id",
    "target_type": "target_type = :target_type",
    "target_id": "target_id = :target_id",
    "since": "created_at >= :since",
    "until": "created_at < :until",
}


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries to list; None does not filter."""

    action: str | None = None
    actor_user_id: int | None = None
    target_type: str | None = None
    target_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None


async def set_actor(connection: AsyncConnection, actor: Actor, *, request_id: str | None, address: str | None) -> None:
    """Tell the triggers who acts. It holds until the end of the transaction."""
    parameters = {
        "user_id": "" if actor.user_id is None else str(actor.user_id),
        "process": actor.process or "",
        "request_id": request_id or "",
        "address": address or "",
    }
    await connection.execute(_SET_ACTOR, parameters)


async def record(
    connection: AsyncConnection,
    actor: Actor,
    *,
    action: str,
    target_type: str,
    target_id: int | None,
    details: Mapping[str, Any],
    request_id: str | None,
    address: str | None,
) -> None:
    parameters = {
        "user_id": actor.user_id,
        "process": actor.process,
        "action": action,
        "target_type": target_type,
        "target_id": target_id,
        "details": json.dumps(details),
        "request_id": request_id,
        "address": address,
    }
    await connection.execute(_RECORD, parameters)


async def page(
    connection: AsyncConnection, chosen: AuditFilter, *, last_id: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first."""
    places, parameters = _places(chosen, last_id=last_id, limit=limit)
    statement = f"""
        SELECT {_COLUMNS}
        FROM ({places}) page JOIN audit_entries e ON e.id = page.id {_NAMES}
        ORDER BY e.created_at DESC, e.id DESC
    """
    return (await connection.execute(text(statement), parameters)).all()


async def id_at(connection: AsyncConnection, chosen: AuditFilter, *, last_id: int | None, place: int) -> int | None:
    """The id of the entry at this place after `last_id`, from 1 on. None: no entry follows it, if there is one."""
    places, parameters = _places(chosen, last_id=last_id, limit=place + 1)
    statement = f"SELECT id FROM ({places}) page ORDER BY created_at DESC, id DESC OFFSET :before"
    found = (await connection.execute(text(statement), {**parameters, "before": place - 1})).scalars().all()
    return found[0] if len(found) > 1 else None


def _places(chosen: AuditFilter, *, last_id: int | None, limit: int) -> tuple[str, dict[str, Any]]:
    """The ids of a page, in the order in which an index of each filter has them: by time, and by id where it is equal.

    Only conditions that are asked for stand in the statement, because one that serves all cannot use the indexes.
    """
    asked = {name: value for name in _CONDITIONS if (value := getattr(chosen, name)) is not None}
    conditions = [_CONDITIONS[name] for name in asked]
    parameters = {**asked, "limit": limit}
    if last_id is not None:
        conditions.append("(created_at, id) < ((SELECT created_at FROM audit_entries WHERE id = :last_id), :last_id)")
        parameters["last_id"] = last_id
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return (
        f"SELECT id, created_at FROM audit_entries {where} ORDER BY created_at DESC, id DESC LIMIT :limit",
        parameters,
    )
