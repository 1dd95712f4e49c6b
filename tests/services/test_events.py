"""Live events: in order, each once, none left out, whoever commits late and however often a client comes back."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.api.state import AppState
from app.db.queries.events import Cursor
from app.domain.identity import Caller
from app.services import auth
from app.services.events import LONGEST_BACKLOG, LONGEST_REPLAY, STREAMS_PER_USER, Event, EventFeed, Reset
from tests.conftest import FakeClock
from tests.factories import Person, make_user, sign_in
from tests.services.desk import HOUR, Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


class Listener:
    """A client that reads as fast as it can."""

    def __init__(self, feed: EventFeed, caller: Caller, last_seen: str | None = None) -> None:
        self.feed = feed
        self.events: list[Event] = []
        self.resets: list[Reset] = []
        self.task = asyncio.create_task(self._listen(caller, last_seen))

    async def _listen(self, caller: Caller, last_seen: str | None) -> None:
        async for message in self.feed.follow(caller, last_seen):
            if isinstance(message, Reset):
                self.resets.append(message)
            else:
                self.events.append(message)

    async def hears(self, number: int) -> list[tuple[int | None, str | None]]:
        """Poll until so many events have come. What they say: which job went where."""
        await self._poll_until(lambda: len(self.events) >= number)
        assert len(self.events) == number
        return [(event.job_id, event.to_status) for event in self.events]

    async def is_reset(self) -> Reset:
        await self._poll_until(lambda: bool(self.resets))
        [reset] = self.resets
        return reset

    async def has_ended(self) -> None:
        await self._poll_until(self.task.done)

    async def _poll_until(self, condition: Callable[[], bool]) -> None:
        """Transactions of other databases on the server can hold events back for a moment."""

        async def poll_and_look() -> bool:
            await self.feed.poll()
            return condition()

        await eventually(poll_and_look)


@pytest.fixture
async def feed(desk: Desk, clock: FakeClock) -> EventFeed:
    return EventFeed(desk.state.database, clock)


@pytest.fixture
async def caller(desk: Desk, user: Person) -> Caller:
    """`user` in a session that lives for weeks. `user.caller` has none, and is sent away when sessions are checked."""
    return await caller_of(desk, user)


async def caller_of(desk: Desk, person: Person) -> Caller:
    token = (await sign_in(desk.state, person)).access_token
    async with desk.state.database.autocommit() as connection:
        return await auth.identify(connection, token, settings=desk.state.settings, now=desk.state.clock())


@asynccontextmanager
async def listening(feed: EventFeed, caller: Caller, last_seen: str | None = None) -> AsyncIterator[Listener]:
    listener = Listener(feed, caller, last_seen)
    if last_seen is None:
        await listener.is_reset()
    try:
        yield listener
    finally:
        listener.task.cancel()
        with suppress(asyncio.CancelledError):
            await listener.task


async def test_a_new_client_is_told_to_read_what_it_shows_and_hears_what_comes_then(
    feed: EventFeed, desk: Desk, user: Person, admin: Person
) -> None:
    await desk.submit(user)
    await eventually(lambda: all_is_past(desk))
    async with listening(feed, user.caller) as listener:
        job_id = await desk.submit(user)
        await desk.approve(admin, job_id)
        assert await listener.hears(2) == [(job_id, "PENDING"), (job_id, "APPROVED")]
        event = listener.events[-1]
        assert (event.kind, event.from_status, event.seq, event.user_id) == ("TRANSITION", "PENDING", 2, user.id)


async def all_is_past(desk: Desk) -> bool:
    """No transaction is open that is older than an event. Other databases of the server have some, too."""
    [row] = await desk.sql("SELECT max(xid) < pg_snapshot_xmin(pg_current_snapshot()) FROM job_events")
    return bool(row[0])


async def test_a_user_hears_of_their_own_and_an_admin_of_everything(
    feed: EventFeed, desk: Desk, user: Person, admin: Person
) -> None:
    other = await make_user(desk.state)
    async with (
        listening(feed, user.caller) as mine,
        listening(feed, other.caller) as theirs,
        listening(feed, admin.caller) as everything,
    ):
        first, second = await desk.submit(user), await desk.submit(other)
        assert await everything.hears(2) == [(first, "PENDING"), (second, "PENDING")]
        assert await mine.hears(1) == [(first, "PENDING")]
        assert await theirs.hears(1) == [(second, "PENDING")]


async def test_a_changed_quota_is_an_event_and_a_reservation_is_none(
    feed: EventFeed, desk: Desk, user: Person, admin: Person
) -> None:
    async with listening(feed, user.caller) as listener:
        await desk.set_limit(admin, user, 50 * HOUR)
        await desk.adjust(admin, user, HOUR)
        await desk.submit(user)
        await listener.hears(3)
        assert [event.kind for event in listener.events] == ["LIMIT", "ADJUST", "TRANSITION"]


async def test_an_event_that_is_committed_late_is_not_left_out(
    feed: EventFeed, desk: Desk, user: Person, admin: Person
) -> None:
    """Its number is smaller than that of one which was committed before it."""
    early, late = await desk.submit(user), await desk.submit(user)
    await eventually(lambda: all_is_past(desk))
    async with listening(feed, user.caller) as listener:
        async with desk.state.database.transaction() as connection:
            await connection.execute(
                text(
                    "INSERT INTO job_events (job_id, user_id, seq, kind, from_status, to_status, actor_user_id) "
                    "VALUES (:job, :user, 2, 'CANCEL_REQUESTED', 'PENDING', 'PENDING', :user)"
                ),
                {"job": late, "user": user.id},
            )
            await connection.execute(text("UPDATE jobs SET event_seq = 2 WHERE id = :job"), {"job": late})
            await desk.approve(admin, early)
            for _ in range(3):
                await feed.poll()
            assert listener.events == []
        assert await listener.hears(2) == [(late, "PENDING"), (early, "APPROVED")]
        cursors = [event.cursor for event in listener.events]
        assert cursors == sorted(cursors)


async def test_a_client_that_comes_and_goes_hears_everything_once(feed: EventFeed, desk: Desk, user: Person) -> None:
    """Beside one that stays. At every moment some transactions are under way."""
    chance = random.Random(4761)
    heard: list[Event] = []
    async with listening(feed, user.caller) as steady:
        last_seen = str(steady.resets[0].cursor)
        writers = [asyncio.create_task(submit_and_cancel(desk, user, 8)) for _ in range(4)]
        while not all(writer.done() for writer in writers) or len(heard) < 64:
            async with listening(feed, user.caller, last_seen) as passing:
                for _ in range(chance.randrange(4)):
                    await feed.poll()
                    await asyncio.sleep(0.001)
            assert passing.resets == []
            heard += passing.events
            last_seen = str(heard[-1].cursor) if heard else last_seen
        await steady.hears(64)
    assert heard == steady.events


async def submit_and_cancel(desk: Desk, user: Person, times: int) -> None:
    for _ in range(times):
        await desk.cancel(user, await desk.submit(user, time_limit=timedelta(minutes=1)))


async def test_two_polls_at_once_hand_out_every_event_once(feed: EventFeed, desk: Desk, user: Person) -> None:
    async with listening(feed, user.caller) as listener:
        await desk.submit(user)
        await desk.submit(user)

        async def two_polls() -> bool:
            await asyncio.gather(feed.poll(), feed.poll())
            return bool(listener.events)

        await eventually(two_polls)
        await listener.hears(2)


class TestComingBack:
    async def test_what_was_missed_is_heard_first(self, feed: EventFeed, desk: Desk, user: Person) -> None:
        async with listening(feed, user.caller) as listener:
            cursor = str(listener.resets[0].cursor)
        first = await desk.submit(user)
        await feed.poll()
        async with listening(feed, user.caller, cursor) as listener:
            second = await desk.submit(user)
            assert await listener.hears(2) == [(first, "PENDING"), (second, "PENDING")]
            assert listener.resets == []

    @pytest.mark.parametrize("last_seen", ["", "x", "1", "-1-1", "1-", "1-1-1", "۱-۱", "18446744073709551616-1",
                                           "18446744073709551615-1"])  # fmt: skip
    async def test_a_place_that_is_none_of_ours_is_reset(self, feed: EventFeed, user: Person, last_seen: str) -> None:
        async with listening(feed, user.caller, last_seen) as listener:
            assert (await listener.is_reset()).cursor >= Cursor(0, 0)

    async def test_after_a_day_it_is_reset(
        self, feed: EventFeed, desk: Desk, user: Person, caller: Caller, clock: FakeClock
    ) -> None:
        async with listening(feed, caller) as listener:
            cursor = str(listener.resets[0].cursor)
            await desk.submit(user)
            await listener.hears(1)
        clock.advance(hours=25)
        async with listening(feed, caller, cursor) as listener:
            await listener.is_reset()
            assert listener.events == []

    async def test_a_day_in_which_nothing_happened_is_no_reason(
        self, feed: EventFeed, desk: Desk, user: Person, caller: Caller, clock: FakeClock
    ) -> None:
        async with listening(feed, caller) as listener:
            cursor = str(listener.resets[0].cursor)
        clock.advance(hours=25)
        job_id = await desk.submit(user)
        async with listening(feed, caller, cursor) as listener:
            assert await listener.hears(1) == [(job_id, "PENDING")]
            assert listener.resets == []

    async def test_after_too_much_it_is_reset(self, feed: EventFeed, desk: Desk, user: Person) -> None:
        async with listening(feed, user.caller) as listener:
            cursor = str(listener.resets[0].cursor)
            await many_events(desk, user, LONGEST_REPLAY - 1)
            await listener.hears(LONGEST_REPLAY)
        async with listening(feed, user.caller, cursor) as listener:
            await listener.is_reset()


async def many_events(desk: Desk, user: Person, number: int) -> None:
    """Written past everything that a job's history must be, which is not the point here."""
    job_id = await desk.submit(user)
    await desk.sql(
        "INSERT INTO job_events (job_id, user_id, seq, kind, from_status, to_status, actor_user_id, created_at) "
        "SELECT :job, :user, n, 'CANCEL_REQUESTED', 'PENDING', 'PENDING', :user, :now "
        "FROM generate_series(2, CAST(:number AS int) + 1) n",
        job=job_id,
        user=user.id,
        number=number,
        now=desk.state.clock(),
    )
    await desk.sql("UPDATE jobs SET event_seq = :last WHERE id = :job", job=job_id, last=number + 1)


class TestReadingTooSlowly:
    async def test_a_burst_is_no_fault_of_the_reader(self, feed: EventFeed, desk: Desk, user: Person) -> None:
        """A tick of the dispatcher can settle a thousand runs."""
        async with listening(feed, user.caller) as listener:
            await many_events(desk, user, LONGEST_REPLAY - 1)
            await listener.hears(LONGEST_REPLAY)

    async def test_who_does_not_read_at_all_is_let_go_without_harm_to_others(
        self, feed: EventFeed, desk: Desk, user: Person
    ) -> None:
        await feed.poll()
        with feed.subscribe(user.caller) as asleep:
            async with listening(feed, user.caller) as listener:
                await many_events(desk, user, LONGEST_BACKLOG)
                await listener.hears(LONGEST_BACKLOG + 1)
                assert asleep.is_closed
                assert not listener.task.done()


class TestTheEndOfASession:
    @pytest.mark.parametrize(
        "end",
        [
            "UPDATE sessions SET revoked_at = :now",
            "UPDATE sessions SET expires_at = :now",
            "UPDATE users SET is_active = false WHERE id = :id",
            "UPDATE users SET is_admin = true WHERE id = :id",
            "UPDATE users SET password_hash = 'another' WHERE id = :id",
        ],
    )
    async def test_closes_the_stream(
        self, feed: EventFeed, desk: Desk, caller: Caller, clock: FakeClock, end: str
    ) -> None:
        async with listening(feed, caller) as listener:
            clock.advance(seconds=10)
            await feed.poll()
            await feed.poll()
            assert not listener.task.done()
            await desk.sql(end, now=clock(), id=caller.user_id)
            clock.advance(seconds=10)
            await listener.has_ended()

    async def test_of_one_user_closes_no_others_stream(
        self, feed: EventFeed, desk: Desk, caller: Caller, clock: FakeClock
    ) -> None:
        other = await make_user(desk.state)
        another = await caller_of(desk, other)
        async with listening(feed, caller) as ended, listening(feed, another) as living:
            await desk.sql("UPDATE sessions SET revoked_at = :now WHERE user_id = :id", now=clock(), id=caller.user_id)
            clock.advance(seconds=10)
            await ended.has_ended()
            assert not living.task.done()


async def test_of_too_many_streams_the_oldest_gives_way(feed: EventFeed, user: Person) -> None:
    with feed.subscribe(user.caller) as oldest:
        subscriptions = [feed.subscribe(user.caller) for _ in range(STREAMS_PER_USER)]
        others = [subscription.__enter__() for subscription in subscriptions]
        assert oldest.is_closed
        assert not any(other.is_closed for other in others)
        for subscription in subscriptions:
            subscription.__exit__(None, None, None)


async def test_an_idle_stream_holds_no_connection(feed: EventFeed, state: AppState, user: Person) -> None:
    pool = state.database.engine.pool
    async with listening(feed, user.caller), listening(feed, replace(user.caller, is_admin=True)):
        assert pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_streams_outlive_a_database_that_is_away(feed: EventFeed, desk: Desk, user: Person) -> None:
    async with listening(feed, user.caller) as listener:
        await desk.sql("ALTER TABLE job_events RENAME TO job_events_away", as_owner=True)
        with pytest.raises(DBAPIError):
            await feed.poll()
        await desk.sql("ALTER TABLE job_events_away RENAME TO job_events", as_owner=True)
        job_id = await desk.submit(user)
        assert await listener.hears(1) == [(job_id, "PENDING")]
