"""Who may do what: every operation of the service asked by everybody."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from app.api.state import AppState
from app.domain.identity import Scope
from tests.api.fingerprint import fingerprint
from tests.api.operations import BODIES, FORMS, Operation, a_place_for, arguments_of, ask, operations_of
from tests.conftest import FakeClock, browser
from tests.factories import PASSWORD, Person, make_fleet, make_job, make_token, make_user
from tests.streams import open_stream

pytestmark = pytest.mark.anyio

PUBLIC = {
    "GET /",
    "GET /api/v1/about",
    "GET /docs",
    "GET /health",
    "GET /livez",
    "GET /metrics",
    "GET /openapi.json",
    "GET /readyz",
    "GET /ui",
    "POST /api/v1/auth/login",
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/refresh",
    "POST /api/v1/auth/register",
}
"""All that may be asked without an access token. `refresh` and `logout` want the cookie instead."""

NOBODYS_TO_SEND: Mapping[str, Any] = {
    "id": 1,
    "user_id": 1,
    "owner": {"id": 1},
    "is_admin": True,
    "is_active": True,
    "role": "admin",
    "token_version": 9,
    "password_hash": "x",
    "session_id": "x",
    "token": "gtm_x",
    "expires_at": "2030-01-01T00:00:00Z",
    "status": "COMPLETED",
    "actions": ["start"],
    "reserved_seconds": 0,
    "reserved_gpu_hours": 0,
    "used_seconds": 0,
    "used_hours": 0,
    "charged_seconds": 0,
    "charged_gpu_hours": 0,
    "limit_seconds": 1,
    "quota_id": 1,
    "run_id": "00000000-0000-0000-0000-000000000000",
    "gpus": [],
    "executor": "local",
    "exit_code": 0,
    "decided_by": 1,
    "decided_at": "2020-01-01T00:00:00Z",
    "created_at": "2020-01-01T00:00:00Z",
    "actor_user_id": 1,
}
FOR_SIGNED_IN = {
    "DELETE /api/v1/auth/sessions/{session_id}",
    "DELETE /api/v1/auth/tokens/{token_id}",
    "GET /api/v1/auth/sessions",
    "PATCH /api/v1/auth/me",
    "POST /api/v1/auth/password",
    "POST /api/v1/auth/sessions/end-others",
    "POST /api/v1/auth/tokens",
}
"""What no personal token opens. Of tokens it opens the end of itself alone."""

FOR_ANY_TOKEN = {"GET /api/v1/auth/me", "GET /api/v1/auth/tokens"}
FOR_WRITERS = {"POST /api/v1/jobs", "POST /api/v1/jobs/validate", "POST /api/v1/jobs/{job_id}/cancel"}
OURS = {"X-GTM-Request": "1"}
UNKNOWN_ID = 4_000_000_000

SignIn = Callable[[Person], Awaitable[str]]


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


@pytest.fixture
async def owner(state: AppState) -> Person:
    """Whose things the others ask for."""
    return await make_user(state, full_name="Omid")


@pytest.fixture
async def places(app: FastAPI, state: AppState, owner: Person, admin: Person) -> Mapping[Operation, str]:
    """Every operation with a path under which it finds something of the owner's."""
    return {
        operation: await a_place_for(operation, state, owner, admin)
        for operation in operations_of(app)
        if operation.path != "/ui"
    }


@pytest.fixture
async def dead_tokens(
    app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient, token_for: SignIn, clock: FakeClock
) -> Mapping[str, str]:
    """Access tokens that were good a moment ago, by what happened since."""
    tokens: dict[str, str] = {}

    async def someone(what_happened: str, **rights: bool) -> str:
        person = await make_user(state, **rights)
        tokens[what_happened] = await token_for(person)
        return f"/api/v1/admin/users/{person.id}"

    now = clock.now
    clock.advance(minutes=-20)
    await someone("expired")
    clock.advance(minutes=40)
    await someone("not valid yet")
    clock.now = now
    await as_admin.patch(await someone("disabled"), json={"is_active": False})
    path = await someone("disabled and enabled again")
    await as_admin.patch(path, json={"is_active": False})
    await as_admin.patch(path, json={"is_active": True})
    await as_admin.patch(await someone("demoted", is_admin=True), json={"is_admin": False})
    await as_admin.patch(await someone("promoted"), json={"is_admin": True})
    person = await make_user(state)
    async with browser(app) as client:
        tokens["changed the password"] = token = await token_for(person)
        body = {"current_password": PASSWORD, "new_password": "another-River-72-lantern"}
        changed = await client.post("/api/v1/auth/password", json=body, headers={"Authorization": f"Bearer {token}"})
        assert changed.status_code == 204
    person = await make_user(state)
    async with browser(app) as client:
        form = {"username": person.email, "password": PASSWORD}
        tokens["signed out"] = (await client.post("/api/v1/auth/login", data=form)).json()["access_token"]
        assert (await client.post("/api/v1/auth/logout", headers=OURS)).status_code == 204
    for what_happened, change in (("disabled", "is_active"), ("demoted", "is_admin")):
        person = await make_user(state, is_admin=True)
        tokens[f"personal, {what_happened}"] = (await make_token(state, person)).secret
        await as_admin.patch(f"/api/v1/admin/users/{person.id}", json={change: False})
        await as_admin.patch(f"/api/v1/admin/users/{person.id}", json={change: True})
    person = await make_user(state)
    clock.advance(days=-40)
    tokens["personal, expired"] = (await make_token(state, person)).secret
    clock.now = now
    revoked = await make_token(state, person)
    tokens["personal, revoked"] = revoked.secret
    async with browser(app, token=revoked.secret) as client:
        assert (await client.delete(f"/api/v1/auth/tokens/{revoked.id}")).status_code == 204
    tokens["personal, never made"] = "gtm_" + "A" * 43
    tokens["personal, cut off"] = (await make_token(state, person)).secret[:-1]
    return tokens


async def test_the_list_of_public_operations_names_real_ones(app: FastAPI) -> None:
    assert {str(operation) for operation in operations_of(app)} >= PUBLIC


async def test_a_stranger_gets_nothing_but_what_is_public(
    app: FastAPI, client: httpx2.AsyncClient, state: AppState, places: Mapping[Operation, str]
) -> None:
    before = await _written(state)
    answers = {
        str(operation): await ask(app, client, operation, path)
        for operation, path in places.items()
        if str(operation) not in PUBLIC
    }
    assert len(answers) > 30
    assert _but(answers, 401, "not-authenticated") == {}
    assert await _written(state) == before


async def test_what_is_public_asks_for_no_token(
    app: FastAPI, client: httpx2.AsyncClient, places: Mapping[Operation, str]
) -> None:
    answers = {
        str(operation): await ask(app, client, operation, path)
        for operation, path in places.items()
        if str(operation) in PUBLIC
    }
    refused = {label: code for label, (status, code) in answers.items() if status in (401, 403)}
    assert refused == {
        "POST /api/v1/auth/login": "invalid-credentials",
        "POST /api/v1/auth/refresh": "not-authenticated",
    }
    async with open_stream(app, "/ui/index.html") as page:
        assert page.status == 200


async def test_a_token_that_has_died_opens_nothing(
    app: FastAPI, state: AppState, places: Mapping[Operation, str], dead_tokens: Mapping[str, str]
) -> None:
    before = await _written(state)
    answers = {}
    for what_happened, token in dead_tokens.items():
        async with browser(app, token=token) as client:
            for operation, path in places.items():
                if str(operation) not in PUBLIC:
                    answers[f"{what_happened}: {operation}"] = await ask(app, client, operation, path)
    assert len(answers) > 200
    assert _but(answers, 401, "not-authenticated") == {}
    assert await _written(state) == before


async def test_a_token_is_good_until_it_dies(app: FastAPI, user: Person, token_for: SignIn, clock: FakeClock) -> None:
    async with browser(app, token=await token_for(user)) as client:
        assert (await client.get("/api/v1/auth/me")).status_code == 200
        clock.advance(minutes=14)
        assert (await client.get("/api/v1/auth/me")).status_code == 200
        clock.advance(minutes=2)
        assert (await client.get("/api/v1/auth/me")).status_code == 401


async def test_a_refusal_for_want_of_a_token_says_which_kind_is_wanted(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/jobs")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/jobs/{job_id}/log?follow=true"])
async def test_streams_are_closed_to_strangers_and_to_dead_tokens(
    app: FastAPI, state: AppState, owner: Person, dead_tokens: Mapping[str, str], path: str
) -> None:
    path = path.format(job_id=(await make_job(state, owner)).id)
    for token in (None, *dead_tokens.values()):
        async with open_stream(app, path, token=token) as stream:
            assert stream.status == 401


async def test_what_admins_do_is_forbidden_to_users_and_to_former_admins(
    app: FastAPI,
    state: AppState,
    as_admin: httpx2.AsyncClient,
    user: Person,
    token_for: SignIn,
    places: Mapping[Operation, str],
) -> None:
    former = await make_user(state, is_admin=True)
    await as_admin.patch(f"/api/v1/admin/users/{former.id}", json={"is_admin": False})
    tokens = [await token_for(user), await token_for(former)]
    before = await _written(state)
    for token in tokens:
        async with browser(app, token=token) as client:
            answers = {
                str(operation): await ask(app, client, operation, path)
                for operation, path in places.items()
                if operation.is_of_admins
            }
        assert len(answers) > 15
        assert _but(answers, 403, "admin-required") == {}
    assert await _written(state) == before


async def test_what_belongs_to_another_looks_like_nothing_at_all(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, places: Mapping[Operation, str]
) -> None:
    """The whole answer is the same, headers included, whether the id is somebody's or nobody's."""
    same_id = {"X-Request-ID": "same"}
    nothing = {
        "job_id": UNKNOWN_ID,
        "user_id": UNKNOWN_ID,
        "gpu_id": UNKNOWN_ID,
        "session_id": uuid4(),
        "token_id": uuid4(),
    }
    compared = 0
    before = await _written(state)
    for operation, path in places.items():
        if "{" not in operation.path:
            continue
        arguments = arguments_of(operation, app.openapi())
        arguments["headers"] |= same_id
        foreign = await as_user.request(operation.method, path, **arguments)
        unknown = await as_user.request(operation.method, operation.at(**nothing), **arguments)
        expected = (403, "admin-required") if operation.is_of_admins else (404, "not-found")
        assert (foreign.status_code, foreign.json()["code"]) == expected, str(operation)
        assert (foreign.status_code, foreign.headers, foreign.content) == (
            unknown.status_code,
            unknown.headers,
            unknown.content,
        ), str(operation)
        compared += 1
    assert compared > 15
    assert await _written(state) == before


async def test_people_may_do_with_their_own_things_what_they_are_for(
    app: FastAPI, places: Mapping[Operation, str], owner: Person, token_for: SignIn
) -> None:
    async with browser(app, token=await token_for(owner)) as client:
        answers = {
            str(operation): await ask(app, client, operation, path)
            for operation, path in _sign_outs_last(places)
            if str(operation) not in PUBLIC and not operation.is_of_admins
        }
    assert {label: answer for label, answer in answers.items() if answer[0] not in (200, 201, 204)} == {}


async def test_admins_may_do_everything_but_end_the_sessions_and_tokens_of_others(
    app: FastAPI, as_admin: httpx2.AsyncClient, places: Mapping[Operation, str]
) -> None:
    answers = {
        str(operation): await ask(app, as_admin, operation, path)
        for operation, path in _sign_outs_last(places)
        if str(operation) not in PUBLIC and not operation.is_of_the_owner_alone
    }
    assert {label: answer for label, answer in answers.items() if answer[0] not in (200, 201, 204, 207)} == {}


@pytest.mark.parametrize("scope", Scope)
async def test_a_personal_token_opens_what_its_scope_names_and_nothing_else(
    app: FastAPI, state: AppState, admin: Person, owner: Person, scope: Scope
) -> None:
    """The token of an admin, so that nothing but the scope can be the reason of a refusal."""
    token = (await make_token(state, admin, scopes=[scope])).secret
    refused, opened = {}, set()
    async with browser(app, token=token) as client:
        for operation in operations_of(app):
            label = str(operation)
            if label in PUBLIC or operation.path == "/ui":
                continue
            theirs = owner if operation.is_of_admins else admin
            status, code = await ask(app, client, operation, await a_place_for(operation, state, theirs, admin))
            if status in (401, 403):
                refused[label] = (status, code)
            else:
                assert status in (200, 201, 204, 207), f"{label}: {status} {code}"
                opened.add(label)
    everything = refused.keys() | opened
    of_admins = {label for label in everything if "/api/v1/admin/" in label}
    readable = {label for label in everything if label.startswith("GET ")} - of_admins - FOR_SIGNED_IN - FOR_ANY_TOKEN
    for_scope = {Scope.JOBS_READ: readable, Scope.JOBS_WRITE: FOR_WRITERS, Scope.ADMIN: of_admins}
    assert opened == for_scope[scope] | FOR_ANY_TOKEN
    assert {label for label, answer in refused.items() if answer == (403, "sign-in-required")} == FOR_SIGNED_IN
    assert {answer for label, answer in refused.items() if label not in FOR_SIGNED_IN} == {(403, "scope-missing")}


async def test_an_admin_who_was_demoted_has_no_rights_in_the_next_request(
    app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient
) -> None:
    other = await make_user(state, is_admin=True)
    form = {"username": other.email, "password": PASSWORD}
    async with browser(app) as client:
        token = (await client.post("/api/v1/auth/login", data=form)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/api/v1/admin/users", headers=headers)).status_code == 200
        await as_admin.patch(f"/api/v1/admin/users/{other.id}", json={"is_admin": False})
        assert (await client.get("/api/v1/admin/users", headers=headers)).status_code == 401
        token = (await client.post("/api/v1/auth/refresh", headers=OURS)).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/api/v1/admin/users", headers=headers)).status_code == 403
        assert (await client.get("/api/v1/jobs", headers=headers)).status_code == 200


async def test_no_body_may_carry_what_is_not_its_senders_to_say(
    app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient, places: Mapping[Operation, str]
) -> None:
    """Asked by an admin, so that nothing but the field itself can be the reason of the refusal."""
    document = app.openapi()
    asked = 0
    before = await _written(state)
    for operation, path in places.items():
        body = arguments_of(operation, document).get("json")
        if body is None:
            continue
        for name, value in NOBODYS_TO_SEND.items():
            if name in body:
                continue
            answer = await as_admin.request(operation.method, path, json={**body, name: value})
            assert answer.status_code == 422, f"{operation} takes {name}: {answer.text}"
            assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{name}"], f"{operation}, {name}"
            asked += 1
    assert asked > 250
    decisions = {"decisions": [{"job_id": 1, "action": "approve", "status": "COMPLETED"}]}
    answer = await as_admin.post("/api/v1/admin/jobs/decisions", json=decisions)
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/decisions/0/status"]
    assert await _written(state) == before


async def test_every_operation_with_a_body_is_among_those_asked(app: FastAPI) -> None:
    described = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation
    }
    assert described == BODIES.keys() | FORMS.keys()


async def test_what_else_stands_in_the_form_of_a_sign_in_means_nothing(
    client: httpx2.AsyncClient, user: Person
) -> None:
    """OAuth2 wants unknown fields ignored, so they are not refused here: they do nothing."""
    form = {"username": user.email, "password": PASSWORD} | dict.fromkeys(NOBODYS_TO_SEND, "1")
    token = (await client.post("/api/v1/auth/login", data=form)).json()["access_token"]
    me = (await client.get("/api/v1/auth/me", headers={"Authorization": f"Bearer {token}"})).json()
    assert (me["id"], me["is_admin"]) == (user.id, False)


def _sign_outs_last(places: Mapping[Operation, str]) -> list[tuple[Operation, str]]:
    """What ends other sessions comes late, and changing the password, which ends one's own token, comes last."""
    order = ("/end-others", "/password")
    return sorted(places.items(), key=lambda place: [place[0].path.endswith(ending) for ending in reversed(order)])


def _but(answers: Mapping[str, tuple[int, str]], status: int, code: str) -> dict[str, tuple[int, str]]:
    """The answers that are others than this one."""
    return {label: answer for label, answer in answers.items() if answer != (status, code)}


async def _written(state: AppState) -> str:
    async with state.database.autocommit() as connection:
        return await fingerprint(connection)
