"""A person's own quota."""

from fastapi import APIRouter, Response

from app.api.deps import Autocommit, JobsReader, Now, Transaction
from app.api.errors import problems
from app.api.exports import CSV_FILE, Export
from app.api.pagination import PageParams
from app.api.policy import Policy
from app.schemas.exports import QUOTA_ENTRIES
from app.schemas.quotas import QuotaEntryRead, QuotaRead
from app.schemas.text import LARGEST_ROW_ID
from app.services import exports, quotas

router = APIRouter(prefix="/quota", tags=["quota"])


@router.get("", responses=problems(401, 503))
async def get_quota(user: JobsReader, connection: Transaction, policy: Policy, now: Now) -> QuotaRead:
    """Your month: granted, reserved by jobs that have not ended, used by those that have, and left."""
    return QuotaRead.of(await quotas.read(connection, user.user_id, policy=policy, now=now))


@router.get("/entries", responses=problems(401, 422, 503))
async def list_quota_entries(user: JobsReader, connection: Autocommit, page: PageParams) -> list[QuotaEntryRead]:
    """Your ledger, newest first: why each number moved."""
    before = page.last_id or LARGEST_ROW_ID
    rows = await quotas.entries(connection, user.user_id, before=before, limit=page.fetch_limit)
    return [QuotaEntryRead.of(row) for row in page.cut(rows)]


@router.get("/entries/export", response_class=Response, responses=problems(401, 422, 503) | CSV_FILE)
async def export_quota_entries(user: JobsReader, export: Export) -> Response:
    """Your ledger as a CSV file, newest first; the `Link` header leads to the next 100,000 rows."""
    return await export.send(exports.list_quota_entries(user.user_id), QUOTA_ENTRIES)
