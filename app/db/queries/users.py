"""People: made, found, changed. Triggers raise `token_version` and write down every change of rights or password."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.errors import LastAdmin

LAST_ADMIN_SQLSTATE = "GT002"

_COLUMNS = "id, email, full_name, is_admin, is_active, locale, created_at, updated_at"

_CREATE = text(
    f"""
    INSERT INTO users (email, full_name, password_hash, is_admin, locale, created_at, updated_at)
    VALUES (:email, :full_name, :password_hash, :is_admin, :locale, :now, :now)
    ON CONFLICT (lower(email)) DO NOTHING
    RETURNING {_COLUMNS}
    """
)
_GET = text(f"SELECT {_COLUMNS} FROM users WHERE id = :user_id")
_GET_LOCKED = text(f"SELECT {_COLUMNS} FROM users WHERE id = :user_id FOR NO KEY UPDATE")
_FIND = text(f"SELECT {_COLUMNS} FROM users WHERE lower(email) = lower(:email)")
_CREDENTIALS = text("SELECT id, email, is_active, password_hash FROM users WHERE lower(email) = lower(:email)")
_PASSWORD_HASH = text("SELECT password_hash FROM users WHERE id = :user_id AND is_active")
_SET_PASSWORD_HASH = text(
    """
    UPDATE users SET password_hash = :new_hash, updated_at = :now
    WHERE id = :user_id AND is_active AND password_hash = :old_hash
    RETURNING id
    """
)
_RESET_PASSWORD_HASH = text("UPDATE users SET password_hash = :new_hash, updated_at = :now WHERE id = :user_id")
_UPDATE = text(
    f"""
    UPDATE users SET
        is_admin = coalesce(CAST(:is_admin AS boolean), is_admin),
        is_active = coalesce(CAST(:is_active AS boolean), is_active),
        full_name = CASE WHEN :sets_full_name THEN :full_name ELSE full_name END,
        locale = CASE WHEN :sets_locale THEN :locale ELSE locale END,
        updated_at = :now
    WHERE id = :user_id
    RETURNING {_COLUMNS}
    """
)
_LIST = text(
    f"""
    SELECT {_COLUMNS} FROM users
    WHERE (CAST(:last_id AS bigint) IS NULL OR id < :last_id)
      AND (CAST(:is_active AS boolean) IS NULL OR is_active = :is_active)
      AND (CAST(:is_admin AS boolean) IS NULL OR is_admin = :is_admin)
      AND (CAST(:prefix AS text) IS NULL
           OR lower(email) LIKE lower(:prefix) || '%' OR ' ' || lower(full_name) LIKE '% ' || lower(:prefix) || '%')
    ORDER BY id DESC LIMIT :limit
    """
)
# The kept counts, and of the months the present one, or the last before it where nobody has opened that yet.
_STANDING = text(
    """
    SELECT u.id AS user_id, month.*, counted.jobs
    FROM users u
    LEFT JOIN LATERAL (
        SELECT starts_at, ends_at, limit_seconds, reserved_seconds, used_seconds FROM user_quotas
        WHERE user_id = u.id AND starts_at <= :now ORDER BY starts_at DESC LIMIT 1
    ) month ON true
    CROSS JOIN LATERAL (
        SELECT coalesce(jsonb_object_agg(status, jobs), '{}') AS jobs FROM job_counts WHERE user_id = u.id
    ) counted
    WHERE u.id = ANY(CAST(:ids AS bigint[])) ORDER BY u.id
    """
)
_ADMINS = text(f"SELECT {_COLUMNS} FROM users WHERE is_admin ORDER BY id")


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users to list. `q` begins the e-mail address, or any word of the name."""

    q: str | None = None
    is_active: bool | None = None
    is_admin: bool | None = None


@dataclass(frozen=True, slots=True)
class UserChange:
    """What to change. Rights: None leaves them. Name and language: those in `fields` are set, to None as well."""

    is_admin: bool | None = None
    is_active: bool | None = None
    full_name: str | None = None
    locale: str | None = None
    fields: frozenset[str] = frozenset()


async def create(
    connection: AsyncConnection,
    *,
    email: str,
    password_hash: str,
    full_name: str | None,
    locale: str | None,
    is_admin: bool,
    now: datetime,
) -> Row[Any] | None:
    """The new user; None: the e-mail address is taken."""
    parameters = {
        "email": email,
        "password_hash": password_hash,
        "full_name": full_name,
        "locale": locale,
        "is_admin": is_admin,
        "now": now,
    }
    return (await connection.execute(_CREATE, parameters)).one_or_none()


async def get(connection: AsyncConnection, user_id: int, *, locked: bool = False) -> Row[Any] | None:
    statement = _GET_LOCKED if locked else _GET
    return (await connection.execute(statement, {"user_id": user_id})).one_or_none()


async def find(connection: AsyncConnection, email: str) -> Row[Any] | None:
    return (await connection.execute(_FIND, {"email": email})).one_or_none()


async def credentials(connection: AsyncConnection, email: str) -> Row[Any] | None:
    """What a sign-in is checked against."""
    return (await connection.execute(_CREDENTIALS, {"email": email})).one_or_none()


async def password_hash(connection: AsyncConnection, user_id: int) -> str | None:
    """None: unknown or disabled."""
    return (await connection.execute(_PASSWORD_HASH, {"user_id": user_id})).scalar_one_or_none()


async def set_password_hash(
    connection: AsyncConnection, user_id: int, *, old_hash: str, new_hash: str, now: datetime
) -> bool:
    """False: the password is not the one that was verified any more, or the user is disabled."""
    parameters = {"user_id": user_id, "old_hash": old_hash, "new_hash": new_hash, "now": now}
    return (await connection.execute(_SET_PASSWORD_HASH, parameters)).one_or_none() is not None


async def reset_password_hash(connection: AsyncConnection, user_id: int, *, new_hash: str, now: datetime) -> None:
    """Whatever the password was, and whether or not the user is disabled."""
    await connection.execute(_RESET_PASSWORD_HASH, {"user_id": user_id, "new_hash": new_hash, "now": now})


async def update(connection: AsyncConnection, user_id: int, change: UserChange, *, now: datetime) -> Row[Any] | None:
    """The user as changed; None: unknown.

    Raises:
        LastAdmin: nobody would be left to administer.
    """
    parameters = {
        "user_id": user_id,
        "is_admin": change.is_admin,
        "is_active": change.is_active,
        "sets_full_name": "full_name" in change.fields,
        "full_name": change.full_name,
        "sets_locale": "locale" in change.fields,
        "locale": change.locale,
        "now": now,
    }
    try:
        return (await connection.execute(_UPDATE, parameters)).one_or_none()
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == LAST_ADMIN_SQLSTATE:
            raise LastAdmin from error
        raise


async def page(
    connection: AsyncConnection, chosen: UserFilter, *, last_id: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Newest first."""
    parameters = {
        "prefix": None if chosen.q is None else escaped(chosen.q),
        "is_active": chosen.is_active,
        "is_admin": chosen.is_admin,
        "last_id": last_id,
        "limit": limit,
    }
    return (await connection.execute(_LIST, parameters)).all()


async def standing(connection: AsyncConnection, ids: Collection[int], *, now: datetime) -> Sequence[Row[Any]]:
    """Of each of these users: `user_id`, the month that holds `now` or else the last one before, and jobs by status."""
    return (await connection.execute(_STANDING, {"ids": list(ids), "now": now})).all()


async def admins(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Everybody with the rights of an admin, the disabled included."""
    return (await connection.execute(_ADMINS)).all()


def escaped(pattern: str) -> str:
    """Text as LIKE takes it literally."""
    return pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
