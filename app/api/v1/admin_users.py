"""Accounts, for those who look after them."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Query

from app.api.deps import AdminUser, Autocommit, Now, Transaction
from app.api.errors import problems
from app.api.origin import RequestOrigin
from app.api.pagination import PageParams
from app.api.policy import Policy
from app.db.queries.users import UserChange, UserFilter
from app.schemas.jobs import JobCounts
from app.schemas.quotas import QuotaRead
from app.schemas.text import Name, RowId
from app.schemas.users import StandingRead, UserRead, UserUpdate
from app.services import users

router = APIRouter(prefix="/admin/users", tags=["admin"])

UserId = Annotated[RowId, Path(description="The user's number.")]
Beginning = Annotated[
    Name, Query(min_length=1, max_length=100, description="Begins the address, or a word of the name.")
]

ChosenUsers = Annotated[
    Sequence[RowId], Query(alias="id", max_length=100, description="A user's number; repeat for several.")
]


@router.get("", responses=problems(401, 403, 422, 503))
async def list_users(
    _admin: AdminUser,
    connection: Autocommit,
    page: PageParams,
    q: Beginning | None = None,
    is_active: bool | None = None,
    is_admin: bool | None = None,
) -> list[UserRead]:
    """All accounts, newest first."""
    chosen = UserFilter(q=q, is_active=is_active, is_admin=is_admin)
    rows = await users.read_page(connection, chosen, last_id=page.last_id, limit=page.fetch_limit)
    return [UserRead.model_validate(row) for row in page.cut(rows)]


@router.get("/standing", responses=problems(401, 403, 422, 503))
async def read_standing(
    _admin: AdminUser, connection: Autocommit, policy: Policy, now: Now, chosen: ChosenUsers = ()
) -> list[StandingRead]:
    """What is left of each user's month, and each user's jobs so far: what an approver wants to know beside a request.

    In the order of their numbers; a number that is nobody's is left out.
    """
    return [
        StandingRead(
            user_id=standing.user_id,
            quota=QuotaRead.of(standing.quota),
            counts=JobCounts.model_validate(standing.counts),
        )
        for standing in await users.standing(connection, chosen, policy=policy, now=now)
    ]


@router.get("/{user_id}", responses=problems(401, 403, 404, 422, 503))
async def get_user(user_id: UserId, _admin: AdminUser, connection: Autocommit) -> UserRead:
    """One account."""
    return UserRead.model_validate(await users.read(connection, user_id))


@router.patch("/{user_id}", responses=problems(401, 403, 404, 409, 422, 503))
async def update_user(
    user_id: UserId, body: UserUpdate, admin: AdminUser, *, connection: Transaction, origin: RequestOrigin, now: Now
) -> UserRead:
    """Promote or demote, disable or enable, rename.

    It holds from the user's next request on; disabling ends all of the user's sessions. The last active admin can be
    neither demoted nor disabled.
    """
    change = UserChange(
        is_admin=body.is_admin,
        is_active=body.is_active,
        full_name=body.full_name,
        fields=frozenset(body.model_fields_set),
    )
    user = await users.update(connection, user_id, change, actor=admin.actor, origin=origin, now=now)
    return UserRead.model_validate(user)
