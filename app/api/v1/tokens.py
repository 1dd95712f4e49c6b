"""Personal access tokens: for programs, which have no password."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, status

from app.api.deps import AnyUser, Autocommit, Now, SignedInUser, Transaction
from app.api.errors import problems
from app.api.origin import RequestOrigin
from app.schemas.tokens import PersonalTokenCreated, PersonalTokenRead, TokenCreate
from app.services import tokens

router = APIRouter(prefix="/auth/tokens", tags=["auth"])


@router.get("", responses=problems(401, 503))
async def list_tokens(user: AnyUser, connection: Autocommit, now: Now) -> list[PersonalTokenRead]:
    """Your personal access tokens that are still good, newest first."""
    return [PersonalTokenRead.model_validate(row) for row in await tokens.read_own(connection, user, now=now)]


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems(401, 403, 409, 422, 503))
async def create_token(
    body: TokenCreate, user: SignedInUser, connection: Transaction, now: Now, origin: RequestOrigin
) -> PersonalTokenCreated:
    """Make a personal access token, for a program to show as its bearer token.

    The answer is the only place where it stands: the service keeps a digest. It ends by itself, when you revoke it,
    when your account is disabled or loses its admin rights, and when your password changes.
    """
    made = await tokens.create(
        connection,
        user,
        name=body.name,
        scopes=body.scopes,
        lifetime=timedelta(days=body.expires_in_days),
        now=now,
        origin=origin,
    )
    shown = PersonalTokenRead.model_validate(made.row)
    return PersonalTokenCreated(**dict(shown), token=str(made.secret))


@router.delete("/{token_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(401, 403, 404, 422, 503))
async def revoke_token(token_id: UUID, user: AnyUser, connection: Transaction, now: Now, origin: RequestOrigin) -> None:
    """Revoke one of your tokens: it is refused from now on. A program can revoke the token that it shows, no other."""
    await tokens.revoke(connection, user, token_id, now=now, origin=origin)
