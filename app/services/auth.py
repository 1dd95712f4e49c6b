"""Signing up, signing in, staying signed in, and knowing who asks."""

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.config import Settings
from app.core.security import AccessToken, InvalidToken
from app.db.queries import sessions
from app.domain.errors import NotAuthenticated
from app.domain.identity import Caller


async def identify(connection: AsyncConnection, token: str, *, settings: Settings, now: datetime) -> Caller:
    """Who holds this access token, as the database knows them now: one query.

    Raises:
        NotAuthenticated: the token is not ours, out of its time, or older than the user's rights; or the session ended.
    """
    try:
        access = AccessToken.read(token, settings.signing_key, now=now)
    except InvalidToken:
        raise NotAuthenticated from None
    row = await sessions.live(connection, access.session_id, now=now)
    if row is None or (row.user_id, row.token_version) != (access.user_id, access.token_version):
        raise NotAuthenticated
    return Caller(
        user_id=row.user_id,
        email=row.email,
        full_name=row.full_name,
        is_admin=row.is_admin,
        locale=row.locale,
        session_id=access.session_id,
        token_version=row.token_version,
    )
