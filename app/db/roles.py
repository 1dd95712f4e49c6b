"""Who may do what in the database: one role owns the tables, and the service works as another one.

What the service's role cannot do, no mistake in the service can: it drops and alters nothing, switches no trigger off,
and what only grows only grows. See docs/decisions/0022-the-service-owns-nothing-in-its-database.md.
"""

import base64
import hashlib
import hmac
import os
import unicodedata
from collections.abc import Mapping

import asyncpg
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import CannotConnect, Database
from app.db.queries import roles as queries
from app.models import Base
from app.models.base import event_id_sequence

READS, ADDS, CHANGES, DELETES = "SELECT", "INSERT", "UPDATE", "DELETE"

USUAL = {READS, ADDS, CHANGES}
ONLY_GROWS = {READS, ADDS}
EXPIRES = {READS, ADDS, CHANGES, DELETES}
UNUSUAL: Mapping[str, set[str]] = {
    "alembic_version": {READS},
    "audit_entries": ONLY_GROWS,
    "dispatcher_lease": {READS, CHANGES},
    "idempotency_keys": EXPIRES,
    "job_events": ONLY_GROWS,
    "login_failures": EXPIRES,
    "quota_entries": ONLY_GROWS,
    "sessions": EXPIRES,
}
"""By table. A table that a later migration makes has the usual rights unless it stands here."""

_ITERATIONS = 4096  # PostgreSQL's own number


class CannotAdmit(Exception):
    """The service's role cannot be made or given its rights. The message says why, as PostgreSQL put it."""


def service_rights() -> dict[str, set[str]]:
    """What the service's role may do, by the name of each table and sequence."""
    tables = {*Base.metadata.tables, *UNUSUAL}
    return {name: UNUSUAL.get(name, USUAL) for name in tables} | {event_id_sequence.name: {"USAGE"}}


async def admit(owner: Database, service_url: str) -> None:
    """Let the service in: make its role if there is none, and give it its rights, no more and no less.

    Raises:
        CannotAdmit: the owner's role has not the right to do that.
    """
    url = make_url(service_url)
    role = url.username or ""
    shuts_out = await _shuts_out(service_url)
    try:
        async with owner.transaction() as connection:
            await queries.lock(connection)
            exists, is_ours = await queries.find(connection, role)
            if not exists:
                await queries.create(connection, role, scram_verifier(url.password) if url.password else None)
            elif is_ours and shuts_out and url.password:
                await queries.set_password(connection, role, scram_verifier(url.password))
            await _give_rights(connection, role)
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig else None
        if isinstance(cause, asyncpg.InsufficientPrivilegeError):
            raise CannotAdmit(str(cause)) from error
        raise


async def is_owner(database: Database) -> bool:
    """Whether the service works as a role that no guard of the database stops."""
    async with database.autocommit() as connection:
        return await queries.owns(connection, "quota_entries")


async def _shuts_out(service_url: str) -> bool:
    """Whether the service's role cannot sign in with its password."""
    service = Database(service_url, pool_size=1)
    try:
        async with service.autocommit():
            return False
    except CannotConnect as failure:
        return isinstance(failure.__cause__, asyncpg.InvalidPasswordError)
    finally:
        await service.dispose()


async def _give_rights(connection: AsyncConnection, role: str) -> None:
    """Only what differs is written, so that most starts write nothing."""
    wanted = service_rights()
    for name, given in (await queries.rights(connection, role, wanted)).items():
        if missing := wanted[name] - given:
            await queries.grant(connection, role, name, missing)
        if surplus := given - wanted[name]:
            await queries.revoke(connection, role, name, surplus)
    for name, given in (await queries.rights(connection, role, wanted)).items():
        if given != wanted[name]:  # PostgreSQL only warns whoever may give a part of it
            raise CannotAdmit(f"the rights on {name} are not ours to give")


def scram_verifier(password: str) -> str:
    """What PostgreSQL stores of a password (RFC 5803), so that the password itself gets into none of its logs."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", unicodedata.normalize("NFKC", password).encode(), salt, _ITERATIONS)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    parts = (salt, stored_key, _hmac(salted, b"Server Key"))
    return "SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *(base64.b64encode(part).decode() for part in parts))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
