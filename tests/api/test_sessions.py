"""People see where they are signed in, and sign themselves out there."""

from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.state import AppState
from app.services.sessions import MOST_LISTED
from tests.conftest import FakeClock, browser
from tests.factories import PASSWORD, Person, make_user, sign_in

pytestmark = pytest.mark.anyio

SESSIONS = "/api/v1/auth/sessions"
OURS = {"X-GTM-Request": "1"}


async def signed_in(app: FastAPI, person: Person, *, address: str = "192.0.2.10", **headers: str) -> Any:
    """A browser of this person, its cookie included."""
    client = browser(app, address=address, **headers)
    show(client, await client.post("/api/v1/auth/login", data={"username": person.email, "password": PASSWORD}))
    return client


async def renew(client: httpx2.AsyncClient) -> None:
    show(client, await client.post("/api/v1/auth/refresh", headers=OURS))


def show(client: httpx2.AsyncClient, answer: httpx2.Response) -> None:
    """Send this answer's token from now on."""
    assert answer.status_code == 200, answer.text
    client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


async def sessions_of(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get(SESSIONS)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def audited(state: AppState, action: str) -> list[Any]:
    async with state.database.autocommit() as connection:
        rows = await connection.execute(
            text("SELECT * FROM audit_entries WHERE action = :action ORDER BY id"), {"action": action}
        )
        return list(rows.all())


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", SESSIONS), ("DELETE", f"{SESSIONS}/{UUID(int=7)}"), ("POST", f"{SESSIONS}/end-others")],
)
async def test_nobody_in_particular_has_no_sessions(client: httpx2.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


async def test_people_see_where_they_are_signed_in(
    app: FastAPI, state: AppState, user: Person, clock: FakeClock
) -> None:
    await sign_in(state, await make_user(state))
    home = await signed_in(app, user, address="198.51.100.7", **{"User-Agent": "Firefox at home"})
    clock.advance(hours=1)
    office = await signed_in(app, user, **{"User-Agent": "Chromium in the office"})
    clock.advance(hours=1)
    await renew(home)
    clock.advance(minutes=5)
    of_home, of_office = await sessions_of(home)
    of_home.pop("id")
    assert of_home == {
        "created_at": "2026-03-10T12:00:00Z",
        "last_used_at": "2026-03-10T14:00:00Z",
        "expires_at": "2026-03-17T12:00:00Z",
        "address": "198.51.100.7",
        "user_agent": "Firefox at home",
        "current": True,
    }
    assert (of_office["user_agent"], of_office["address"], of_office["current"]) == (
        "Chromium in the office",
        "192.0.2.10",
        False,
    )
    assert of_office["created_at"] == of_office["last_used_at"] == "2026-03-10T13:00:00Z"
    await renew(office)
    assert (await sessions_of(office))[0] == of_office | {"current": True, "last_used_at": "2026-03-10T14:05:00Z"}


async def test_what_has_ended_is_not_listed(app: FastAPI, user: Person, clock: FakeClock) -> None:
    left = await signed_in(app, user)
    await left.post("/api/v1/auth/logout", headers=OURS)
    clock.advance(days=6, minutes=1)
    client = await signed_in(app, user)
    assert [session["current"] for session in await sessions_of(client)] == [True]
    clock.advance(minutes=10)
    await signed_in(app, user)
    assert len(await sessions_of(client)) == 2


async def test_a_session_that_is_ended_is_refused_at_once(app: FastAPI, state: AppState, user: Person) -> None:
    here = await signed_in(app, user)
    there = await signed_in(app, user, address="198.51.100.7", **{"User-Agent": "Firefox at home"})
    [other] = [session for session in await sessions_of(here) if not session["current"]]
    answer = await here.delete(f"{SESSIONS}/{other['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await there.get("/api/v1/auth/me")).status_code == 401
    assert (await there.post("/api/v1/auth/refresh", headers=OURS)).status_code == 401
    assert [session["current"] for session in await sessions_of(here)] == [True]
    [entry] = await audited(state, "session.ended")
    assert (entry.actor_user_id, entry.target_type, entry.target_id) == (user.id, "user", user.id)
    assert entry.details == {"email": user.email, "address": "198.51.100.7", "user_agent": "Firefox at home"}
    assert str(entry.address) == "192.0.2.10"


async def test_ending_ones_own_session_is_signing_out(app: FastAPI, user: Person) -> None:
    client = await signed_in(app, user)
    [session] = await sessions_of(client)
    assert (await client.delete(f"{SESSIONS}/{session['id']}")).status_code == 204
    assert (await client.get(SESSIONS)).status_code == 401


async def test_a_session_of_another_an_unknown_one_and_one_that_has_ended_are_not_found(
    app: FastAPI, state: AppState, user: Person, as_admin: httpx2.AsyncClient
) -> None:
    client, ended = await signed_in(app, user), await signed_in(app, user)
    [own] = [session["id"] for session in await sessions_of(ended) if session["current"]]
    await ended.post("/api/v1/auth/logout", headers=OURS)
    foreign = (await sessions_of(as_admin))[0]["id"]
    for session_id in (foreign, own, uuid4()):
        answer = await client.delete(f"{SESSIONS}/{session_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert len(await sessions_of(as_admin)) == 1
    assert await audited(state, "session.ended") == []


async def test_what_is_no_id_is_told_at_its_place(as_user: httpx2.AsyncClient) -> None:
    answer = await as_user.delete(f"{SESSIONS}/7")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation-failed")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/path/session_id"]


async def test_ending_the_others_leaves_this_one_and_other_people_alone(
    app: FastAPI, state: AppState, user: Person, as_admin: httpx2.AsyncClient
) -> None:
    here, *others = [await signed_in(app, user) for _ in range(3)]
    for _ in range(2):
        answer = await here.post(f"{SESSIONS}/end-others")
        assert (answer.status_code, answer.content) == (204, b"")
    for other in others:
        assert (await other.get("/api/v1/auth/me")).status_code == 401
        assert (await other.post("/api/v1/auth/refresh", headers=OURS)).status_code == 401
    assert [session["current"] for session in await sessions_of(here)] == [True]
    assert (await here.post("/api/v1/auth/refresh", headers=OURS)).status_code == 200
    assert (await as_admin.get("/api/v1/auth/me")).status_code == 200
    [entry] = await audited(state, "session.others_ended")
    assert (entry.actor_user_id, entry.target_id) == (user.id, user.id)
    assert entry.details == {"email": user.email, "count": 2}


async def test_of_very_many_sessions_those_used_last_are_listed_and_all_can_be_ended(
    app: FastAPI, state: AppState, user: Person, clock: FakeClock
) -> None:
    """Programs that sign in for every call leave a session each."""
    async with state.database.autocommit() as connection:
        await connection.execute(
            text(
                "INSERT INTO sessions (id, user_id, token_sha256, rotated_at, created_at, expires_at) "
                "SELECT gen_random_uuid(), :user_id, '\\x00', CAST(:now AS timestamptz) - n * interval '1 minute', "
                ":now, CAST(:now AS timestamptz) + interval '1 day' FROM generate_series(1, :count) n"
            ),
            {"user_id": user.id, "now": clock.now, "count": MOST_LISTED + 5},
        )
    client = await signed_in(app, user)
    listed = await sessions_of(client)
    assert len(listed) == MOST_LISTED
    assert listed[0]["current"] is True
    assert listed[-1]["last_used_at"] > "2026-03-10T10:1"
    await client.post(f"{SESSIONS}/end-others")
    assert len(await sessions_of(client)) == 1
