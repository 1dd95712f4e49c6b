"""Where you are signed in."""

from uuid import UUID

from fastapi import APIRouter, status

from app.api.deps import Autocommit, Now, SignedInUser, Transaction
from app.api.errors import problems
from app.api.origin import RequestOrigin
from app.schemas.sessions import SessionRead
from app.services import sessions

router = APIRouter(prefix="/auth/sessions", tags=["auth"])


@router.get("", responses=problems(401, 403, 503))
async def list_sessions(user: SignedInUser, connection: Autocommit, now: Now) -> list[SessionRead]:
    """Your live sessions: this one first, then those used last, 100 at most."""
    return [SessionRead.model_validate(row) for row in await sessions.read_own(connection, user, now=now)]


@router.post("/end-others", status_code=status.HTTP_204_NO_CONTENT, responses=problems(401, 403, 422, 503))
async def end_other_sessions(user: SignedInUser, connection: Transaction, now: Now, origin: RequestOrigin) -> None:
    """Sign out everywhere but here. The tokens of all other sessions are refused from now on."""
    await sessions.end_others(connection, user, now=now, origin=origin)


@router.delete("/{session_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems(401, 403, 404, 422, 503))
async def end_session(
    session_id: UUID, user: SignedInUser, connection: Transaction, now: Now, origin: RequestOrigin
) -> None:
    """End one of your sessions. Its tokens are refused from now on."""
    await sessions.end(connection, user, session_id, now=now, origin=origin)
