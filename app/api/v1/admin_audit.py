"""Who did what, for those who have to answer for it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.days import DaySpan
from app.api.deps import AdminUser, Autocommit
from app.api.errors import problems
from app.api.exports import CSV_FILE, Export
from app.api.pagination import PageParams
from app.db.queries.audit import AuditFilter
from app.domain.audit import AuditAction
from app.schemas.audit import AuditRead
from app.schemas.exports import AUDIT_ENTRIES
from app.schemas.text import Line, RowId
from app.services import audit, exports

router = APIRouter(prefix="/admin/audit", tags=["admin"])

Word = Annotated[Line, Query(min_length=1, max_length=64)]
Actor = Annotated[RowId | None, Query(description="The number of the user who acted.")]


async def get_filter(
    days: DaySpan,
    action: Word | None = None,
    actor: Actor = None,
    target_type: Word | None = None,
    target_id: RowId | None = None,
) -> AuditFilter:
    return AuditFilter(
        action=action,
        actor_user_id=actor,
        target_type=target_type,
        target_id=target_id,
        since=days.since,
        until=days.until,
    )


Chosen = Annotated[AuditFilter, Depends(get_filter)]


@router.get("", responses=problems(401, 403, 422, 503))
async def list_audit_entries(
    _admin: AdminUser, connection: Autocommit, page: PageParams, chosen: Chosen
) -> list[AuditRead]:
    """The audit log, newest first. Nothing in it ever changes."""
    rows = await audit.read_page(connection, chosen, last_id=page.last_id, limit=page.fetch_limit)
    return [AuditRead.of(row) for row in page.cut(rows)]


@router.get("/export", response_class=Response, responses=problems(401, 403, 422, 503) | CSV_FILE)
async def export_audit_entries(_admin: AdminUser, export: Export, chosen: Chosen) -> Response:
    """The audit log as a CSV file, newest first; the `Link` header leads to the next 100,000 rows."""
    return await export.send(exports.list_audit_entries(chosen), AUDIT_ENTRIES)


@router.get("/actions", responses=problems(401, 403, 422, 503))
async def list_audit_actions(_admin: AdminUser) -> list[AuditAction]:
    """Every word that `action` may be, in alphabetical order."""
    return sorted(AuditAction)
