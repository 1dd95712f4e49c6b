"""Single statements without SQLAlchemy's machinery for executing them, which costs ten times what the driver does.

Every request pays for two of them, so this is where its time was. They come and go as everywhere else: the same
statements and parameters in, the same rows and errors out, on connections of the same pool.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import asyncpg
from sqlalchemy import Dialect, Result, TextClause
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection


class Autocommit(AsyncConnection):
    """A connection on which every statement is its own transaction: PostgreSQL's way where nobody says BEGIN."""

    __slots__ = ("_driver", "_raw")

    def __init__(self, engine: AsyncEngine, raw: PoolProxiedConnection) -> None:
        super().__init__(engine)
        self._raw = raw
        self._driver: Any = raw.driver_connection

    async def execute(  # type: ignore[override]
        self, statement: TextClause, parameters: Mapping[str, Any] | None = None
    ) -> Result[Any]:
        command = _command(statement, self.dialect)
        values = parameters or {}
        return _result(await self._fetch(command.sql, [values[name] for name in command.parameter_names]))

    async def exec_driver_sql(self, statement: str) -> Result[Any]:  # type: ignore[override]
        return _result(await self._fetch(statement, ()))

    async def get_raw_connection(self) -> PoolProxiedConnection:
        return self._raw

    @property  # type: ignore[misc]
    def dialect(self) -> Dialect:
        return self.engine.dialect

    async def _fetch(self, sql: str, values: Sequence[Any]) -> list[asyncpg.Record]:
        try:
            records: list[asyncpg.Record] = await self._driver.fetch(sql, *values)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if isinstance(error, asyncpg.InternalClientError):
                self._driver.terminate()
            raise self._described(error) from error
        except BaseException:
            # Cancelled or out of time, perhaps with the answer on its way. The pool replaces what is closed.
            self._driver.terminate()
            raise
        return records

    def _described(self, error: Exception) -> DBAPIError:
        """The driver's error in SQLAlchemy's words. For its internal errors, see `_give_up_if_confused`."""
        kind = IntegrityError if isinstance(error, asyncpg.IntegrityConstraintViolationError) else DBAPIError
        is_lost = self._driver.is_closed() or isinstance(error, asyncpg.InternalClientError)
        return kind(None, None, error, hide_parameters=True, connection_invalidated=is_lost)


@dataclass(frozen=True, slots=True)
class _Command:
    """A statement as PostgreSQL reads it, and the names of what goes into its `$1`, `$2`, …"""

    sql: str
    parameter_names: tuple[str, ...]


_commands: dict[str, _Command] = {}
"""By the text of the statement, of which this program has a limited number."""


def _command(statement: TextClause, dialect: Dialect) -> _Command:
    command = _commands.get(statement.text)
    if command is None:
        compiled: Any = statement.compile(dialect=dialect)
        command = _commands[statement.text] = _Command(compiled.string, tuple(compiled.positiontup))
    return command


def _result(records: Sequence[asyncpg.Record]) -> Result[Any]:
    names = tuple(records[0].keys()) if records else ("no row says",)
    return IteratorResult(_columns(names), iter(records))


@lru_cache
def _columns(names: tuple[str, ...]) -> SimpleResultMetaData:
    return SimpleResultMetaData(names)
