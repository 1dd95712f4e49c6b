"""Signed-in sessions: made, recognised, renewed, ended."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_CREATE = text(
    """
    INSERT INTO sessions (id, user_id, token_sha256, rotated_at, created_at, expires_at, address, user_agent)
    VALUES (:session_id, :user_id, :token_sha256, :now, :now, :expires_at, CAST(CAST(:address AS text) AS inet),
            :user_agent)
    """
)
_LIVE = text(
    """
    SELECT s.id AS session_id, s.token_sha256, s.previous_sha256, s.rotated_at, s.expires_at,
           u.id AS user_id, u.email, u.full_name, u.is_admin, u.locale, u.token_version
    FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.id = :session_id AND s.revoked_at IS NULL AND s.expires_at > :now AND u.is_active
    """
)
# Of several renewals with one secret, one finds its row: the others wait for it, look again, and change nothing.
_ROTATE = text(
    """
    UPDATE sessions s SET token_sha256 = :new_sha256, previous_sha256 = s.token_sha256, rotated_at = :now
    FROM users u
    WHERE s.id = :session_id AND s.token_sha256 = :old_sha256 AND s.revoked_at IS NULL AND s.expires_at > :now
      AND u.id = s.user_id AND u.is_active
    RETURNING s.id AS session_id, s.user_id, s.expires_at, u.token_version
    """
)
_END = text(
    "UPDATE sessions SET revoked_at = :now WHERE id = :session_id AND revoked_at IS NULL AND expires_at > :now "
    "RETURNING user_id"
)
_END_ALL = text(
    """
    UPDATE sessions SET revoked_at = :now
    WHERE user_id = :user_id AND revoked_at IS NULL AND id IS DISTINCT FROM CAST(:kept AS uuid)
    """
)
_FORGET_EXPIRED = text(
    """
    DELETE FROM sessions WHERE id IN (
        SELECT id FROM sessions WHERE expires_at <= :now ORDER BY expires_at LIMIT 10 FOR UPDATE SKIP LOCKED
    )
    """
)


async def create(
    connection: AsyncConnection,
    *,
    session_id: UUID,
    user_id: int,
    token_sha256: bytes,
    now: datetime,
    expires_at: datetime,
    address: str | None,
    user_agent: str | None,
) -> None:
    parameters = {
        "session_id": session_id,
        "user_id": user_id,
        "token_sha256": token_sha256,
        "now": now,
        "expires_at": expires_at,
        "address": address,
        "user_agent": user_agent,
    }
    await connection.execute(_CREATE, parameters)


async def live(connection: AsyncConnection, session_id: UUID, *, now: datetime) -> Row[Any] | None:
    """The session and its user, unless the session has ended or the user is disabled."""
    return (await connection.execute(_LIVE, {"session_id": session_id, "now": now})).one_or_none()


async def rotate(
    connection: AsyncConnection, session_id: UUID, *, old_sha256: bytes, new_sha256: bytes, now: datetime
) -> Row[Any] | None:
    """Replace the session's secret if `old_sha256` is the present one. Of many who try, one gets the row."""
    parameters = {"session_id": session_id, "old_sha256": old_sha256, "new_sha256": new_sha256, "now": now}
    return (await connection.execute(_ROTATE, parameters)).one_or_none()


async def end(connection: AsyncConnection, session_id: UUID, *, now: datetime) -> int | None:
    """End one session. The id of its user, or None: it had ended already."""
    return (await connection.execute(_END, {"session_id": session_id, "now": now})).scalar_one_or_none()


async def end_all(connection: AsyncConnection, user_id: int, *, now: datetime, except_for: UUID | None = None) -> None:
    await connection.execute(_END_ALL, {"user_id": user_id, "kept": except_for, "now": now})


async def forget_expired(connection: AsyncConnection, *, now: datetime) -> None:
    """Delete a few of the oldest expired ones: one call per sign-in keeps the table as small as its living part."""
    await connection.execute(_FORGET_EXPIRED, {"now": now})
