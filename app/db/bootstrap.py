"""Opening the database: the embedded one or the one that `DATABASE_URL` names, at the schema that this code expects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog
from alembic.util import CommandError
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.config import Settings
from app.core.supervision import running
from app.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from app.db.engine import CannotConnect, Database
from app.db.migrations import head_revision, upgrade_to_head

OLDEST_VERSION = 15
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.5
REVIVAL_INTERVAL_SECONDS = 1.0

log = structlog.get_logger("database")


class DatabaseUnusable(Exception):
    """We cannot work with this database. The message is one sentence that says what to do."""


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """A pool on a database that answers, is new enough and (unless `MIGRATE_ON_START` forbids) migrated.

    Raises:
        DatabaseUnusable: it does not answer within 30 s, refuses us, is too old, or cannot be migrated.
        EmbeddedPostgresError: our own PostgreSQL cannot be started.
    """
    if settings.database_url is None:
        async with _embedded(settings) as database:
            yield database
    else:
        async with _connected(settings.database_url.get_secret_value(), settings) as database:
            yield database


@asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[Database]:
    server = EmbeddedPostgres(settings.data_dir)
    url = await asyncio.to_thread(server.start)
    try:
        async with _connected(url, settings) as database, running(revival=lambda: _revive(server, database)):
            yield database
    finally:
        await asyncio.to_thread(server.stop)


@asynccontextmanager
async def _connected(url: str, settings: Settings) -> AsyncIterator[Database]:
    try:
        database = Database(url, settings.database_pool_size)
    except (ArgumentError, ValueError):
        raise DatabaseUnusable("DATABASE_URL: write it as postgresql://user:password@host:5432/database") from None
    try:
        await _reach(database)
        if settings.migrate_on_start:
            await _migrate(url)
        yield database
    finally:
        await database.dispose()


async def _reach(database: Database) -> None:
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
                raise DatabaseUnusable(advice) from failure
            if loop.time() > deadline:
                raise DatabaseUnusable(
                    f"the database has not answered for {PATIENCE_SECONDS:.0f} s ({failure.__cause__}): start it, "
                    "correct DATABASE_URL, or unset it to use the embedded one"
                ) from failure
            log.info("waiting for the database", cause=type(failure.__cause__).__name__)
            await asyncio.sleep(RETRY_SECONDS)
        except TypeError as error:
            raise DatabaseUnusable(f"DATABASE_URL: an option in it is not understood ({error})") from error
    if version < OLDEST_VERSION:
        raise DatabaseUnusable(
            f"the database is PostgreSQL {version}, and {OLDEST_VERSION} or newer is needed: upgrade it, or let "
            "DATABASE_URL name another one"
        )


def _hopeless(cause: BaseException | None) -> str | None:
    """What to do where trying again would not help."""
    match cause:
        case asyncpg.InvalidAuthorizationSpecificationError():
            return "DATABASE_URL: the database refuses this user or password; correct them"
        case asyncpg.InvalidCatalogNameError():
            return (
                "DATABASE_URL: there is no such database on this server; create it with `createdb`, or correct the name"
            )
        case asyncpg.InsufficientPrivilegeError():
            return "DATABASE_URL: this user may not connect to this database; GRANT CONNECT, or use another user"
        case asyncpg.InterfaceError():
            return f"DATABASE_URL: {cause}"
    return None


async def _migrate(url: str) -> None:
    try:
        await asyncio.to_thread(upgrade_to_head, url)
    except CommandError as error:
        raise DatabaseUnusable(
            f"the database's schema is not one that this release knows (it expects {head_revision()} or older): "
            "install the release that made it, or restore a backup"
        ) from error
    except DBAPIError as error:
        raise DatabaseUnusable(
            f"the database cannot be migrated ({_first_line(error)}): let DATABASE_URL name a user who owns the "
            "database, or see to what the message says"
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
