"""Live events: one poller per process reads what happened and hands it to every open stream.

A stream holds no database connection. It begins where its client left off: what was missed is read from the database,
what comes after arrives through the poller, and the poller's cursor is the seam, so nothing is skipped or sent twice.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.clock import Clock
from app.db.engine import Database
from app.db.queries import events as queries
from app.db.queries.events import Cursor
from app.domain.identity import Caller
from app.domain.job_state import JobStatus

POLL_INTERVAL_SECONDS = 0.5
CREDENTIAL_CHECK_INTERVAL = timedelta(seconds=10)
REPLAY_WINDOW = timedelta(days=1)
LONGEST_REPLAY = 1000
LONGEST_BACKLOG = 2 * LONGEST_REPLAY
"""One poll can bring `LONGEST_REPLAY` events before anybody had a chance to read. They are shared by all streams."""
STREAMS_PER_USER = 50

log = structlog.get_logger("events")


@dataclass(frozen=True, slots=True)
class Event:
    """Something changed. It carries what a badge needs; the whole is read from the API."""

    cursor: Cursor
    user_id: int
    kind: str
    at: datetime
    job_id: int | None
    seq: int | None
    from_status: JobStatus | None
    to_status: JobStatus | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Reset:
    """The client's place is not known any more: it should read again what it shows, and go on from this cursor."""

    cursor: Cursor


@dataclass(eq=False, slots=True)
class Subscription:
    """One open stream. Closed when its session or token ends, its owner's rights change, or it reads too slowly."""

    caller: Caller
    begins_after: Cursor
    is_closed: bool = False
    _backlog: deque[Event] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def wants(self, event: Event) -> bool:
        return self.caller.is_admin or event.user_id == self.caller.user_id

    def push(self, event: Event) -> None:
        if len(self._backlog) >= LONGEST_BACKLOG:
            self.close()
            return
        self._backlog.append(event)
        self._news.set()

    def close(self) -> None:
        self.is_closed = True
        self._news.set()

    async def wait(self, timeout_seconds: float | None = None) -> list[Event]:
        """What has come since the last call; waits for something, at most `timeout_seconds`."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout_seconds)
        except TimeoutError:
            return []
        self._news.clear()
        events = list(self._backlog)
        self._backlog.clear()
        return events


class EventFeed:
    """The poller of this process and its open streams."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._cursor: Cursor | None = None
        self._subscriptions: dict[int, list[Subscription]] = {}
        self._credentials_checked_at = clock()
        self._one_poll_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Poll until cancelled. While the database is away, streams stay open and catch up afterwards."""
        while True:
            try:
                await self.poll()
            except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
                log.warning("event poll failed", error=type(error).__name__)
            except Exception:
                log.exception("event poll failed")
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def poll(self) -> None:
        """Hand out what happened since the last poll, and close the streams of credentials that ended."""
        async with self._one_poll_at_a_time:
            await self._hand_out_news()
        if not timedelta() <= self._clock() - self._credentials_checked_at < CREDENTIAL_CHECK_INTERVAL:
            await self.close_ended_streams()

    async def _hand_out_news(self) -> None:
        async with self._database.autocommit() as connection:
            if self._cursor is None:
                self._cursor = await queries.position(connection)
            rows = await queries.since(
                connection, self._cursor, user_id=None, oldest=self._oldest(), limit=LONGEST_REPLAY
            )
        for row in rows:
            event = _event(row)
            self._cursor = event.cursor
            for subscription in self._all():
                if subscription.wants(event):
                    subscription.push(event)

    async def close_ended_streams(self) -> None:
        """Close every stream whose credential, token version or role is no longer what it was opened with."""
        self._credentials_checked_at = self._clock()
        subscriptions = list(self._all())
        if not subscriptions:
            return
        ids = {subscription.caller.credential_id for subscription in subscriptions}
        async with self._database.autocommit() as connection:
            rows = await queries.live_credentials(connection, ids, now=self._clock())
        live = {row.id: (row.token_version, row.is_admin) for row in rows}
        for subscription in subscriptions:
            caller = subscription.caller
            if live.get(caller.credential_id) != (caller.token_version, caller.is_admin):
                subscription.close()

    @contextmanager
    def subscribe(self, caller: Caller) -> Iterator[Subscription]:
        """Receive events from now on. A user's oldest stream gives way when there are too many."""
        subscription = Subscription(caller, begins_after=self._cursor or Cursor(0, 0))
        streams = self._subscriptions.setdefault(caller.user_id, [])
        streams.append(subscription)
        if len(streams) > STREAMS_PER_USER:
            streams[0].close()
        try:
            yield subscription
        finally:
            streams.remove(subscription)
            if not streams:
                self._subscriptions.pop(caller.user_id, None)

    async def follow(self, caller: Caller, last_seen: str | None) -> AsyncIterator[Event | Reset]:
        """Everything this caller may see, from where the client left off until the stream is closed."""
        if self._cursor is None:
            await self.poll()
        with self.subscribe(caller) as subscription:
            for missed in await self._replay(caller, last_seen, until=subscription.begins_after):
                yield missed
            while not subscription.is_closed:
                for event in await subscription.wait():
                    yield event

    async def _replay(self, caller: Caller, last_seen: str | None, *, until: Cursor) -> list[Event | Reset]:
        if last_seen is None:
            return [Reset(until)]
        cursor = Cursor.parse(last_seen)
        if cursor is None or cursor > until:
            return [Reset(until)]
        user_id = None if caller.is_admin else caller.user_id
        async with self._database.autocommit() as connection:
            known = await queries.within_window(connection, cursor, oldest=self._oldest())
            rows = await queries.since(connection, cursor, user_id=user_id, oldest=self._oldest(), limit=LONGEST_REPLAY)
        if not known or len(rows) >= LONGEST_REPLAY:
            return [Reset(until)]
        return [event for event in map(_event, rows) if event.cursor <= until]

    def _oldest(self) -> datetime:
        return self._clock() - REPLAY_WINDOW

    def _all(self) -> Iterator[Subscription]:
        for streams in list(self._subscriptions.values()):
            yield from streams


def _event(row: Row[Any]) -> Event:
    return Event(
        cursor=Cursor(row.xid, row.id),
        user_id=row.user_id,
        kind=row.kind,
        at=row.created_at,
        job_id=row.job_id,
        seq=row.seq,
        from_status=JobStatus(row.from_status) if row.from_status else None,
        to_status=JobStatus(row.to_status) if row.to_status else None,
        reason=row.reason,
    )
