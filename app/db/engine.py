"""The connection pool, and the two ways to use a connection: a transaction, or single statements that commit alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from app.db.autocommit import Autocommit

SERVER_SETTINGS = {
    "application_name": "gpu-task-manager",
    "timezone": "UTC",
    "statement_timeout": "5000",
    "lock_timeout": "2000",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
}


class CannotConnect(ConnectionError):
    """The database did not give us a connection; the cause says why."""


class Database:
    """One pool for the whole process."""

    def __init__(self, url: str, pool_size: int) -> None:
        self.engine: AsyncEngine = create_async_engine(
            normalise_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_use_lifo=True,
            pool_pre_ping=False,
            hide_parameters=True,
            connect_args={
                "server_settings": SERVER_SETTINGS,
                "timeout": 5,
                "command_timeout": 30,
                "async_creator_fn": _connect,
            },
        )
        event.listen(self.engine.sync_engine, "checkout", _replace_if_closed)
        event.listen(self.engine.sync_engine, "handle_error", _give_up_if_confused)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection in one transaction: committed on leaving, rolled back on an exception."""
        async with self.engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def autocommit(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which every statement is its own transaction: two round trips fewer for reads."""
        raw = await self.engine.raw_connection()
        try:
            yield Autocommit(self.engine, raw)
        finally:
            raw.close()

    async def dispose(self) -> None:
        """Close every connection; one that is in use, or about to be, when it comes back."""
        pool = self.engine.sync_engine.pool
        await self.engine.dispose()
        event.listen(pool, "checkin", _close)


def normalise_url(url: str) -> str:
    """Accept the URL as PostgreSQL's own tools write it.

    Raises:
        ValueError: it is not one of PostgreSQL.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(f"{parsed.drivername} is not PostgreSQL")
    if "sslmode" in parsed.query:
        parsed = parsed.difference_update_query(["sslmode"]).update_query_dict({"ssl": parsed.query["sslmode"]})
    return parsed.set(drivername="postgresql+asyncpg").render_as_string(hide_password=False)


async def _connect(**arguments: Any) -> Any:
    try:
        return await asyncpg.connect(**arguments)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise CannotConnect(f"{type(error).__name__}: {error}") from error


def _replace_if_closed(connection: Any, *_: object) -> None:
    """Connections that died while they lay in the pool are replaced, at no cost: the driver saw the socket close."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _close(connection: Any, *_: object) -> None:
    """SQLAlchemy's own pool would keep it until it is garbage, and then drop it without a word to the server."""
    if connection is not None:
        connection.driver_connection.terminate()


def _give_up_if_confused(context: ExceptionContext) -> None:
    """A server's last words (a FATAL error) leave asyncpg waiting for more until the socket closes, a moment later.

    What is asked in that moment fails with an internal error of the driver's. It is no mistake of ours: the connection
    is lost.
    """
    if isinstance(context.original_exception.__cause__, asyncpg.InternalClientError):
        context.is_disconnect = True
