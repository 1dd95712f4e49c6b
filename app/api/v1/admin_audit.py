"""Who did what, for those who have to answer for it."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.deps import AdminUser, Autocommit
from app.api.errors import problems
from app.api.pagination import PageParams
from app.db.queries.audit import AuditFilter
from app.schemas.audit import AuditRead
from app.schemas.text import Line, RowId
from app.services import audit

router = APIRouter(prefix="/admin/audit", tags=["admin"])

Word = Annotated[Line, Query(min_length=1, max_length=64)]


@router.get("", responses=problems(401, 403, 422, 503))
async def list_audit_entries(
    _admin: AdminUser,
    connection: Autocommit,
    page: PageParams,
    *,
    action: Word | None = None,
    actor: Annotated[RowId | None, Query(description="The number of the user who acted.")] = None,
    target_type: Word | None = None,
    target_id: RowId | None = None,
) -> list[AuditRead]:
    """The audit log, newest first. Nothing in it ever changes."""
    chosen = AuditFilter(action=action, actor_user_id=actor, target_type=target_type, target_id=target_id)
    rows = await audit.read_page(connection, chosen, last_id=page.last_id, limit=page.fetch_limit)
    return [AuditRead.of(row) for row in page.cut(rows)]
