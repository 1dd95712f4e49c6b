"""Single statements look like all others, but for what they cost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

Opening = Callable[[], AbstractAsyncContextManager[AsyncConnection]]

EVERYTHING = """
    SELECT CAST(:number AS bigint) AS number, CAST(:number AS bigint) + 1 AS next, CAST(:words AS text) AS words,
           CAST('{"a": [1, null]}' AS jsonb) AS document, CAST(:moment AS timestamptz) AS moment,
           CAST('12' AS xid8) AS transaction, NULL AS nothing, ARRAY[1, 2] AS several
"""
PARAMETERS = {"number": 7, "words": "سه واژه :name", "moment": datetime(2026, 11, 23, 12, tzinfo=UTC)}


@pytest.fixture
async def small(database: Database) -> AsyncIterator[Database]:
    """The same database through a pool of one connection: who leaves it unusable is found out by the next."""
    pool = Database(database.engine.url.render_as_string(hide_password=False), pool_size=1)
    yield pool
    await pool.dispose()


async def test_rows_are_those_of_a_transaction(database: Database) -> None:
    rows = []
    for opening in (database.transaction, database.autocommit):
        async with opening() as connection:
            rows.append((await connection.execute(text(EVERYTHING), PARAMETERS)).one())
    in_transaction, alone = rows
    assert alone == in_transaction
    assert alone._fields == in_transaction._fields
    assert alone.document == {"a": [1, None]}


async def test_a_statement_without_rows_has_an_empty_result(database: Database) -> None:
    async with database.autocommit() as connection:
        assert (await connection.execute(text("SELECT id FROM jobs"))).all() == []
        assert (await connection.execute(text("SELECT id FROM jobs"))).one_or_none() is None
        assert set((await connection.execute(text("DELETE FROM login_failures RETURNING id"))).scalars()) == set()


async def test_every_statement_is_committed_alone(database: Database) -> None:
    async with database.autocommit() as connection, database.transaction() as other:
        await connection.execute(text("INSERT INTO login_failures (subject, failed_at) VALUES ('account:x', now())"))
        assert (await other.execute(text("SELECT count(*) FROM login_failures"))).scalar_one() == 1


async def test_errors_are_those_of_a_transaction(database: Database) -> None:
    wrong = {
        "UPDATE dispatcher_lease SET singleton = :number <> 1": IntegrityError,
        "SELECT :number / 0": DBAPIError,
        "SELECT no_such_column": DBAPIError,
    }
    for statement, kind in wrong.items():
        seen = [await failure(opening, statement) for opening in (database.transaction, database.autocommit)]
        assert all(isinstance(error, kind) for error in seen), statement
        assert sqlstate(seen[0]) == sqlstate(seen[1])
        assert not any(error.connection_invalidated for error in seen)


async def test_a_lost_connection_is_called_lost_and_replaced(small: Database, database: Database) -> None:
    async with small.autocommit() as connection:
        [pid] = (await connection.execute(text("SELECT pg_backend_pid()"))).one()
        async with database.autocommit() as other:
            await other.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})
        with pytest.raises(DBAPIError) as lost:
            await connection.execute(text("SELECT 1"))
        assert lost.value.connection_invalidated or sqlstate(lost.value) == "57P01"
    assert await backend(small) != pid


async def test_a_cancelled_statement_leaves_nothing_behind(small: Database, database: Database) -> None:
    pid = await backend(small)

    async def is_sleeping() -> bool:
        async with database.autocommit() as connection:
            statement = "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = :pid"
            return bool((await connection.execute(text(statement), {"pid": pid})).scalar_one())

    async def sleep() -> None:
        async with small.autocommit() as connection:
            await connection.execute(text("SELECT pg_sleep(600)"))

    sleeping = asyncio.create_task(sleep())
    await eventually(is_sleeping)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    assert await backend(small) != pid


async def test_a_column_that_is_added_meanwhile_appears(fresh_owner_url: str) -> None:
    other = Database(fresh_owner_url, pool_size=1)
    everything = text("SELECT * FROM dispatcher_lease")
    try:
        async with other.autocommit() as connection:
            before = (await connection.execute(everything)).one()
            await connection.execute(text("ALTER TABLE dispatcher_lease ADD COLUMN mood text DEFAULT 'calm'"))
            after = (await connection.execute(everything)).one()
    finally:
        await other.dispose()
    assert "mood" not in before._fields
    assert after.mood == "calm"


async def failure(opening: Opening, statement: str) -> Any:
    with pytest.raises(DBAPIError) as raised:
        async with opening() as connection:
            await connection.execute(text(statement), {"number": 1} if ":number" in statement else {})
    return raised.value


def sqlstate(error: Any) -> str | None:
    return getattr(error.orig, "sqlstate", None)


async def backend(database: Database) -> int:
    async with database.autocommit() as connection:
        pid: int = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        return pid
