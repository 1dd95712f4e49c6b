"""Accounts that are signed in already, with quota enough to submit for ever."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.core.security import AccessToken
from benchmarks.postgres import BenchDatabase

FIRST_SESSION = 10**18
"""Session ids are numbered, so that a pgbench script, which knows numbers only, can name one of them by its user."""
NO_PASSWORD = "!"  # noqa: S105 - no password has this hash

_JOIN = """
WITH person AS (
    INSERT INTO users (email, full_name, password_hash, is_admin)
    SELECT format('person%s@bench.example', n), format('Person %s', n), $3, $2 AND n = 1 FROM generate_series(1, $1) n
    RETURNING id
), month AS (
    INSERT INTO user_quotas (user_id, starts_at, ends_at, limit_seconds)
    SELECT id, date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month', 1e15
    FROM person
), session AS (
    INSERT INTO sessions (id, user_id, token_sha256, rotated_at, created_at, expires_at)
    SELECT CAST(lpad((1000000000000000000 + id)::text, 32, '0') AS uuid), id, '', now(), now(), now() + interval '1 day'
    FROM person
)
SELECT id FROM person ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Person:
    user_id: int
    token: str


def new_signing_key() -> str:
    return secrets.token_urlsafe(48)


def sign_up(
    database: BenchDatabase, number: int, signing_key: str, *, password_hash: str = NO_PASSWORD, admin: bool = False
) -> Sequence[Person]:
    """So many people with a session each; the first of them may be an admin. Once per database."""
    rows = database.fetch(_JOIN, number, admin, password_hash)
    return [Person(row["id"], _token(row["id"], signing_key)) for row in rows]


def _token(user_id: int, signing_key: str) -> str:
    now = datetime.now(UTC)
    access = AccessToken(
        user_id=user_id,
        session_id=UUID(f"{FIRST_SESSION + user_id:032d}"),
        token_version=1,
        issued_at=now,
        expires_at=now + timedelta(days=1),
    )
    return access.signed(signing_key)
