"""Signed-in sessions: made, recognised, renewed, listed, ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# The lock holds off a change of password or rights until the new session is there to be ended by it.
_CREATE = text(
    """
    WITH verified AS (
        SELECT id, token_version FROM users
        WHERE id = :user_id AND is_active AND password_hash = :password_hash FOR SHARE
    ), session AS (
        INSERT INTO sessions (id, user_id, token_sha256, rotated_at, created_at, expires_at, address, user_agent)
        SELECT :session_id, id, :token_sha256, :now, :now, :expires_at, CAST(CAST(:address AS text) AS inet),
               :user_agent
        FROM verified
        RETURNING id, user_id, expires_at
    )
    SELECT session.id AS session_id, session.user_id, session.expires_at, verified.token_version
    FROM session JOIN verified ON verified.id = session.user_id
    """
)
_LIVE = text(
    """
    SELECT s.id AS session_id, s.token_sha256, s.rotated_at, s.expires_at,
           u.id AS user_id, u.email, u.full_name, u.is_admin, u.locale, u.token_version
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.id = :session_id AND s.revoked_at IS NULL AND s.expires_at > :now AND u.is_active
    """
)
# Of several renewals with one secret, one finds its row: the others wait for it, look again, and change nothing.
_ROTATE = text(
    """
    UPDATE sessions s SET token_sha256 = :new_sha256, rotated_at = :now
    FROM users u
    WHERE s.id = :session_id AND s.token_sha256 = :old_sha256 AND s.rotated_at < :rotated_before
      AND s.revoked_at IS NULL AND s.expires_at > :now AND u.id = s.user_id AND u.is_active
    RETURNING s.id AS session_id, s.user_id, s.token_sha256, s.rotated_at, s.expires_at, u.token_version
    """
)
_LIST = text(
    """
    SELECT id, created_at, rotated_at AS last_used_at, expires_at, host(address) AS address, user_agent,
           id = :current AS "current"
    FROM sessions
    WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
    ORDER BY "current" DESC, last_used_at DESC, id LIMIT :limit
    """
)
_END = text(
    "UPDATE sessions SET revoked_at = :now WHERE id = :session_id AND revoked_at IS NULL AND expires_at > :now "
    "RETURNING user_id"
)
_END_OF_USER = text(
    """
    UPDATE sessions SET revoked_at = :now
    WHERE id = :session_id AND user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
    RETURNING host(address) AS address, user_agent
    """
)
_END_ALL = text(
    """
    UPDATE sessions SET revoked_at = :now
    WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now AND id IS DISTINCT FROM CAST(:kept AS uuid)
    """
)


async def create(
    connection: AsyncConnection,
    *,
    session_id: UUID,
    user_id: int,
    password_hash: str,
    token_sha256: bytes,
    now: datetime,
    expires_at: datetime,
    address: str | None,
    user_agent: str | None,
) -> Row[Any] | None:
    """The new session; None: the user is disabled, or has another password than the one that was verified."""
    parameters = {
        "session_id": session_id,
        "user_id": user_id,
        "password_hash": password_hash,
        "token_sha256": token_sha256,
        "now": now,
        "expires_at": expires_at,
        "address": address,
        "user_agent": user_agent,
    }
    return (await connection.execute(_CREATE, parameters)).one_or_none()


async def live(connection: AsyncConnection, session_id: UUID, *, now: datetime) -> Row[Any] | None:
    """The session and its user, unless the session has ended or the user is disabled."""
    return (await connection.execute(_LIVE, {"session_id": session_id, "now": now})).one_or_none()


async def rotate(
    connection: AsyncConnection,
    session_id: UUID,
    *,
    old_sha256: bytes,
    new_sha256: bytes,
    rotated_before: datetime,
    now: datetime,
) -> Row[Any] | None:
    """Replace the session's secret if `old_sha256` is the present one, and not newer than `rotated_before`.

    Of many who try, one gets the row.
    """
    parameters = {
        "session_id": session_id,
        "old_sha256": old_sha256,
        "new_sha256": new_sha256,
        "rotated_before": rotated_before,
        "now": now,
    }
    return (await connection.execute(_ROTATE, parameters)).one_or_none()


async def of_user(
    connection: AsyncConnection, user_id: int, *, current: UUID, now: datetime, limit: int
) -> Sequence[Row[Any]]:
    """A user's live sessions, the current one first, then those used last."""
    parameters = {"user_id": user_id, "current": current, "now": now, "limit": limit}
    return (await connection.execute(_LIST, parameters)).all()


async def end(connection: AsyncConnection, session_id: UUID, *, now: datetime) -> int | None:
    """End one session. The id of its user, or None: it had ended already."""
    return (await connection.execute(_END, {"session_id": session_id, "now": now})).scalar_one_or_none()


async def end_of_user(connection: AsyncConnection, user_id: int, session_id: UUID, *, now: datetime) -> Row[Any] | None:
    """End one session of this user. Where it was opened, or None: it is not theirs, unknown, or had ended already."""
    parameters = {"user_id": user_id, "session_id": session_id, "now": now}
    return (await connection.execute(_END_OF_USER, parameters)).one_or_none()


async def end_all(connection: AsyncConnection, user_id: int, *, now: datetime, except_for: UUID | None = None) -> int:
    """How many ended by this."""
    return (await connection.execute(_END_ALL, {"user_id": user_id, "kept": except_for, "now": now})).rowcount
