"""The log of a job over HTTP: its end, following it from there, and taking it away as a file."""

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.state import AppState
from app.dispatcher.build import create_dispatcher
from app.dispatcher.loop import Dispatcher
from app.executors.registry import create_executor
from tests.conftest import FakeClock
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, sign_in, start_job
from tests.streams import open_stream

pytestmark = pytest.mark.anyio

COMMAND = "#SIM duration=80% exit=0 lines=200\npython train.py --title 'یادگیری عمیق'"


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


@pytest.fixture
def dispatcher(state: AppState, clock: FakeClock) -> Dispatcher:
    return create_dispatcher(state.database, create_executor(state.settings, clock), state.settings, clock)


@pytest.fixture
async def running(state: AppState, user: Person, admin: Person, dispatcher: Dispatcher, clock: FakeClock) -> str:
    """The address of the log of a job that runs and has printed about half of it."""
    job = await make_job(state, user, command=COMMAND)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    await dispatcher.tick()
    clock.advance(seconds=4)
    await dispatcher.tick()
    return f"/api/v1/jobs/{job.id}/log"


async def whole(client: Any, log: str) -> bytes:
    answer = await client.get(f"{log}?limit=1000000")
    assert answer.status_code == 200
    content: bytes = answer.content
    return content


async def test_the_end_of_a_log_begins_with_a_line_and_leads_on(
    as_user: Any, running: str, dispatcher: Dispatcher, clock: FakeClock
) -> None:
    log = await whole(as_user, running)
    answer = await as_user.get(f"{running}?tail=500")
    assert 300 < len(answer.content) <= 500
    assert log.endswith(b"\n" + answer.content)
    assert int(answer.headers["X-Log-Offset"]) == len(log) - len(answer.content)
    assert (answer.headers["X-Log-Size"], answer.headers["X-Log-Complete"]) == (str(len(log)), "false")
    clock.advance(minutes=5)
    await dispatcher.tick()
    rest = await as_user.get(f"{running}?offset={answer.headers['X-Log-Next-Offset']}&limit=1000000")
    assert log + rest.content == await whole(as_user, running)


async def test_the_end_of_a_short_log_is_all_of_it(as_user: Any, running: str) -> None:
    answer = await as_user.get(f"{running}?tail=1000000&limit=1000000")
    assert (answer.content, answer.headers["X-Log-Offset"]) == (await whole(as_user, running), "0")


async def test_the_end_of_a_log_that_has_not_begun_is_empty(state: AppState, as_user: Any, user: Person) -> None:
    job = await make_job(state, user)
    answer = await as_user.get(f"/api/v1/jobs/{job.id}/log?tail=100")
    assert (answer.content, answer.headers["X-Log-Offset"]) == (b"", "0")


async def test_a_log_is_followed_from_its_end_and_taken_up_again_without_a_gap(
    app: FastAPI,
    state: AppState,
    as_user: Any,
    user: Person,
    running: str,
    dispatcher: Dispatcher,
    clock: FakeClock,
) -> None:
    token = (await sign_in(state, user)).access_token
    before = await whole(as_user, running)
    async with open_stream(app, f"{running}?follow=true&tail=500", token=token) as stream:
        begin = int(stream.headers["x-log-offset"])
        assert stream.headers["x-accel-buffering"] == "no"
        seen = await stream.read_until(before[-40:])
    assert before.endswith(b"\n" + seen)
    assert begin + len(seen) == len(before)
    clock.advance(minutes=5)
    await dispatcher.tick()
    async with open_stream(app, f"{running}?follow=true&offset={begin + len(seen)}", token=token) as stream:
        assert int(stream.headers["x-log-offset"]) == len(before)
        rest = await stream.read_to_end()
    assert before + rest == await whole(as_user, running)


async def test_a_cancelled_log_ends_behind_everything_that_was_shown_of_it(
    state: AppState, as_user: Any, running: str, clock: FakeClock
) -> None:
    """The clock of the process that reads is ahead of the dispatcher's, which notices the cancel late."""
    clock_of_dispatcher = FakeClock()
    engine = create_executor(state.settings, clock_of_dispatcher)
    dispatcher = create_dispatcher(state.database, engine, state.settings, clock_of_dispatcher)
    before = await whole(as_user, running)
    clock.advance(seconds=2)
    shown = await whole(as_user, running)
    assert (await as_user.post(running.replace("/log", "/cancel"))).status_code in (200, 202)
    shown_meanwhile = await whole(as_user, running)
    clock_of_dispatcher.now = clock.now - timedelta(seconds=1)
    await end_the_lease(state)
    await dispatcher.tick()
    answer = await as_user.get(f"{running}?limit=1000000")
    assert answer.headers["X-Log-Complete"] == "true"
    assert answer.content.endswith(b"Stopped before its end.\n")
    assert answer.content.startswith(shown)
    assert answer.content.startswith(shown_meanwhile)
    assert shown.startswith(before)


async def test_a_log_is_taken_away_as_a_file(as_user: Any, running: str) -> None:
    answer = await as_user.get(f"{running}?download=true")
    job_id = running.split("/")[4]
    assert answer.headers["content-disposition"] == f'attachment; filename="job-{job_id}.log"'
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.content == await whole(as_user, running)


async def end_the_lease(state: AppState) -> None:
    async with state.database.autocommit() as connection:
        await connection.execute(text("UPDATE dispatcher_lease SET expires_at = clock_timestamp()"))


@pytest.mark.parametrize("query", ["download=true", "tail=100", "follow=true&tail=100"])
async def test_another_persons_log_is_not_found_in_any_form(
    app: FastAPI, state: AppState, running: str, query: str
) -> None:
    stranger = await make_user(state)
    async with open_stream(app, f"{running}?{query}", token=(await sign_in(state, stranger)).access_token) as stream:
        assert stream.status == 404
    async with open_stream(app, f"{running}?{query}") as stream:
        assert stream.status == 401


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("tail=100&offset=0", "/query/tail"),
        ("tail=100&offset=5&follow=true", "/query/tail"),
        ("download=true&follow=true", "/query/download"),
        ("download=true&tail=100", "/query/download"),
        ("download=true&offset=0", "/query/download"),
        ("tail=0", "/query/tail"),
        ("tail=1048577", "/query/tail"),
        ("tail=-1", "/query/tail"),
        ("offset=-1", "/query/offset"),
    ],
)
async def test_what_cannot_be_had_together_is_told_in_both_languages(
    as_user: Any, running: str, query: str, pointer: str
) -> None:
    told = set()
    for language in ("fa", "en"):
        answer = await as_user.get(f"{running}?{query}", headers={"Accept-Language": language})
        assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")
        [error] = answer.json()["errors"]
        assert error["pointer"] == pointer
        told.add(error["message"])
    assert len(told) == 2
