"""Jobs that an engine holds in the service's name though the service did not submit them: seen, told, cancelled."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import foreign_jobs as queries
from app.domain.audit import AuditAction
from app.domain.execution import NamedJob
from app.domain.identity import Actor
from app.services import audit

log = structlog.get_logger("foreign_jobs")


async def note(
    connection: AsyncConnection, named: Collection[NamedJob], *, engine: str, term: int, now: datetime
) -> Sequence[Row[Any]]:
    """Keep which of these jobs carry no run of ours, and return them. Each is written into the audit log once."""
    found = await queries.sync(connection, named, executor=engine, now=now)
    for row in found:
        if row.is_new:
            await _record(connection, AuditAction.FOREIGN_JOB_SEEN, row, term)
    return found


async def note_cancelled(connection: AsyncConnection, row: Row[Any], *, term: int, now: datetime) -> None:
    if await queries.note_cancelled(connection, row.id, now=now):
        await _record(connection, AuditAction.FOREIGN_JOB_CANCELLED, row, term)


async def _record(connection: AsyncConnection, action: AuditAction, row: Row[Any], term: int) -> None:
    details = {"engine_job_id": row.engine_job_id, "name": row.name, "gpus": row.num_gpus}
    log.warning(action, **details)
    await audit.record(
        connection, Actor.dispatcher(term), action, target_type="foreign_job", target_id=row.id, details=details
    )
