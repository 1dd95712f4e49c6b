"""Opening the database: the embedded one or the one that `DATABASE_URL` names, at the schema that this code expects.

Two roles share it: the owner of the tables, who migrates them, and the service. Where `MIGRATION_DATABASE_URL` names no
owner, and the database is not the embedded one, the service's role is both.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import structlog
from alembic.util import CommandError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.config import Settings
from app.core.supervision import running
from app.db import roles
from app.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.db.engine import CannotConnect, Database, normalise_url
from app.db.migrations import head_revision, upgrade_to_head

OLDEST_VERSION = 15
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5
REVIVAL_INTERVAL_SECONDS = 1.0

log = structlog.get_logger("database")


class DatabaseUnusable(Exception):
    """We cannot work with this database. The message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Entrance:
    """One way into the database, and the setting that names it in what we tell operators."""

    url: str
    setting: str

    @property
    def role(self) -> str | None:
        return make_url(self.url).username


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """A pool on a database that answers, is new enough and (unless `MIGRATE_ON_START` forbids) migrated.

    Raises:
        DatabaseUnusable: it does not answer within 30 s, refuses us, is too old, or cannot be migrated.
        EmbeddedPostgresError: our own PostgreSQL cannot be started.
    """
    opening = _embedded(settings) if settings.database_url is None else _external(settings)
    async with opening as database:
        yield database


async def warn_if_owner(database: Database) -> None:
    """Say what is lost where one role both owns the tables and serves."""
    if await roles.is_owner(database):
        log.warning(
            "the service's database role owns the tables, so a mistake in the service could change what only grows: "
            "let MIGRATION_DATABASE_URL name the owner, and DATABASE_URL another role (docs/production.md)"
        )


@asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[Database]:
    server = EmbeddedPostgres(settings.data_dir)
    url = await asyncio.to_thread(server.start)
    try:
        owner = Entrance(url, "DATA_DIR")
        service = Entrance(await asyncio.to_thread(server.service_url), "DATA_DIR")
        await _prepare(owner, service, migrates=settings.migrate_on_start)
        async with (
            _reached(service, settings.database_pool_size) as database,
            running(revival=lambda: _revive(server, database)),
        ):
            yield database
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _external(settings: Settings) -> AsyncIterator[Database]:
    assert settings.database_url is not None  # noqa: S101
    service = Entrance(_readable(settings.database_url.get_secret_value(), "DATABASE_URL"), "DATABASE_URL")
    owner = service
    if settings.migration_database_url is not None:
        setting = "MIGRATION_DATABASE_URL"
        owner = Entrance(_readable(settings.migration_database_url.get_secret_value(), setting), setting)
    if settings.migrate_on_start and owner.role != service.role:
        await _prepare(owner, service, migrates=True)
    async with _reached(service, settings.database_pool_size) as database:
        if settings.migrate_on_start and owner.role == service.role:
            await _migrate(owner)
        yield database


def _readable(url: str, setting: str) -> str:
    try:
        return normalise_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable(f"{setting}: write it as postgresql://user:password@host:5432/database") from None


async def _prepare(owner: Entrance, service: Entrance, *, migrates: bool) -> None:
    """As the owner of the tables: bring them up to date, and let the service's role in."""
    if service.role is None:
        raise DatabaseUnusable("DATABASE_URL: name its user, as MIGRATION_DATABASE_URL does its own")
    async with _reached(owner, pool_size=1) as database:
        if migrates:
            await _migrate(owner)
        try:
            await roles.admit(database, service.url)
        except roles.CannotAdmit as refusal:
            raise DatabaseUnusable(
                f"the role {service.role} of DATABASE_URL cannot be given what it needs ({refusal}): make it with the "
                "statements of docs/production.md, and let MIGRATION_DATABASE_URL name the owner of the tables"
            ) from refusal


@asynccontextmanager
async def _reached(entrance: Entrance, pool_size: int) -> AsyncIterator[Database]:
    database = Database(entrance.url, pool_size)
    try:
        await _reach(database, entrance.setting)
        yield database
    finally:
        await database.dispose()


async def _reach(database: Database, setting: str) -> None:
    """Wait for the first answer. What waiting cannot cure is told at once."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            async with database.autocommit() as connection:
                version = int((connection.dialect.server_version_info or (0,))[0])
            break
        except CannotConnect as failure:
            if (advice := _hopeless(failure.__cause__)) is not None:
                raise DatabaseUnusable(f"{setting}: {advice}") from failure
            if loop.time() > deadline:
                raise DatabaseUnusable(
                    f"the database has not answered for {PATIENCE_SECONDS:.0f} s ({failure.__cause__}): start it, "
                    f"correct {setting}, or unset it to use the embedded one"
                ) from failure
            log.info("waiting for the database", cause=type(failure.__cause__).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        except TypeError as error:
            raise DatabaseUnusable(f"{setting}: an option in it is not understood ({error})") from error
    if version < OLDEST_VERSION:
        raise DatabaseUnusable(
            f"the database is PostgreSQL {version}, and {OLDEST_VERSION} or newer is needed: upgrade it, or let "
            f"{setting} name another one"
        )


def _hopeless(cause: BaseException | None) -> str | None:
    """What to do where trying again would not help."""
    match cause:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return "the database refuses this user or password; correct them"
        case asyncpg.InvalidCatalogNameError():
            return "there is no such database on this server; create it with `createdb`, or correct the name"
        case asyncpg.InsufficientPrivilegeError():
            return "this user may not connect to this database; GRANT CONNECT, or use another user"
        case asyncpg.InterfaceError():
            return str(cause)
    return None


async def _migrate(owner: Entrance) -> None:
    try:
        await asyncio.to_thread(upgrade_to_head, owner.url)
    except CommandError as error:
        raise DatabaseUnusable(
            f"the database's schema is not one that this release knows (it expects {head_revision()} or older): "
            "install the release that made it, or restore a backup"
        ) from error
    except DBAPIError as error:
        raise DatabaseUnusable(
            f"the database cannot be migrated ({_first_line(error)}): let MIGRATION_DATABASE_URL name the role that "
            "owns the tables, or see to what the message says"
        ) from error


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).partition("\n")[0].rpartition(">: ")[2]


async def _revive(server: EmbeddedPostgres, database: Database) -> None:
    """Start our own server again if it was killed, so that nobody has to restart the service for it."""
    while True:
        await asyncio.sleep(REVIVAL_INTERVAL_SECONDS)
        try:
            async with database.autocommit():
                pass
        except PoolTimeout:
            continue
        except CannotConnect:
            log.warning("the embedded database is gone; starting it again")
            try:
                await asyncio.to_thread(server.start)
            except EmbeddedPostgresError as error:
                log.error("the embedded database does not start", problem=str(error))  # noqa: TRY400
