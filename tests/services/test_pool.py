"""Connections when their pool is closed: none is left open, wherever it was at that moment."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from app.db.engine import Database

pytestmark = pytest.mark.anyio


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Database]:
    pool = Database(database.engine.url.render_as_string(hide_password=False), pool_size=2)
    yield pool
    await pool.dispose()


async def use(pool: Database, opening: str) -> Any:
    """The driver's connection, after a statement on it."""
    async with getattr(pool, opening)() as connection:
        await connection.execute(text("SELECT 1"))
        return (await connection.get_raw_connection()).driver_connection


@pytest.mark.parametrize("opening", ["autocommit", "transaction"])
async def test_a_connection_that_lies_in_a_pool_is_closed_with_it(pool: Database, opening: str) -> None:
    driver = await use(pool, opening)
    assert not driver.is_closed()
    await pool.dispose()
    assert driver.is_closed()


@pytest.mark.parametrize("opening", ["autocommit", "transaction"])
async def test_a_connection_in_use_when_its_pool_is_closed_is_closed_when_it_comes_back(
    pool: Database, opening: str
) -> None:
    async with getattr(pool, opening)() as connection:
        driver: Any = (await connection.get_raw_connection()).driver_connection
        await pool.dispose()
        await connection.execute(text("SELECT 1"))
        assert not driver.is_closed()
    assert driver.is_closed()


@pytest.mark.parametrize("opening", ["autocommit", "transaction"])
async def test_a_connection_that_is_being_made_when_its_pool_is_closed_is_closed_after_use(
    pool: Database, opening: str
) -> None:
    using = asyncio.create_task(use(pool, opening))
    await asyncio.sleep(0)
    await pool.dispose()
    assert not using.done()
    assert (await using).is_closed()


async def test_a_pool_that_was_closed_can_be_used_again(pool: Database) -> None:
    first = await use(pool, "autocommit")
    await pool.dispose()
    second = await use(pool, "autocommit")
    assert await use(pool, "autocommit") is second
    assert (first.is_closed(), second.is_closed()) == (True, False)
