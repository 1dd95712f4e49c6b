"""Personal access tokens: made, recognised, listed, revoked."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.identity import Scope

USE_NOTED_EVERY = timedelta(minutes=1)
"""Programs ask often, and nobody needs to know to the second when a token was used last."""

# The lock lets one token of a person be made at a time, and holds off a change of rights that would revoke them.
_CREATE = text(
    """
    WITH owner AS (
        SELECT id FROM users WHERE id = :user_id AND is_active AND token_version = :token_version FOR NO KEY UPDATE
    )
    INSERT INTO personal_access_tokens (id, user_id, name, token_sha256, scopes, created_at, expires_at)
    SELECT :token_id, owner.id, :name, :token_sha256, CAST(:scopes AS text[]), :now, :expires_at FROM owner
    RETURNING id, name, scopes, created_at, expires_at, last_used_at, false AS "current"
    """
)
_COUNT = text(
    "SELECT count(*) FROM personal_access_tokens WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now"
)
_USE = text(
    """
    WITH live AS (
        SELECT t.id, t.scopes, t.last_used_at,
               u.id AS user_id, u.email, u.full_name, u.is_admin, u.locale, u.token_version
        FROM personal_access_tokens t JOIN users u ON u.id = t.user_id
        WHERE t.token_sha256 = :token_sha256 AND t.revoked_at IS NULL AND t.expires_at > :now AND u.is_active
    ), noted AS (
        UPDATE personal_access_tokens t SET last_used_at = :now FROM live
        WHERE t.id = live.id AND (live.last_used_at IS NULL OR live.last_used_at <= :noted_before)
    )
    SELECT * FROM live
    """
)
_LIST = text(
    """
    SELECT id, name, scopes, created_at, expires_at, last_used_at, id = :current AS "current"
    FROM personal_access_tokens
    WHERE user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
    ORDER BY created_at DESC, id
    """
)
_REVOKE = text(
    """
    UPDATE personal_access_tokens SET revoked_at = :now
    WHERE id = :token_id AND user_id = :user_id AND revoked_at IS NULL AND expires_at > :now
    RETURNING name
    """
)


async def create(
    connection: AsyncConnection,
    *,
    token_id: UUID,
    user_id: int,
    token_version: int,
    name: str,
    token_sha256: bytes,
    scopes: Collection[Scope],
    now: datetime,
    expires_at: datetime,
) -> Row[Any] | None:
    """The new token; None: the user's rights or password have changed since `token_version`."""
    parameters = {
        "token_id": token_id,
        "user_id": user_id,
        "token_version": token_version,
        "name": name,
        "token_sha256": token_sha256,
        "scopes": [scope.value for scope in Scope if scope in scopes],
        "now": now,
        "expires_at": expires_at,
    }
    return (await connection.execute(_CREATE, parameters)).one_or_none()


async def count(connection: AsyncConnection, user_id: int, *, now: datetime) -> int:
    """How many live tokens the user has."""
    counted: int = (await connection.execute(_COUNT, {"user_id": user_id, "now": now})).scalar_one()
    return counted


async def use(connection: AsyncConnection, token_sha256: bytes, *, now: datetime) -> Row[Any] | None:
    """The live token with this digest and its owner; that it was used is noted, to the minute."""
    parameters = {"token_sha256": token_sha256, "now": now, "noted_before": now - USE_NOTED_EVERY}
    return (await connection.execute(_USE, parameters)).one_or_none()


async def of_user(connection: AsyncConnection, user_id: int, *, current: UUID, now: datetime) -> Sequence[Row[Any]]:
    """A user's live tokens, newest first."""
    parameters = {"user_id": user_id, "current": current, "now": now}
    return (await connection.execute(_LIST, parameters)).all()


async def revoke(connection: AsyncConnection, user_id: int, token_id: UUID, *, now: datetime) -> str | None:
    """The name of the token that ended by this; None: it is not the user's, unknown, or had ended already."""
    parameters = {"user_id": user_id, "token_id": token_id, "now": now}
    return (await connection.execute(_REVOKE, parameters)).scalar_one_or_none()
