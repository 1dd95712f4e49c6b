"""Personal access tokens: making, listing and revoking them. How one is recognised is in `auth`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.security import PersonalToken
from app.db.queries import tokens as queries
from app.domain.audit import AuditAction
from app.domain.errors import AdminRequired, NotAuthenticated, NotFound, SignInRequired, TooManyTokens
from app.domain.identity import Caller, Scope
from app.services import audit
from app.services.audit import NO_ORIGIN, Origin

MOST_TOKENS = 100


@dataclass(frozen=True, slots=True)
class NewToken:
    """The only time that anybody sees the secret."""

    row: Row[Any]
    secret: PersonalToken


async def create(
    connection: AsyncConnection,
    caller: Caller,
    *,
    name: str,
    scopes: Collection[Scope],
    lifetime: timedelta,
    now: datetime,
    origin: Origin = NO_ORIGIN,
) -> NewToken:
    """Make a token of the caller's. It ends with its time, its revocation, or a loss of the rights it was made under.

    Raises:
        AdminRequired: the scope `admin`, for somebody who is none.
        NotAuthenticated: the caller's rights have changed meanwhile.
        TooManyTokens: `MOST_TOKENS` of the caller's live already.
    """
    if Scope.ADMIN in scopes and not caller.is_admin:
        raise AdminRequired
    secret = PersonalToken.new()
    row = await queries.create(
        connection,
        token_id=uuid4(),
        user_id=caller.user_id,
        token_version=caller.token_version,
        name=name,
        token_sha256=secret.sha256,
        scopes=scopes,
        now=now,
        expires_at=now + lifetime,
    )
    if row is None:
        raise NotAuthenticated
    if await queries.count(connection, caller.user_id, now=now) > MOST_TOKENS:
        raise TooManyTokens(MOST_TOKENS)
    await audit.record(
        connection,
        caller.actor,
        AuditAction.TOKEN_CREATED,
        target_type="user",
        target_id=caller.user_id,
        details={"email": caller.email, "name": name, "scopes": row.scopes, "expires_at": row.expires_at.isoformat()},
        origin=origin,
    )
    return NewToken(row, secret)


async def read_own(connection: AsyncConnection, caller: Caller, *, now: datetime) -> Sequence[Row[Any]]:
    """The caller's live tokens, newest first."""
    return await queries.of_user(connection, caller.user_id, current=caller.credential_id, now=now)


async def revoke(
    connection: AsyncConnection, caller: Caller, token_id: UUID, *, now: datetime, origin: Origin = NO_ORIGIN
) -> None:
    """End one of the caller's own tokens. Behind a token, only that one: a stolen one must not lock its owner out.

    Raises:
        SignInRequired: a token asks for the end of another.
        NotFound: unknown, ended, or another person's.
    """
    if caller.scopes is not None and token_id != caller.credential_id:
        raise SignInRequired
    name = await queries.revoke(connection, caller.user_id, token_id, now=now)
    if name is None:
        raise NotFound
    await audit.record(
        connection,
        caller.actor,
        AuditAction.TOKEN_REVOKED,
        target_type="user",
        target_id=caller.user_id,
        details={"email": caller.email, "name": name},
        origin=origin,
    )
