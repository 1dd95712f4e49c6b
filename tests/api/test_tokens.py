"""Personal access tokens: made once, shown once, good for what their scopes say, and refused at once when they end."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.state import AppState
from app.domain.identity import Scope
from app.services import auth
from app.services.tokens import MOST_TOKENS
from tests.conftest import FakeClock, browser
from tests.factories import PASSWORD, Person, make_fleet, make_job, make_token, make_user
from tests.streams import open_stream

pytestmark = pytest.mark.anyio

TOKENS = "/api/v1/auth/tokens"
NEW_PASSWORD = "another-River-72-lantern"


async def audited(state: AppState, action: str) -> list[Any]:
    async with state.database.autocommit() as connection:
        found = text("SELECT actor_user_id, target_id, details FROM audit_entries WHERE action = :action ORDER BY id")
        return list((await connection.execute(found, {"action": action})).all())


async def status_of(app: FastAPI, token: str, path: str = "/api/v1/auth/me") -> int:
    async with browser(app, token=token) as client:
        return (await client.get(path)).status_code


@pytest.mark.parametrize(("method", "path"), [("GET", TOKENS), ("POST", TOKENS), ("DELETE", f"{TOKENS}/{UUID(int=7)}")])
async def test_nobody_in_particular_has_no_tokens(client: httpx2.AsyncClient, method: str, path: str) -> None:
    body = {"name": "nightly", "scopes": ["jobs:read"]} if method == "POST" else None
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


async def test_a_new_token_is_shown_once_and_kept_as_a_digest(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, user: Person
) -> None:
    answer = await as_user.post(TOKENS, json={"name": "nightly runs", "scopes": ["jobs:write", "jobs:read"]})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    secret = made.pop("token")
    assert secret.startswith("gtm_")
    assert len(secret) == 4 + 43  # 256 bits as text
    token_id = made.pop("id")
    assert made == {
        "name": "nightly runs",
        "scopes": ["jobs:read", "jobs:write"],
        "created_at": "2026-03-10T12:00:00Z",
        "expires_at": "2026-04-09T12:00:00Z",
        "last_used_at": None,
        "current": False,
    }
    assert await status_of(app, secret) == 200
    (listed,) = (await as_user.get(TOKENS)).json()
    assert listed == {**made, "id": token_id, "last_used_at": "2026-03-10T12:00:00Z"}
    async with state.database.autocommit() as connection:
        stored = await connection.execute(text("SELECT token_sha256 FROM personal_access_tokens"))
        assert stored.scalar_one() == hashlib.sha256(secret.encode()).digest()
    ((actor, target, details),) = await audited(state, "token.created")
    assert (actor, target) == (user.id, user.id)
    assert details == {
        "email": user.email,
        "name": "nightly runs",
        "scopes": ["jobs:read", "jobs:write"],
        "expires_at": "2026-04-09T12:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"scopes": ["jobs:read"]}, "/name"),
        ({"name": " ", "scopes": ["jobs:read"]}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["everything"]}, "/scopes/0"),
        ({"name": "x", "scopes": ["jobs:read"], "expires_in_days": 0}, "/expires_in_days"),
        ({"name": "x", "scopes": ["jobs:read"], "expires_in_days": 366}, "/expires_in_days"),
    ],
)
async def test_a_token_needs_a_name_scopes_and_an_end_within_a_year(
    as_user: httpx2.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    answer = await as_user.post(TOKENS, json=body)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_only_admins_make_tokens_for_admins(as_user: httpx2.AsyncClient, as_admin: httpx2.AsyncClient) -> None:
    body = {"name": "reports", "scopes": ["admin"]}
    refused = await as_user.post(TOKENS, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "admin-required")
    assert (await as_admin.post(TOKENS, json=body)).status_code == 201


async def test_a_token_ends_by_itself(app: FastAPI, state: AppState, user: Person, clock: FakeClock) -> None:
    token = await make_token(state, user, days=365)
    clock.advance(days=364)
    assert await status_of(app, token.secret) == 200
    clock.advance(days=1)
    assert await status_of(app, token.secret) == 401
    async with browser(app, token=(await make_token(state, user)).secret) as client:
        assert [each["current"] for each in (await client.get(TOKENS)).json()] == [True]


async def test_people_see_when_a_token_was_used_last_to_the_minute(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, user: Person, clock: FakeClock
) -> None:
    token = await make_token(state, user)

    async def last_used() -> str:
        (listed,) = (await as_user.get(TOKENS)).json()
        return str(listed["last_used_at"])

    await status_of(app, token.secret)
    clock.advance(seconds=59)
    await status_of(app, token.secret)
    assert await last_used() == "2026-03-10T12:00:00Z"
    clock.advance(seconds=1)
    await status_of(app, token.secret)
    assert await last_used() == "2026-03-10T12:01:00Z"


async def test_a_revoked_token_is_refused_at_once(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, user: Person
) -> None:
    token = await make_token(state, user)
    assert await status_of(app, token.secret) == 200
    assert (await as_user.delete(f"{TOKENS}/{token.id}")).status_code == 204
    assert await status_of(app, token.secret) == 401
    assert (await as_user.get(TOKENS)).json() == []
    again = await as_user.delete(f"{TOKENS}/{token.id}")
    assert (again.status_code, again.json()["code"]) == (404, "not-found")
    ((actor, target, details),) = await audited(state, "token.revoked")
    assert (actor, target, details) == (user.id, user.id, {"email": user.email, "name": "nightly runs"})


async def test_a_program_revokes_its_own_token_and_no_other(app: FastAPI, state: AppState, user: Person) -> None:
    own, other = await make_token(state, user, scopes=[Scope.JOBS_READ]), await make_token(state, user)
    async with browser(app, token=own.secret) as client:
        refused = await client.delete(f"{TOKENS}/{other.id}")
        assert (refused.status_code, refused.json()["code"]) == (403, "sign-in-required")
        assert (await client.delete(f"{TOKENS}/{own.id}")).status_code == 204
        assert (await client.get(TOKENS)).status_code == 401
    assert await status_of(app, other.secret) == 200


async def test_another_persons_token_is_not_found(state: AppState, as_user: httpx2.AsyncClient) -> None:
    token = await make_token(state, await make_user(state))
    answer = await as_user.delete(f"{TOKENS}/{token.id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_a_new_password_ends_the_tokens(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, user: Person
) -> None:
    token = await make_token(state, user)
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await as_user.post("/api/v1/auth/password", json=body)).status_code == 204
    assert await status_of(app, token.secret) == 401


async def test_a_password_that_is_only_hashed_anew_ends_no_token(app: FastAPI, state: AppState, user: Person) -> None:
    token = await make_token(state, user)
    async with state.database.transaction() as connection:
        await auth.audit.set_actor(connection, auth.REHASH_PROCESS)
        await connection.execute(text("UPDATE users SET password_hash = '$2b$04$' || repeat('a', 53)"))
    assert await status_of(app, token.secret) == 200


async def test_rights_that_are_taken_by_sql_end_the_tokens_too(app: FastAPI, state: AppState, admin: Person) -> None:
    await make_user(state, is_admin=True)
    token = await make_token(state, admin)
    async with state.database.transaction() as connection:
        await connection.execute(text("UPDATE users SET is_admin = false WHERE id = :id"), {"id": admin.id})
    assert await status_of(app, token.secret) == 401


async def test_an_admins_token_without_the_scope_sees_what_any_user_sees(
    app: FastAPI, state: AppState, user: Person, admin: Person
) -> None:
    await make_fleet(state)
    job = await make_job(state, user)
    path = f"/api/v1/jobs/{job.id}"
    limited = await make_token(state, admin, scopes=[Scope.JOBS_READ, Scope.JOBS_WRITE])
    full = await make_token(state, admin)
    assert (await status_of(app, limited.secret, path), await status_of(app, full.secret, path)) == (404, 200)
    async with browser(app, token=limited.secret) as client:
        assert (await client.post(f"{path}/cancel")).status_code == 404


async def test_a_missing_scope_is_named(app: FastAPI, state: AppState, user: Person) -> None:
    token = await make_token(state, user, scopes=[Scope.JOBS_READ])
    async with browser(app, token=token.secret) as client:
        refused = await client.post("/api/v1/jobs/1/cancel", headers={"Accept-Language": "fa"})
    assert refused.status_code == 403
    assert refused.json()["needed"] == "jobs:write"
    assert "jobs:write" in refused.json()["detail"]
    assert refused.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="jobs:write"'


async def test_the_number_of_tokens_has_a_limit(state: AppState, as_user: httpx2.AsyncClient, user: Person) -> None:
    for _ in range(MOST_TOKENS - 1):
        await make_token(state, user)
    body = {"name": "one more", "scopes": ["jobs:read"]}
    answers = await asyncio.gather(*(as_user.post(TOKENS, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "too-many-tokens"}
    assert len((await as_user.get(TOKENS)).json()) == MOST_TOKENS


async def test_a_stream_ends_when_its_token_is_revoked(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, user: Person
) -> None:
    token = await make_token(state, user, scopes=[Scope.JOBS_READ])
    async with open_stream(app, "/api/v1/events", token=token.secret) as stream:
        assert stream.status == 200
        await state.feed.close_ended_streams()
        assert [len(streams) for streams in state.feed._subscriptions.values()] == [1]
        await as_user.delete(f"{TOKENS}/{token.id}")
        await state.feed.close_ended_streams()
        await stream.read_to_end()
