"""Signing up, signing in, staying signed in, and knowing who asks.

bcrypt takes a third of a second, and a connection held that long is one that others wait for. So the verbs that hash
take the database and open short transactions of their own before and after. For one more reason `refresh` and `login`
do so, too: what they write down (a failure, a stolen cookie) must stay though the answer is a refusal.
"""

import hashlib
import hmac
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any
from uuid import uuid4

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.config import Settings
from app.core.email_address import is_local, normalise_email
from app.core.password_rules import broken_rule
from app.core.security import AccessToken, InvalidToken, PasswordPool, PersonalToken, RefreshToken
from app.db.engine import Database
from app.db.queries import sessions, throttle, tokens, users
from app.db.queries.users import UserChange
from app.domain.audit import AuditAction
from app.domain.errors import (
    EmailDomainRefused,
    EmailRefused,
    EmailTaken,
    InvalidCredentials,
    NotAuthenticated,
    PasswordRefused,
    RegistrationClosed,
    TooManyAttempts,
)
from app.domain.identity import Actor, Caller, Scope
from app.services import audit
from app.services.audit import NO_ORIGIN, Origin
from app.services.users import find as find_user
from app.services.users import read as read_user

ROTATION_GRACE = timedelta(seconds=30)
LONGEST_USER_AGENT = 400
LOGIN_PROCESS = Actor(process="login")
REHASH_PROCESS = Actor(process="login:rehash")


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a client needs to go on. No refresh token: the one it has stays good."""

    user: Row[Any]
    access_token: str
    expires_in_seconds: int
    refresh_token: RefreshToken | None
    session_expires_at: datetime


async def register(
    database: Database,
    passwords: PasswordPool,
    *,
    email: str,
    password: str,
    full_name: str | None,
    settings: Settings,
    now: datetime,
    is_admin: bool = False,
    actor: Actor | None = None,
    origin: Origin = NO_ORIGIN,
) -> Row[Any]:
    """Make an account. Without an actor, people register themselves.

    Raises:
        RegistrationClosed: people do not register themselves here.
        EmailDomainRefused: nor do those with such an address.
        EmailRefused: no e-mail address that an account may have here.
        PasswordRefused: with the rule that it breaks.
        EmailTaken: there is such an account.
        ServiceBusy: too many passwords wait to be hashed.
    """
    normalised = normalise_email(email)
    if normalised is None or (is_local(normalised) and not settings.allow_local_email):
        raise EmailRefused(pointer="/email")
    if actor is None:
        _refuse_strangers(normalised, settings)
    _refuse_weak(password, email=normalised, pointer="/password")
    password_hash = await passwords.hash(password)
    async with database.transaction() as connection:
        user = await users.create(
            connection,
            email=normalised,
            password_hash=password_hash,
            full_name=full_name,
            locale=None,
            is_admin=is_admin,
            now=now,
        )
        if user is None:
            raise EmailTaken(normalised)
        await audit.record(
            connection,
            actor or Actor(user_id=user.id),
            AuditAction.USER_REGISTERED,
            target_type="user",
            target_id=user.id,
            details={"email": normalised, "is_admin": is_admin},
            origin=origin,
        )
    return user


async def login(
    database: Database,
    passwords: PasswordPool,
    *,
    email: str,
    password: str,
    settings: Settings,
    now: datetime,
    origin: Origin = NO_ORIGIN,
) -> SignIn:
    """Open a session. Whatever is wrong, the work done and the refusal are the same.

    Raises:
        InvalidCredentials: unknown, disabled, or another password.
        TooManyAttempts: this account or this address has failed too often; the password is not even looked at.
        ServiceBusy: too many passwords wait to be checked.
    """
    account = normalise_email(email)
    attempts = _Attempts(settings, account=account or email, address=origin.address, now=now)
    async with database.autocommit() as connection:
        await attempts.refuse_if_too_many(connection)
        user = await users.credentials(connection, account or "")
    is_right = await passwords.verify(password, user.password_hash if user else None)
    if user is None or not user.is_active or not is_right:
        await attempts.remember_failure(database, user_id=user.id if user else None, origin=origin)
        raise InvalidCredentials
    rehashed = await passwords.hash(password) if passwords.needs_rehash(user.password_hash) else None
    refresh_token = RefreshToken.new(uuid4())
    async with database.transaction() as connection:
        # Guesses that were under way when the limit was reached learn nothing either.
        await attempts.refuse_if_too_many(connection)
        session = await _open_session(
            connection, user, rehashed, refresh_token, settings=settings, now=now, origin=origin
        )
        if session is not None:
            await attempts.forget_failures_of_account(connection)
            return await _signed_in(connection, session, refresh_token, settings=settings, now=now)
    # Password or rights changed while this one was verified: look again.
    return await login(database, passwords, email=email, password=password, settings=settings, now=now, origin=origin)


async def refresh(
    database: Database, cookie: str | None, *, settings: Settings, now: datetime, origin: Origin = NO_ORIGIN
) -> SignIn:
    """Renew a session: a new access token, and a new secret in place of the one that was shown.

    A secret stays for a few seconds, and so does the one before it. For tabs share one cookie, and of two that ask at
    the same moment one is late with it; and a page that is left before its answer arrives never hears of its new
    cookie. Both are told the new one again. Any other secret was copied from somewhere: the session ends, for the
    thief and for the owner.

    Raises:
        NotAuthenticated: no session is behind this cookie (any more).
    """
    shown = _read_cookie(cookie)
    renewed = shown.successor(settings.signing_key)
    async with database.transaction() as connection:
        session = await sessions.rotate(
            connection,
            shown.session_id,
            old_sha256=shown.sha256,
            new_sha256=renewed.sha256,
            rotated_before=now - ROTATION_GRACE,
            now=now,
        ) or await sessions.live(connection, shown.session_id, now=now)
        if session is not None and now - session.rotated_at <= ROTATION_GRACE:
            if hmac.compare_digest(session.token_sha256, renewed.sha256):
                return await _signed_in(connection, session, renewed, settings=settings, now=now)
            if hmac.compare_digest(session.token_sha256, shown.sha256):
                return await _signed_in(connection, session, None, settings=settings, now=now)
        if session is not None:
            await sessions.end(connection, shown.session_id, now=now)
            await audit.record(
                connection,
                LOGIN_PROCESS,
                AuditAction.SESSION_REUSED,
                target_type="user",
                target_id=session.user_id,
                details={"email": session.email},
                origin=origin,
            )
    raise NotAuthenticated


async def logout(connection: AsyncConnection, cookie: str | None, *, now: datetime) -> None:
    """End the session behind the cookie, if there is one. An old secret ends it too, as it would in `refresh`."""
    try:
        shown = _read_cookie(cookie)
    except NotAuthenticated:
        return
    await sessions.end(connection, shown.session_id, now=now)


async def identify(connection: AsyncConnection, token: str, *, settings: Settings, now: datetime) -> Caller:
    """Who holds this bearer token, of a sign-in or a personal one, as the database knows them now: one query.

    Raises:
        NotAuthenticated: the token is not ours, out of its time, revoked, or older than the user's rights; or the
            session ended.
    """
    if PersonalToken.is_meant(token):
        return await _identify_by_personal_token(connection, token, now=now)
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
        credential_id=access.session_id,
        token_version=row.token_version,
    )


async def _identify_by_personal_token(connection: AsyncConnection, text: str, *, now: datetime) -> Caller:
    try:
        token = PersonalToken.parse(text)
    except InvalidToken:
        raise NotAuthenticated from None
    row = await tokens.use(connection, token.sha256, now=now)
    if row is None:
        raise NotAuthenticated
    scopes = frozenset(map(Scope, row.scopes))
    return Caller(
        user_id=row.user_id,
        email=row.email,
        full_name=row.full_name,
        is_admin=row.is_admin and Scope.ADMIN in scopes,
        locale=row.locale,
        credential_id=row.id,
        token_version=row.token_version,
        scopes=scopes,
    )


async def update_me(connection: AsyncConnection, caller: Caller, change: UserChange, *, now: datetime) -> Row[Any]:
    """Change one's own name or language.

    Raises:
        NotAuthenticated: the account is gone.
    """
    own = UserChange(full_name=change.full_name, locale=change.locale, fields=change.fields)
    user = await users.update(connection, caller.user_id, own, now=now)
    if user is None:
        raise NotAuthenticated
    return user


async def change_password(
    database: Database,
    passwords: PasswordPool,
    caller: Caller,
    *,
    current_password: str,
    new_password: str,
    settings: Settings,
    now: datetime,
    origin: Origin = NO_ORIGIN,
) -> None:
    """Set a new password. All other sessions and all personal tokens end.

    This session goes on by its cookie, for its access token dies as well.

    Raises:
        PasswordRefused: the new one, with the rule that it breaks; or the current one, with the rule `wrong`.
        TooManyAttempts: wrong too often, at signing in or here.
        ServiceBusy: too many passwords wait to be hashed.
    """
    _refuse_weak(new_password, email=caller.email, pointer="/new_password")
    attempts = _Attempts(settings, account=caller.email, address=origin.address, now=now)
    async with database.autocommit() as connection:
        await attempts.refuse_if_too_many(connection)
        old_hash = await users.password_hash(connection, caller.user_id)
    if old_hash is None or not await passwords.verify(current_password, old_hash):
        await attempts.remember_failure(database, user_id=caller.user_id, origin=origin)
        raise PasswordRefused(pointer="/current_password", rule="wrong")
    new_hash = await passwords.hash(new_password)
    async with database.transaction() as connection:
        await attempts.refuse_if_too_many(connection)
        await audit.set_actor(connection, caller.actor, origin)
        changed = await users.set_password_hash(
            connection, caller.user_id, old_hash=old_hash, new_hash=new_hash, now=now
        )
        if not changed:
            raise PasswordRefused(pointer="/current_password", rule="wrong")
        await sessions.end_all(connection, caller.user_id, now=now, except_for=caller.credential_id)
        await attempts.forget_failures_of_account(connection)


async def reset_password(
    database: Database, passwords: PasswordPool, *, email: str, new_password: str, actor: Actor, now: datetime
) -> Row[Any]:
    """Set a new password for somebody who has forgotten theirs: their sessions and personal tokens end, and they may
    sign in at once.

    Failures of their network address still count: they may be those of somebody else.

    Raises:
        NotFound: there is no such account.
        PasswordRefused: with the rule that it breaks.
        ServiceBusy: too many passwords wait to be hashed.
    """
    async with database.autocommit() as connection:
        user = await find_user(connection, email)
    _refuse_weak(new_password, email=user.email, pointer="/new_password")
    new_hash = await passwords.hash(new_password)
    async with database.transaction() as connection:
        await audit.set_actor(connection, actor)
        await users.reset_password_hash(connection, user.id, new_hash=new_hash, now=now)
        ended = await sessions.end_all(connection, user.id, now=now)
        await throttle.forget_failures(connection, account_subject(user.email))
        await audit.record(
            connection,
            actor,
            AuditAction.USER_PASSWORD_RESET,
            target_type="user",
            target_id=user.id,
            details={"email": user.email, "count": ended},
        )
        return await read_user(connection, user.id)


class _Attempts:
    """The failed tries that count against this one: those at its account, and those from its address.

    Success clears the account, not the address: who knows one password must not use it to guess others for ever.
    """

    def __init__(self, settings: Settings, *, account: str, address: str | None, now: datetime) -> None:
        self._limit = settings.login_failure_limit
        self._window = timedelta(seconds=settings.login_failure_window_seconds)
        self._now = now
        self._account = account_subject(account)
        self._subjects = [self._account] if address is None else [self._account, address_subject(address)]

    async def refuse_if_too_many(self, connection: AsyncConnection) -> None:
        failed_at = await self._limiting_failure(connection)
        if failed_at is not None:
            raise self._too_many(failed_at)

    async def remember_failure(self, database: Database, *, user_id: int | None, origin: Origin) -> None:
        """Committed here, though the request ends in a refusal. The failure that reaches the limit is audited.

        Raises:
            TooManyAttempts: the limit was reached while this guess was under way. A right one would be told the same.
        """
        async with database.transaction() as connection:
            reached_before = await self._limiting_failure(connection)
            await throttle.record_failure(connection, self._subjects, now=self._now)
            if reached_before is None and await self._limiting_failure(connection) is not None:
                await audit.record(
                    connection,
                    LOGIN_PROCESS,
                    AuditAction.LOGIN_THROTTLED,
                    target_type="user",
                    target_id=user_id,
                    details={"window_seconds": int(self._window.total_seconds())},
                    origin=origin,
                )

        if reached_before is not None:
            raise self._too_many(reached_before)

    async def forget_failures_of_account(self, connection: AsyncConnection) -> None:
        await throttle.forget_failures(connection, self._account)

    def _too_many(self, failed_at: datetime) -> TooManyAttempts:
        seconds = (failed_at + self._window - self._now).total_seconds()
        return TooManyAttempts(retry_after=max(1, math.ceil(seconds)))

    async def _limiting_failure(self, connection: AsyncConnection) -> datetime | None:
        return await throttle.limiting_failure(
            connection, self._subjects, limit=self._limit, since=self._now - self._window
        )


def account_subject(account: str) -> str:
    """A digest, since people type passwords into the wrong field, and since the field may hold anything."""
    digest = hashlib.sha256(account.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()
    return f"account:{digest[:32]}"


def address_subject(address: str) -> str:
    """One IPv4 address, or the /64 that one IPv6 customer has."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        return f"address:{ip_network((parsed, 64), strict=False)}"
    return f"address:{parsed}"


def _refuse_strangers(email: str, settings: Settings) -> None:
    """Of domains, each stands for itself: a subdomain is another one. All are spelled as addresses are kept."""
    if settings.registration == "closed":
        raise RegistrationClosed
    if settings.registration == "domains" and email.rpartition("@")[2] not in settings.registration_domains:
        raise EmailDomainRefused(pointer="/email", domains=settings.registration_domains)


def _refuse_weak(password: str, *, email: str, pointer: str) -> None:
    rule = broken_rule(password, email=email)
    if rule is not None:
        raise PasswordRefused(pointer=pointer, rule=rule)


async def _open_session(
    connection: AsyncConnection,
    user: Row[Any],
    rehashed: str | None,
    refresh_token: RefreshToken,
    *,
    settings: Settings,
    now: datetime,
    origin: Origin,
) -> Row[Any] | None:
    """None: the user is not any more as the password was verified against."""
    verified_hash: str = user.password_hash
    if rehashed is not None:
        await audit.set_actor(connection, REHASH_PROCESS, origin)
        if await users.set_password_hash(connection, user.id, old_hash=verified_hash, new_hash=rehashed, now=now):
            verified_hash = rehashed
    session = await sessions.create(
        connection,
        session_id=refresh_token.session_id,
        user_id=user.id,
        password_hash=verified_hash,
        token_sha256=refresh_token.sha256,
        now=now,
        expires_at=now + settings.session_lifetime,
        address=origin.address,
        user_agent=(origin.user_agent or "")[:LONGEST_USER_AGENT] or None,
    )
    if session is not None:
        await audit.record(
            connection,
            Actor(user_id=user.id),
            AuditAction.LOGIN_SUCCEEDED,
            target_type="user",
            target_id=user.id,
            details={"email": user.email},
            origin=origin,
        )
    return session


def _read_cookie(cookie: str | None) -> RefreshToken:
    try:
        return RefreshToken.parse(cookie or "")
    except InvalidToken:
        raise NotAuthenticated from None


async def _signed_in(
    connection: AsyncConnection,
    session: Row[Any],
    refresh_token: RefreshToken | None,
    *,
    settings: Settings,
    now: datetime,
) -> SignIn:
    lifetime = min(settings.access_token_lifetime, session.expires_at - now)
    access = AccessToken(
        user_id=session.user_id,
        session_id=session.session_id,
        token_version=session.token_version,
        issued_at=now,
        expires_at=now + lifetime,
    )
    return SignIn(
        user=await read_user(connection, session.user_id),
        access_token=access.signed(settings.signing_key),
        expires_in_seconds=int(lifetime.total_seconds()),
        refresh_token=refresh_token,
        session_expires_at=session.expires_at,
    )
