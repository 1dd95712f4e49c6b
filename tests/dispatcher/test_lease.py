"""Who may dispatch: one process at a time, known by a term that only grows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from app.db.engine import Database
from app.db.queries import lease as queries
from app.db.queries import runs
from app.dispatcher.lease import LEASE_TTL, Lease
from tests.owner import become_owner
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


@asynccontextmanager
async def kept(lease: Lease) -> AsyncIterator[None]:
    keeping = asyncio.create_task(lease.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


@pytest.mark.usefixtures("renewed_often")
async def test_one_that_is_kept_is_renewed_whatever_its_holder_does(database: Database) -> None:
    lease = Lease(database)
    assert await lease.hold() == 1
    async with kept(lease):
        first = await renewal(database)
        for _ in range(3):
            latest = await renewal(database)
            await eventually(partial(is_renewed_since, database, latest))
    assert await renewal(database) != first
    assert (lease.term, await lease.hold()) == (1, 1)


async def is_renewed_since(database: Database, moment: object) -> bool:
    return await renewal(database) != moment


@pytest.mark.usefixtures("renewed_often")
async def test_keeping_it_goes_on_after_a_failure(database: Database) -> None:
    lease = Lease(database)
    await lease.hold()
    latest = await renewal(database)

    async def has_failed() -> bool:
        return "the lease could not be renewed" in [entry["event"] for entry in entries]

    with capture_logs() as entries:
        async with kept(lease):
            await rename(database, "dispatcher_lease", "dispatcher_lease_away")
            try:
                await eventually(has_failed)
            finally:
                await rename(database, "dispatcher_lease_away", "dispatcher_lease")
            await eventually(partial(is_renewed_since, database, latest))
    assert lease.term == 1


async def rename(database: Database, table: str, name: str) -> None:
    async with database.transaction() as connection:
        await become_owner(connection)
        await connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))


@pytest.mark.usefixtures("renewed_often")
async def test_nobody_keeps_what_others_have_taken(database: Database, stopwatch: Stopwatch) -> None:
    first, second = Lease(database), Lease(database)
    await first.hold()
    async with kept(first):
        await take_by_force(database, second)
        latest = await renewal(database)
        stopwatch.seconds += 1
        await eventually(partial(is_without_term, first))
    assert await renewal(database) == latest
    assert second.term == 2


async def is_without_term(lease: Lease) -> bool:
    return lease.term is None


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


RUN, NOW = uuid4(), datetime(2026, 3, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "note",
    [
        partial(runs.note_launched, run_id=RUN, now=NOW),
        partial(runs.note_reports, reports=[{"run_id": str(RUN), "progress": 0.5}], now=NOW),
        partial(runs.note_unknown, run_ids=[RUN], now=NOW),
        partial(runs.explain, reasons={1: "AWAITING_GPUS"}),
    ],
    ids=["launched", "reports", "unknown", "explain"],
)
async def test_whatever_is_noted_keeps_the_lease_where_it_is_until_it_is_committed(
    database: Database, note: Callable[..., Awaitable[None]]
) -> None:
    """Else a successor could read what an older term is about to change."""
    await Lease(database).hold()
    async with database.transaction() as connection:
        await note(connection, term=1)
        taking_over = asyncio.create_task(take_by_force(database, Lease(database)))
        await eventually(lambda: somebody_waits(database))
        assert not taking_over.done()
    assert await taking_over == 2


async def take_by_force(database: Database, successor: Lease) -> int | None:
    await expire(database)
    return await successor.hold()


async def somebody_waits(database: Database) -> bool:
    async with database.autocommit() as connection:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return bool((await connection.execute(text(statement))).scalar_one())
