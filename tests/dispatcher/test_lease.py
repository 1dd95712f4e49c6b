"""Who may dispatch: one process at a time, known by a term that only grows."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.db.queries import lease as queries
from app.dispatcher.lease import LEASE_TTL, Lease
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

SHORT = timedelta(milliseconds=150)


class Stopwatch:
    """The time that a process counts for itself."""

    seconds = 1000.0


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    stopwatch = Stopwatch()
    monkeypatch.setattr("app.dispatcher.lease._monotonic", lambda: stopwatch.seconds)
    return stopwatch


async def expire(database: Database) -> None:
    async with database.autocommit() as connection:
        await connection.execute(text("UPDATE dispatcher_lease SET expires_at = clock_timestamp()"))


async def remaining(database: Database) -> timedelta:
    async with database.autocommit() as connection:
        found = await connection.execute(text("SELECT expires_at - clock_timestamp() FROM dispatcher_lease"))
        return timedelta(seconds=found.scalar_one().total_seconds())


async def test_the_first_who_asks_gets_it_and_keeps_it(database: Database) -> None:
    first, second = Lease(database), Lease(database)
    assert await first.hold() == 1
    assert await second.hold() is None
    assert await first.hold() == 1
    assert (first.term, second.term) == (1, None)


async def test_of_many_who_ask_at_once_one_gets_it(database: Database) -> None:
    terms = await asyncio.gather(*(Lease(database).hold() for _ in range(16)))
    assert sorted(term for term in terms if term is not None) == [1]


async def test_it_is_good_for_fifteen_seconds_of_the_databases_time(database: Database) -> None:
    await Lease(database).hold()
    assert timedelta(seconds=14) < await remaining(database) <= LEASE_TTL == timedelta(seconds=15)


async def test_it_is_renewed_after_a_third_of_its_time_and_not_before(database: Database, stopwatch: Stopwatch) -> None:
    lease = Lease(database)
    await lease.hold()
    first = await renewal(database)
    stopwatch.seconds += 4.9
    await lease.hold()
    assert await renewal(database) == first
    stopwatch.seconds += 0.1
    assert await lease.hold() == 1
    assert await renewal(database) != first


async def renewal(database: Database) -> object:
    async with database.autocommit() as connection:
        return (await connection.execute(text("SELECT renewed_at FROM dispatcher_lease"))).scalar_one()


async def test_its_holder_stops_trusting_it_two_seconds_before_the_database_does(
    database: Database, stopwatch: Stopwatch
) -> None:
    lease = Lease(database)
    await lease.hold()
    stopwatch.seconds += 12.9
    assert lease.term == 1
    stopwatch.seconds += 0.1
    assert lease.term is None


async def test_a_slow_answer_does_not_stretch_it(database: Database, stopwatch: Stopwatch) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("SELECT FROM dispatcher_lease FOR UPDATE"))
        lease = Lease(database)
        asking = asyncio.create_task(lease.hold())
        await eventually(lambda: somebody_waits(database))
        stopwatch.seconds += 12
    assert await asking == 1
    stopwatch.seconds += 1
    assert lease.term is None


async def test_a_new_holder_gets_a_larger_term(database: Database) -> None:
    first, second = Lease(database), Lease(database)
    await first.hold()
    await expire(database)
    assert await second.hold() == 2
    await expire(database)
    third = Lease(database)
    assert await third.hold() == 3


async def test_a_holder_that_let_it_expire_gets_a_new_term_as_well(database: Database) -> None:
    """Somebody else may have acted in between."""
    lease = Lease(database, ttl=SHORT)
    assert await lease.hold() == 1
    await eventually(lambda: expired(database))
    assert lease.term is None
    assert await lease.hold() == 2


async def expired(database: Database) -> bool:
    return await remaining(database) <= timedelta(0)


async def test_who_resigns_makes_room_at_once(database: Database) -> None:
    first, second = Lease(database), Lease(database)
    await first.hold()
    await first.resign()
    assert first.term is None
    assert await second.hold() == 2


async def test_who_lost_it_cannot_resign_for_the_next_holder(database: Database) -> None:
    first, second = Lease(database), Lease(database)
    await first.hold()
    await expire(database)
    await second.hold()
    await first.resign()
    assert await Lease(database).hold() is None


async def test_a_fence_keeps_the_lease_where_it_is_until_the_transaction_ends(database: Database) -> None:
    await Lease(database).hold()
    successor = Lease(database)
    async with database.transaction() as connection:
        assert await queries.fence(connection, term=1)
        taking_over = asyncio.create_task(take_by_force(database, successor))
        await eventually(lambda: somebody_waits(database))
        assert not taking_over.done()
    assert await taking_over == 2
    async with database.transaction() as connection:
        assert not await queries.fence(connection, term=1)


async def take_by_force(database: Database, successor: Lease) -> int | None:
    await expire(database)
    return await successor.hold()


async def somebody_waits(database: Database) -> bool:
    async with database.autocommit() as connection:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool((await connection.execute(text(statement))).scalar_one())
