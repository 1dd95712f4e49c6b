"""Other people's quotas."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.api.deps import AdminUser, Autocommit, Now, State, Transaction
from app.api.errors import problems
from app.api.exports import CSV_FILE, Export
from app.api.origin import RequestOrigin
from app.api.pagination import PageParams
from app.api.policy import Policy
from app.domain.quota import seconds_from_hours
from app.schemas.exports import QUOTA_ENTRIES
from app.schemas.quotas import QuotaAdjustment, QuotaEntryRead, QuotaRead, QuotaUpdate
from app.schemas.text import LARGEST_ROW_ID, RowId
from app.services import exports, quotas, users

router = APIRouter(prefix="/admin/users/{user_id}/quota", tags=["admin"])

UserId = Annotated[RowId, Path(description="The user's number.")]


@router.get("", responses=problems(401, 403, 404, 422, 503))
async def get_user_quota(
    user_id: UserId, _admin: AdminUser, connection: Transaction, policy: Policy, now: Now
) -> QuotaRead:
    """A user's month."""
    await users.read(connection, user_id)
    return QuotaRead.of(await quotas.read(connection, user_id, policy=policy, now=now))


@router.put("", responses=problems(401, 403, 404, 409, 422, 503))
async def set_user_quota(
    user_id: UserId,
    body: QuotaUpdate,
    admin: AdminUser,
    connection: Transaction,
    policy: Policy,
    now: Now,
    origin: RequestOrigin,
) -> QuotaRead:
    """Set the limit of a user's present month; later months inherit it."""
    await users.read(connection, user_id)
    limit_seconds = seconds_from_hours(body.limit_hours)
    balance = await quotas.set_limit(
        connection, user_id, limit_seconds, note=body.reason, actor=admin.actor, policy=policy, now=now, origin=origin
    )
    return QuotaRead.of(balance)


@router.post("/adjustments", responses=problems(401, 403, 404, 409, 422, 503))
async def adjust_user_quota(
    user_id: UserId,
    body: QuotaAdjustment,
    admin: AdminUser,
    connection: Transaction,
    policy: Policy,
    now: Now,
    origin: RequestOrigin,
) -> QuotaRead:
    """Correct the hours that a user's present month counts as used."""
    await users.read(connection, user_id)
    delta_seconds = seconds_from_hours(body.hours)
    balance = await quotas.adjust(
        connection, user_id, delta_seconds, note=body.reason, actor=admin.actor, policy=policy, now=now, origin=origin
    )
    return QuotaRead.of(balance)


@router.get("/entries", responses=problems(401, 403, 404, 422, 503))
async def list_user_quota_entries(
    user_id: UserId, _admin: AdminUser, connection: Autocommit, page: PageParams
) -> list[QuotaEntryRead]:
    """A user's ledger, newest first."""
    await users.read(connection, user_id)
    before = page.last_id or LARGEST_ROW_ID
    rows = await quotas.entries(connection, user_id, before=before, limit=page.fetch_limit)
    return [QuotaEntryRead.of(row) for row in page.cut(rows)]


@router.get("/entries/export", response_class=Response, responses=problems(401, 403, 404, 422, 503) | CSV_FILE)
async def export_user_quota_entries(user_id: UserId, _admin: AdminUser, state: State, export: Export) -> Response:
    """A user's ledger as a CSV file, newest first; the `Link` header leads to the next 100,000 rows."""
    async with state.database.autocommit() as connection:
        await users.read(connection, user_id)
    return await export.send(exports.list_quota_entries(user_id), QUOTA_ENTRIES)
