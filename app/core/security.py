"""Passwords and tokens: how they are made, and how they are checked.

Nothing here knows a table or a request. Text from outside never raises anything but the one error a docstring names.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Self, TypeVar
from uuid import UUID, uuid4

import bcrypt
import jwt

from app.domain.errors import ServiceBusy

BCRYPT_HASH = re.compile(r"\$2[aby]\$(?P<cost>0[4-9]|[12]\d|3[01])\$(?P<salt>[./A-Za-z0-9]{22})[./A-Za-z0-9]{31}")
WAITING_LIMIT = 20

ISSUER = "gpu-task-manager"
AUDIENCE = "gpu-task-manager-api"
ACCESS_TOKEN_TYPE = "access"  # noqa: S105
CLAIMS = ("iss", "aud", "sub", "iat", "nbf", "exp", "jti", "sid", "tv", "typ")
LEEWAY = timedelta(seconds=5)

REFRESH_SECRET_BYTES = 32

PERSONAL_TOKEN_PREFIX = "gtm_"  # noqa: S105 - by which people and scanners of leaked secrets know one
PERSONAL_TOKEN = re.compile(PERSONAL_TOKEN_PREFIX + "[A-Za-z0-9_-]{43}")

T = TypeVar("T")


class PasswordPool:
    """Hashes and verifies passwords on a few threads of its own: bcrypt takes a third of a second without the GIL.

    Every call raises `ServiceBusy` when all threads work and `waiting_limit` calls already wait, so that a flood of
    sign-ins delays nobody else.
    """

    def __init__(self, cost: int, *, threads: int | None = None, waiting_limit: int = WAITING_LIMIT) -> None:
        self.cost = cost
        workers = threads or os.cpu_count() or 1
        self._places = threading.BoundedSemaphore(workers + waiting_limit)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="bcrypt")
        self._unknown_user_hash = hash_password(secrets.token_urlsafe(), cost)

    async def hash(self, password: str) -> str:
        return await self._run(hash_password, password, self.cost)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password made this hash. For None, an unknown user, it takes as long and the answer is no."""
        if password_hash is None or not is_password_hash(password_hash):
            await self._run(verify_password, password, self._unknown_user_hash)
            return False
        return await self._run(verify_password, password, password_hash)

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether this hash was made under another cost than the one configured now."""
        parts = BCRYPT_HASH.fullmatch(password_hash)
        return parts is None or int(parts["cost"]) != self.cost

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        if not self._places.acquire(blocking=False):
            raise ServiceBusy
        try:
            future = self._threads.submit(work, *arguments)
        except BaseException:
            self._places.release()
            raise
        # A place is held until the thread is done: a client that hangs up does not make room by that.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)


def hash_password(password: str, cost: int) -> str:
    """A bcrypt hash that depends on every character of the password.

    bcrypt itself reads 72 bytes, which is 36 Persian letters, so it gets a keyed digest of fixed length instead. The
    salt is the key: a leaked list of plain SHA-256 digests cannot be tried against such hashes.
    """
    salt = bcrypt.gensalt(cost)
    return bcrypt.hashpw(_digest(password, salt[-22:]), salt).decode("ascii")


def verify_password(password: str, password_hash: str) -> bool:
    """Never raises: a text that is no bcrypt hash matches nothing."""
    parts = BCRYPT_HASH.fullmatch(password_hash)
    if parts is None:
        return False
    try:
        return bcrypt.checkpw(_digest(password, parts["salt"].encode("ascii")), password_hash.encode("ascii"))
    except ValueError:
        return False


def is_password_hash(text: str) -> bool:
    return BCRYPT_HASH.fullmatch(text) is not None


def _digest(password: str, salt: bytes) -> bytes:
    message = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.digest(salt, message, hashlib.sha256))


class InvalidToken(Exception):
    """Not a token of ours, or no longer, or not yet. Which of them is nobody's business."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What an access token says: who signed in, in which session, and under which version of the user's rights."""

    user_id: int
    session_id: UUID
    token_version: int
    issued_at: datetime
    expires_at: datetime

    def signed(self, key: str) -> str:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(self.user_id),
            "iat": int(self.issued_at.timestamp()),
            "nbf": int(self.issued_at.timestamp()),
            "exp": int(self.expires_at.timestamp()),
            "jti": uuid4().hex,
            "sid": str(self.session_id),
            "tv": self.token_version,
            "typ": ACCESS_TOKEN_TYPE,
        }
        return jwt.encode(claims, key, algorithm="HS256")

    @staticmethod
    def read(token: str, key: str, *, now: datetime) -> "AccessToken":
        """Check signature, claims and times.

        Raises:
            InvalidToken: any of them is wrong.
        """
        access = _verified(token, key)
        if not (access.issued_at - LEEWAY <= now < access.expires_at + LEEWAY):
            raise InvalidToken
        return access


@lru_cache(maxsize=4096)
def _verified(token: str, key: str) -> AccessToken:
    """All about a token that time does not change, so that a client's second request need not prove it again.

    PyJWT would compare the times with the system's clock; ours is injected, so they are checked outside.
    """
    try:
        payload = jwt.decode(
            token,
            key,
            algorithms=["HS256"],
            audience=AUDIENCE,
            issuer=ISSUER,
            options={
                "require": list(CLAIMS),
                "strict_aud": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
        if payload["typ"] != ACCESS_TOKEN_TYPE:
            raise InvalidToken
        return AccessToken(
            user_id=_user_id(payload["sub"]),
            session_id=UUID(hex=payload["sid"]),
            token_version=_integer(payload["tv"]),
            issued_at=max(_moment(payload["iat"]), _moment(payload["nbf"])),
            expires_at=_moment(payload["exp"]),
        )
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
        raise InvalidToken from error


def _user_id(subject: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,17}", subject):
        raise InvalidToken
    return int(subject)


def _integer(value: object) -> int:
    if type(value) is not int:
        raise InvalidToken
    return value


def _moment(value: object) -> datetime:
    return datetime.fromtimestamp(_integer(value), UTC)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """The cookie that renews a session: the session's id, and a secret of which only the SHA-256 is stored."""

    session_id: UUID
    secret: bytes = field(repr=False)

    @classmethod
    def new(cls, session_id: UUID) -> Self:
        return cls(session_id, secrets.token_bytes(REFRESH_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cookie.

        Raises:
            InvalidToken: it was not made here.
        """
        try:
            raw = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error) as error:
            raise InvalidToken from error
        if len(raw) != 16 + REFRESH_SECRET_BYTES:
            raise InvalidToken
        token = cls(UUID(bytes=raw[:16]), raw[16:])
        if str(token) != text:
            raise InvalidToken
        return token

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.secret).digest()

    def successor(self, key: str) -> Self:
        """The token that replaces this one: the same at every call, so that an answer which was lost can be repeated.

        Whoever has only this token, or only what is stored, cannot tell it.
        """
        secret = hmac.digest(key.encode(), b"refresh:" + self.session_id.bytes + self.secret, "sha256")
        return type(self)(self.session_id, secret)

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.session_id.bytes + self.secret).decode("ascii")


@dataclass(frozen=True, slots=True)
class PersonalToken:
    """What a program shows instead of a password: `gtm_` and 256 random bits, of which only the SHA-256 is stored."""

    text: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        return cls(PERSONAL_TOKEN_PREFIX + secrets.token_urlsafe(32))

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            InvalidToken: it was not made here.
        """
        if PERSONAL_TOKEN.fullmatch(text) is None:
            raise InvalidToken
        return cls(text)

    @staticmethod
    def is_meant(text: str) -> bool:
        """Whether this bearer token claims to be a personal one."""
        return text.startswith(PERSONAL_TOKEN_PREFIX)

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()

    def __str__(self) -> str:
        return self.text
