"""Live events over HTTP: whose they are, that none is missing or doubled, and when a stream ends."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.api.state import AppState
from app.api.v1 import events as routes
from app.core.config import Settings
from app.services import events, jobs
from app.services.events import LONGEST_REPLAY, STREAMS_PER_USER
from tests.api.outages import database_away
from tests.conftest import FakeClock, browser
from tests.factories import ORIGIN, PASSWORD, Person, approve_job, make_fleet, make_job, make_user, sign_in, start_job
from tests.streams import Stream, open_stream
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.anyio

EVENTS = "/api/v1/events"
OURS = {"X-GTM-Request": "1"}
MINUTE = timedelta(minutes=1)

StartService = Callable[[Settings], AbstractAsyncContextManager[FastAPI]]
TokenFor = Callable[[Person], Awaitable[str]]


@pytest.fixture(autouse=True)
async def _quick(state: AppState, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own poller, asking more often."""
    monkeypatch.setattr(events, "POLL_INTERVAL_SECONDS", 0.02)
    await make_fleet(state)


@dataclass(frozen=True)
class Sent:
    """One event as a browser would see it."""

    id: str
    name: str
    data: dict[str, Any]
    retry: str | None

    @property
    def step(self) -> tuple[int, int]:
        return self.data["job_id"], self.data["seq"]


async def next_event(stream: Stream) -> Sent:
    while True:
        fields: dict[str, str] = {}
        for line in (await stream.read_until(b"\n\n")).decode().splitlines():
            name, _, value = line.partition(": ")
            fields[name] = value
        assert fields, "the stream has ended"
        if "data" in fields:
            return Sent(fields["id"], fields["event"], json.loads(fields["data"]), fields.get("retry"))


async def next_events(stream: Stream, count: int) -> list[Sent]:
    return [await next_event(stream) for _ in range(count)]


async def steps_in_database(state: AppState) -> list[tuple[int, int]]:
    """Every step of every job, in the order of the transactions that made them."""
    async with state.database.autocommit() as connection:
        found = await connection.execute(text("SELECT job_id, seq FROM job_events ORDER BY xid, id"))
        return [(row.job_id, row.seq) for row in found]


async def some_history(state: AppState, owner: Person, admin: Person) -> list[int]:
    """Three jobs of the owner and one of another person; seven events, six of them the owner's."""
    first = (await make_job(state, owner, time_limit=MINUTE)).id
    await approve_job(state, first, admin)
    await make_job(state, await make_user(state), time_limit=MINUTE)
    second = (await make_job(state, owner, time_limit=MINUTE)).id
    third = (await make_job(state, owner, time_limit=MINUTE)).id
    await start_job(state, first, admin)
    await approve_job(state, second, admin)
    return [first, second, third]


async def test_a_stream_begins_with_the_place_where_it_stands(app: FastAPI, user: Person, token_for: TokenFor) -> None:
    async with open_stream(app, EVENTS, token=await token_for(user)) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["x-accel-buffering"] == "no"
        first = await next_event(stream)
    assert first.name == "reset"
    assert first.data == {"cursor": first.id}
    assert first.retry == "2000"


async def test_a_silence_is_broken_by_comments(
    app: FastAPI, user: Person, token_for: TokenFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which browsers skip, and which keep a proxy from closing the connection."""
    monkeypatch.setattr(routes, "KEEP_ALIVE_SECONDS", 0.01)
    async with open_stream(app, EVENTS, token=await token_for(user)) as stream:
        await next_event(stream)
        assert await stream.read_until() == await stream.read_until() == b": ping\n\n"


async def test_people_see_what_happens_to_their_own_jobs_and_quota(
    app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient, user: Person, token_for: TokenFor
) -> None:
    stranger = await make_user(state)
    async with open_stream(app, EVENTS, token=await token_for(user)) as stream:
        await next_event(stream)
        theirs = await make_job(state, stranger)
        await as_admin.post(f"/api/v1/admin/jobs/{theirs.id}/approve")
        job = await make_job(state, user)
        await as_admin.post(f"/api/v1/admin/jobs/{job.id}/reject", json={"reason": "No data agreement"})
        for person in (stranger, user):
            change = {"limit_hours": 120, "reason": "Thesis deadline"}
            await as_admin.put(f"/api/v1/admin/users/{person.id}/quota", json=change)
        submitted, rejected, quota = await next_events(stream, 3)
    at = "2026-03-10T12:00:00Z"
    assert (submitted.name, rejected.name, quota.name) == ("job", "job", "quota")
    assert submitted.data == {
        "job_id": job.id,
        "user_id": user.id,
        "seq": 1,
        "kind": "TRANSITION",
        "from_status": None,
        "to_status": "PENDING",
        "reason": None,
        "at": at,
    }
    assert (rejected.data["from_status"], rejected.data["to_status"]) == ("PENDING", "REJECTED")
    assert rejected.data["reason"] == "REJECTED_BY_ADMIN"
    assert quota.data == {"user_id": user.id, "kind": "LIMIT", "at": at}


async def test_admins_see_everything_in_the_order_in_which_it_was_committed(
    app: FastAPI, state: AppState, user: Person, admin: Person, token_for: TokenFor
) -> None:
    async with open_stream(app, EVENTS, token=await token_for(admin)) as stream:
        await next_event(stream)
        await some_history(state, user, admin)
        seen = await next_events(stream, 7)
    assert [event.step for event in seen] == await steps_in_database(state)
    assert len({event.id for event in seen}) == 7


async def test_a_stream_goes_on_after_any_event_without_gap_or_repetition(
    app: FastAPI, state: AppState, user: Person, admin: Person, token_for: TokenFor
) -> None:
    token = await token_for(user)
    async with open_stream(app, EVENTS, token=token) as stream:
        beginning = await next_event(stream)
        await some_history(state, user, admin)
        seen = await next_events(stream, 6)
    known = list(seen)
    for number, place in enumerate([beginning, *seen]):
        async with open_stream(app, EVENTS, token=token, last_event_id=place.id) as stream:
            assert await next_events(stream, len(known) - number) == known[number:]
            newest = await make_job(state, user, time_limit=MINUTE)
            known.append(await next_event(stream))
            assert known[-1].step == (newest.id, 1)


async def test_nothing_is_missed_or_doubled_by_a_client_that_loses_its_connection_all_the_time(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor
) -> None:
    """While others write at the same time, and transactions overlap."""
    token, chance = await token_for(user), random.Random(17)
    stranger = await make_user(state)

    async def submit(person: Person, count: int) -> None:
        for _ in range(count):
            await make_job(state, person, time_limit=MINUTE)

    async with open_stream(app, EVENTS, token=token) as stream:
        last = (await next_event(stream)).id
    seen: list[tuple[int, int]] = []
    async with asyncio.TaskGroup() as writers:
        for person in (user, user, user, stranger, stranger):
            writers.create_task(submit(person, 20))
        while len(seen) < 60:
            async with open_stream(app, EVENTS, token=token, last_event_id=last) as stream:
                for event in await next_events(stream, min(chance.randint(1, 7), 60 - len(seen))):
                    seen.append(event.step)
                    last = event.id
    async with state.database.autocommit() as connection:
        rows = await connection.execute(
            text("SELECT job_id, seq FROM job_events WHERE user_id = :id ORDER BY xid, id"), {"id": user.id}
        )
    assert seen == [(row.job_id, row.seq) for row in rows]


async def test_an_event_that_is_committed_late_is_not_skipped(
    app: FastAPI, state: AppState, user: Person, admin: Person, token_for: TokenFor
) -> None:
    """Its transaction began first, so it comes first, though others have committed in between."""
    other = await make_user(state)
    async with open_stream(app, EVENTS, token=await token_for(admin)) as stream:
        await next_event(stream)
        slow = await make_job(state, user)
        assert (await next_event(stream)).step == (slow.id, 1)
        async with state.database.transaction() as connection:
            await jobs.approve(connection, admin.caller, slow.id, note=None, now=state.clock(), origin=ORIGIN)
            quick = await make_job(state, other)
            await state.feed.poll()
        steps = [event.step for event in await next_events(stream, 2)]
    assert steps == [(slow.id, 2), (quick.id, 1)]


@pytest.mark.parametrize(
    "place", ["", "x", "1", "-", "1-", "-1", "1-x", "۱-۱", "1-1-1", "9" * 19 + "-1", "99999999999-0"]
)
async def test_at_a_place_that_is_not_known_the_client_is_told_to_read_anew(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor, place: str
) -> None:
    async with open_stream(app, EVENTS, token=await token_for(user), last_event_id=place) as stream:
        assert (await next_event(stream)).name == "reset"
        job = await make_job(state, user)
        assert (await next_event(stream)).step == (job.id, 1)


async def test_a_place_is_known_for_a_day(app: FastAPI, state: AppState, user: Person, clock: FakeClock) -> None:
    async with open_stream(app, EVENTS, token=(await sign_in(state, user)).access_token) as stream:
        place = (await next_event(stream)).id
        job = await make_job(state, user, time_limit=MINUTE)
        await next_event(stream)
    clock.advance(hours=23)
    async with open_stream(app, EVENTS, token=(await sign_in(state, user)).access_token, last_event_id=place) as stream:
        assert (await next_event(stream)).step == (job.id, 1)
    clock.advance(hours=2)
    async with open_stream(app, EVENTS, token=(await sign_in(state, user)).access_token, last_event_id=place) as stream:
        assert (await next_event(stream)).name == "reset"


async def test_a_client_that_has_missed_too_much_reads_anew(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor
) -> None:
    token = await token_for(user)
    async with open_stream(app, EVENTS, token=token) as stream:
        place = (await next_event(stream)).id
        await make_job(state, user)
        async with state.database.autocommit() as connection:
            await connection.execute(
                text(
                    """
                    INSERT INTO quota_entries (quota_id, user_id, kind, actor_user_id, created_at)
                    SELECT q.id, q.user_id, 'ADJUST', q.user_id, :now FROM user_quotas q, generate_series(1, :count)
                    """
                ),
                {"count": LONGEST_REPLAY, "now": state.clock()},
            )
        await next_events(stream, LONGEST_REPLAY)  # other databases' transactions can hold them back for a moment
    async with open_stream(app, EVENTS, token=token, last_event_id=place) as stream:
        assert (await next_event(stream)).name == "reset"


@pytest.mark.parametrize("what", ["sign-out", "password", "disabled", "demoted", "promoted", "session over"])
@pytest.mark.parametrize("path", [EVENTS, "/api/v1/jobs/{job_id}/log?follow=true"])
async def test_a_stream_ends_soon_after_the_rights_with_which_it_was_opened(
    settings: Settings,
    start_service: StartService,
    state: AppState,
    as_admin: httpx2.AsyncClient,
    clock: FakeClock,
    what: str,
    path: str,
) -> None:
    """The streams are open in another process than the one in which the rights end."""
    person = await make_user(state, is_admin=what == "demoted")
    job = await make_job(state, person)
    path = path.format(job_id=job.id)
    async with start_service(settings) as app, browser(app) as client:
        form = {"username": person.email, "password": PASSWORD}
        token = (await client.post("/api/v1/auth/login", data=form)).json()["access_token"]
        bystander = await make_user(state)
        kept = (await sign_in(state, bystander)).access_token
        async with open_stream(app, path, token=token) as stream, open_stream(app, EVENTS, token=kept) as other:
            assert stream.status == 200
            await next_event(other)
            match what:
                case "sign-out":
                    answer = await client.post("/api/v1/auth/logout", headers=OURS)
                case "password":
                    body = {"current_password": PASSWORD, "new_password": "another-River-72-lantern"}
                    bearer = {"Authorization": f"Bearer {token}"}
                    answer = await client.post("/api/v1/auth/password", json=body, headers=bearer)
                case "session over":
                    clock.advance(days=8)
                    answer = await client.get("/livez")
                case _:
                    change = {"is_active": False} if what == "disabled" else {"is_admin": what == "promoted"}
                    answer = await as_admin.patch(f"/api/v1/admin/users/{person.id}", json=change)
            assert answer.status_code in (200, 204), answer.text
            clock.advance(seconds=19)
            await stream.read_to_end()
            if what != "session over":
                untouched = await make_job(state, bystander)
                assert (await next_event(other)).step == (untouched.id, 1)


async def test_streams_that_wait_hold_no_connection(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor
) -> None:
    token = await token_for(user)
    async with AsyncExitStack() as stack:
        streams = [
            await stack.enter_async_context(open_stream(app, EVENTS, token=token)) for _ in range(STREAMS_PER_USER)
        ]
        for stream in streams:
            await next_event(stream)
        await _nothing_is_checked_out(state)
        job = await make_job(state, user)
        assert {(await next_event(stream)).step for stream in streams} == {(job.id, 1)}
        async with open_stream(app, EVENTS, token=token) as one_more:
            assert (await next_event(one_more)).name == "reset"
            assert await streams[0].read_to_end() == b""
            job = await make_job(state, user)
            assert {(await next_event(stream)).step for stream in [*streams[1:], one_more]} == {(job.id, 1)}


async def test_a_followed_log_waits_without_a_connection(
    app: FastAPI, state: AppState, user: Person, admin: Person, token_for: TokenFor
) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    async with open_stream(app, f"/api/v1/jobs/{job.id}/log?follow=true", token=await token_for(user)) as stream:
        await stream.read_until(b"\n")
        await _nothing_is_checked_out(state)


async def test_a_followed_log_is_another_persons_business(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor
) -> None:
    theirs = await make_job(state, await make_user(state))
    token = await token_for(user)
    async with open_stream(app, f"/api/v1/jobs/{theirs.id}/log?follow=true", token=token) as stream:
        assert stream.status == 404


async def test_a_stream_outlives_its_database_and_misses_nothing(
    settings: Settings,
    server_url: str,
    fresh_database_url: str,
    start_service: StartService,
) -> None:
    own = settings.model_copy(update={"database_url": SecretStr(fresh_database_url)})
    async with start_service(own) as app:
        state: AppState = app.state.gtm
        await make_fleet(state)
        person = await make_user(state)
        async with open_stream(app, EVENTS, token=(await sign_in(state, person)).access_token) as stream:
            await next_event(stream)
            before = await make_job(state, person)
            assert (await next_event(stream)).step == (before.id, 1)
            async with database_away(server_url, fresh_database_url):
                with pytest.raises((DBAPIError, OSError)):
                    await state.feed.poll()
            after = await make_job(state, person)
            assert (await next_event(stream)).step == (after.id, 1)


async def _nothing_is_checked_out(state: AppState) -> None:
    """But for the moments in which the poller asks."""
    async with asyncio.timeout(HANG_SECONDS):
        while state.database.engine.pool.checkedout() > 0:  # type: ignore[attr-defined] # noqa: ASYNC110
            await asyncio.sleep(0.01)
