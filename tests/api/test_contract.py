"""What holds for the HTTP contract as a whole: for every operation, every list, every way to fail, every code."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from app.api.errors import HTTP_CODES
from app.api.state import AppState
from app.core.config import Settings
from app.domain.errors import DomainError
from app.schemas.messages import LANGUAGES, sentences
from tests.api.operations import HEADERS, JOB, Operation, a_place_for, arguments_of, operations_of
from tests.api.outages import database_away
from tests.conftest import FakeClock, browser
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, sign_in, start_job

pytestmark = pytest.mark.anyio

StartService = Callable[[Settings], AbstractAsyncContextManager[FastAPI]]

CODES = {
    "adjustment-out-of-range",
    "admin-required",
    "scope-missing",
    "sign-in-required",
    "too-many-tokens",
    "content-too-large",
    "database-unavailable",
    "email-domain-refused",
    "email-refused",
    "email-taken",
    "engine-gives-out-gpus",
    "exceeds-fleet",
    "exceeds-monthly-quota",
    "idempotency-key-reused",
    "internal-error",
    "invalid-credentials",
    "invalid-cursor",
    "job-state-conflict",
    "last-admin",
    "log-unavailable",
    "malformed-body",
    "method-not-allowed",
    "metrics-token-missing",
    "no-capacity",
    "not-authenticated",
    "not-found",
    "not-ready",
    "password-refused",
    "quota-below-use",
    "refund-out-of-range",
    "request-differs",
    "registration-closed",
    "quota-exceeded",
    "route-not-found",
    "service-busy",
    "too-many-attempts",
    "unknown-gpu-type",
    "unsupported-media-type",
    "validation-failed",
}
"""Programs of others look at these: one may be added, none may go or be renamed."""

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
LOOKS_LIKE_A_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")
PERSIAN = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


@dataclass
class Failure:
    """One way to fail. `more` names the members that its problem has beside those that all have."""

    status: int
    code: str
    method: str = "GET"
    path: str = "/api/v1/jobs"
    more: set[str] = field(default_factory=set)
    arguments: Mapping[str, Any] = field(default_factory=dict)


def as_json(content: bytes, content_type: str = "application/json") -> Mapping[str, Any]:
    return {"content": content, "headers": {"Content-Type": content_type}}


FIELDS = {"errors"}
FAILURES = {
    "no body at all": Failure(422, "validation-failed", "POST", more=FIELDS),
    "no JSON": Failure(422, "validation-failed", "POST", more=FIELDS, arguments=as_json(b'{"name": ')),
    "no UTF-8": Failure(400, "malformed-body", "POST", arguments=as_json(b'{"name": "\xff"}')),
    "no object": Failure(422, "validation-failed", "POST", more=FIELDS, arguments=as_json(b"[]")),
    "a wrong field": Failure(422, "validation-failed", "POST", more=FIELDS, arguments={"json": {**JOB, "num_gpus": 0}}),
    "another type": Failure(415, "unsupported-media-type", "POST", arguments=as_json(b"name=x", "text/plain")),
    "too large": Failure(413, "content-too-large", "POST", arguments=as_json(b" " * 65_537)),
    "a wrong parameter": Failure(422, "validation-failed", path="/api/v1/jobs?limit=0", more=FIELDS),
    "an unknown parameter": Failure(422, "validation-failed", path="/api/v1/jobs?colour=red", more=FIELDS),
    "a made-up cursor": Failure(422, "invalid-cursor", path="/api/v1/jobs?cursor=AAAA"),
    "an unknown id": Failure(404, "not-found", path="/api/v1/jobs/4000000000"),
    "no id": Failure(422, "validation-failed", path="/api/v1/jobs/one", more=FIELDS),
    "no such address": Failure(404, "route-not-found", path="/api/v1/job"),
    "another method": Failure(405, "method-not-allowed", "DELETE"),
    "an unknown GPU type": Failure(
        422, "unknown-gpu-type", "POST", more={"known", "errors"}, arguments={"json": {**JOB, "gpu_type": "H900"}}
    ),
    "more than there is": Failure(
        409,
        "exceeds-fleet",
        "POST",
        more={"gpu_type", "needed", "total"},
        arguments={"json": {**JOB, "num_gpus": 64}},
    ),
    "more than the month": Failure(
        409,
        "exceeds-monthly-quota",
        "POST",
        more={"needed_hours", "limit_hours"},
        arguments={"json": {**JOB, "num_gpus": 8, "estimated_hours": 700}},
    ),
    "a right that one has not": Failure(403, "admin-required", path="/api/v1/admin/jobs"),
    "another's address": Failure(
        409, "email-taken", "POST", "/api/v1/auth/register", arguments={"json": {"email": "", "password": "x" * 40}}
    ),
    "a password of all": Failure(
        422,
        "password-refused",
        "POST",
        "/api/v1/auth/register",
        more={"rule", "errors"},
        arguments={"json": {"email": "new@example.com", "password": "password"}},
    ),
    "nobody's password": Failure(
        401,
        "invalid-credentials",
        "POST",
        "/api/v1/auth/login",
        arguments={"data": {"username": "nobody@example.com", "password": "x"}},
    ),
    "no cookie": Failure(
        401,
        "not-authenticated",
        "POST",
        "/api/v1/auth/refresh",
        arguments={"headers": HEADERS["POST /api/v1/auth/refresh"]},
    ),
    "no dispatcher": Failure(
        503,
        "not-ready",
        path="/readyz",
        more={"database", "migrations", "dispatcher", "lease_age_seconds"},
    ),
}


@pytest.mark.parametrize("what", FAILURES)
async def test_a_failure_is_told_in_both_languages_with_just_these_members(
    as_user: httpx2.AsyncClient, user: Person, what: str
) -> None:
    failure = FAILURES[what]
    arguments = {**failure.arguments}
    if failure.code == "email-taken":
        arguments["json"] = {"email": user.email, "password": "quiet-River-71-lantern"}
    told = {}
    for language in LANGUAGES:
        headers = {**arguments.get("headers", {}), "Accept-Language": language, "X-Request-ID": "abc.1"}
        answer = await as_user.request(failure.method, failure.path, **{**arguments, "headers": headers})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (failure.status, failure.code), answer.text
        assert problem.keys() == MEMBERS | failure.more
        assert problem["status"] == failure.status
        assert problem["type"] == f"urn:gpu-task-manager:problem:{failure.code}"
        assert problem["request_id"] == answer.headers["X-Request-ID"] == "abc.1"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Content-Language"] == language
        for error in problem.get("errors", ()):
            assert error.keys() == {"pointer", "message"}
            assert error["message"]
        told[language] = (
            problem["title"],
            problem["detail"],
            *(error["message"] for error in problem.get("errors", ())),
        )
    assert all(persian != english for persian, english in zip(told["fa"], told["en"], strict=True))


async def test_conflicts_carry_what_is_needed_to_act(
    state: AppState, as_admin: httpx2.AsyncClient, user: Person, admin: Person
) -> None:
    job = await make_job(state, user, num_gpus=8)
    answer = await as_admin.post(f"/api/v1/admin/jobs/{job.id}/start")
    assert (answer.status_code, answer.json()["code"]) == (409, "job-state-conflict")
    assert answer.json().keys() == MEMBERS | {"job_id", "current_status", "allowed", "changed_by", "changed_at"}
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    waiting = await make_job(state, user)
    await approve_job(state, waiting.id, admin)
    answer = await as_admin.post(f"/api/v1/admin/jobs/{waiting.id}/start")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "no-capacity")
    assert problem.keys() == MEMBERS | {"gpu_type", "needed", "free", "held_by_jobs"}
    assert (problem["needed"], problem["free"], problem["held_by_jobs"]) == (1, 0, [job.id])
    assert (await as_admin.get(f"/api/v1/jobs/{waiting.id}")).json()["status"] == "APPROVED"


async def test_too_many_attempts_are_told_how_long_to_wait(client: httpx2.AsyncClient) -> None:
    form = {"username": "nobody@example.com", "password": "x"}
    for _ in range(10):
        await client.post("/api/v1/auth/login", data=form)
    answer = await client.post("/api/v1/auth/login", data=form)
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-attempts")
    assert answer.json().keys() == MEMBERS | {"retry_after"}
    assert answer.headers["Retry-After"] == str(answer.json()["retry_after"])


async def test_without_its_database_the_service_says_when_to_ask_again(
    settings: Settings, server_url: str, fresh_database_url: str, start_service: StartService
) -> None:
    own = settings.model_copy(update={"database_url": SecretStr(fresh_database_url)})
    async with start_service(own) as app:
        state: AppState = app.state.gtm
        person = await make_user(state, is_admin=True)
        async with browser(app, token=(await sign_in(state, person)).access_token) as client:
            assert (await client.get("/api/v1/jobs")).status_code == 200
            async with database_away(server_url, fresh_database_url):
                for operation in operations_of(app):
                    if not operation.path.startswith("/api/v1") or "{" in operation.path:
                        continue
                    arguments = arguments_of(operation, app.openapi())
                    answer = await client.request(operation.method, operation.path, **arguments)
                    if operation.path.endswith("/refresh"):  # without a cookie there is nothing to look up
                        assert answer.status_code == 401
                        continue
                    assert (answer.status_code, answer.json()["code"]) == (503, "database-unavailable"), str(operation)
                    assert answer.json().keys() == MEMBERS
                    assert int(answer.headers["Retry-After"]) > 0
                assert (await client.get("/livez")).status_code == 200
                assert (await client.get("/health")).json()["database"] == "failed"
                assert "gtm_database_up 0.0" in (await client.get("/metrics")).text
            assert (await client.get("/api/v1/jobs")).status_code == 200


async def test_codes_stay_what_they_are() -> None:
    of_the_domain = {kind.code for kind in _kinds_of(DomainError) if "code" in vars(kind)}
    of_http = {*HTTP_CODES.values(), "content-too-large", "unsupported-media-type", "not-ready", "internal-error"}
    assert of_the_domain | of_http == CODES


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_code_has_its_sentences_and_every_sentence_its_code(language: Any) -> None:
    known = sentences(language)
    titles = {key.split(".")[1] for key in known if re.fullmatch(r"error\.[a-z-]+\.title", key)}
    assert titles == CODES
    assert [code for code in sorted(CODES) if not known.get(f"error.{code}.detail")] == []


async def test_a_sentence_has_the_same_facts_in_both_languages() -> None:
    persian, english = (sentences(language) for language in LANGUAGES)
    assert persian.keys() == english.keys()
    different = [key for key in persian if _placeholders(persian[key]) != _placeholders(english[key])]
    assert different == []


async def test_every_operation_refuses_a_query_parameter_that_it_does_not_know(
    app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient, user: Person, admin: Person
) -> None:
    asked = 0
    for operation in operations_of(app):
        if not operation.path.startswith("/api/v1"):
            continue
        path = await a_place_for(operation, state, user, admin)
        arguments = arguments_of(operation, app.openapi())
        answer = await as_admin.request(operation.method, f"{path}?stauts=PENDING", **arguments)
        assert answer.status_code == 422, f"{operation}: {answer.text}"
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/stauts"], str(operation)
        asked += 1
    assert asked > 35


async def test_every_address_names_its_methods_to_who_uses_another(app: FastAPI, client: httpx2.AsyncClient) -> None:
    """Those of every operation whose path fits: `validate` could be the id of a job."""
    operations = operations_of(app)
    for path in {operation.path for operation in operations} - {"/ui"}:
        address = path.format(job_id=1, user_id=1, gpu_id=1, session_id=1, token_id=1)
        fitting = [each for each in operations if re.fullmatch(re.sub(r"{\w+}", "[^/]+", each.path), address)]
        methods = {each.method for each in fitting}
        for method in {"DELETE", "OPTIONS"} - methods:
            answer = await client.request(method, address)
            assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed"), path
            assert set(answer.headers["Allow"].split(", ")) - {"HEAD"} == methods, path


async def test_every_answer_is_one_that_the_document_declares(
    app: FastAPI, state: AppState, as_user: httpx2.AsyncClient, client: httpx2.AsyncClient, user: Person, admin: Person
) -> None:
    """Each operation is asked in all the ways that go wrong; schemathesis asks in those that go well."""
    document = app.openapi()
    nothing = {"job_id": 9**9, "user_id": 9**9, "gpu_id": 9**9, "session_id": uuid4(), "token_id": uuid4()}
    for operation in operations_of(app):
        described = document["paths"].get(operation.path, {}).get(operation.method.lower())
        if described is None or operation.path in ("/api/v1/events", "/metrics"):
            continue
        path = await a_place_for(operation, state, user, admin)
        answers = [
            await client.request(operation.method, path),
            await as_user.request(operation.method, f"{path}?colour=red"),
            await as_user.request(operation.method, operation.at(**nothing)),
            await as_user.request(operation.method, operation.path.replace("{", "x").replace("}", "x")),
        ]
        if "requestBody" in described:
            for content in (b"", b"{", b'{"\xff": 1}', b"[]", b" " * 65_537):
                answers += [
                    await as_user.request(operation.method, path, **as_json(content, content_type))
                    for content_type in ("application/json", "text/plain", "multipart/form-data; boundary=x")
                ]
        seen = {str(int(answer.status_code)) for answer in answers}
        assert seen <= described["responses"].keys(), str(operation)


async def test_every_list_is_paged_to_its_end_without_gap_or_repetition(
    as_admin: httpx2.AsyncClient, lists: Mapping[str, str]
) -> None:
    for path in lists.values():
        whole = await _rows(as_admin, f"{path}?limit=200")
        assert len(whole) >= 5, path
        pages, link = [], f"{path}?limit=2"
        while link:
            answer = await as_admin.get(link)
            assert answer.status_code == 200, answer.text
            pages.append(answer.json())
            link = _next_link(answer)
        assert [row for page in pages for row in page] == whole, path
        assert {len(page) for page in pages[:-1]} == {2}, path


async def test_a_cursor_is_good_for_one_list_only(as_admin: httpx2.AsyncClient, lists: Mapping[str, str]) -> None:
    cursors = {}
    for label, path in lists.items():
        link = _next_link(await as_admin.get(f"{path}?limit=2"))
        cursors[label] = parse_qs(urlsplit(link).query)["cursor"][0]
    for label, cursor in cursors.items():
        for other, path in lists.items():
            answer = await as_admin.get(f"{path}?limit=2", params={"cursor": cursor})
            if other == label:
                assert answer.status_code == 200, answer.text
            else:
                assert (answer.status_code, answer.json()["code"]) == (422, "invalid-cursor"), f"{label} on {other}"


async def test_numbers_in_paths_and_queries_may_be_written_in_persian_and_arabic(
    app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient, user: Person, admin: Person
) -> None:
    same_id = {"X-Request-ID": "same"}
    asked = 0
    for operation, parameter in _parameters(app.openapi()):
        schema = str(parameter["schema"])
        if operation.method != "GET" or "integer" not in schema:
            continue
        address = await a_place_for(operation, state, user, admin)
        if parameter["in"] == "query":
            address += f"?{parameter['name']}=17"
        answers = [
            await as_admin.get(re.sub(r"(?<=[/=])\d+", written, address), headers=same_id)
            for written in (r"\g<0>", _in_persian, _in_arabic)
        ]
        assert answers[0].status_code == 200, f"{operation}: {answers[0].text}"
        assert len({answer.content for answer in answers}) == 1, f"{operation}, {parameter['name']}"
        asked += 1
    assert asked >= 20


async def test_all_times_are_utc_and_say_so(
    settings: Settings, start_service: StartService, user: Person, admin: Person, clock: FakeClock
) -> None:
    """In an installation in Tehran, whose months begin at half past eight in the evening."""
    changes = {"time_zone": "Asia/Tehran", "quota_calendar": "jalali"}
    tehran = Settings(_env_file=None, **{**settings.model_dump(), **changes})
    async with start_service(tehran) as app:
        state: AppState = app.state.gtm
        job = await make_job(state, user)
        await approve_job(state, job.id, admin)
        await start_job(state, job.id, admin)
        clock.advance(timedelta(seconds=5))
        times: list[str] = []
        async with browser(app, token=(await sign_in(state, admin)).access_token) as client:
            await client.post(f"/api/v1/jobs/{job.id}/cancel", json={"reason": "enough"})
            await client.put(f"/api/v1/admin/users/{admin.id}/quota", json={"limit_hours": 3, "reason": "test"})
            await client.post("/api/v1/admin/gpus/1/drain", json={"reason": "fan"})
            for operation in operations_of(app):
                if operation.method != "GET" or operation.path == "/api/v1/events":
                    continue
                path = operation.at(job_id=job.id, user_id=user.id)
                answer = await client.get("/ui/index.html" if path == "/ui" else path)
                assert answer.status_code < 400 or path == "/readyz", f"{path}: {answer.text}"
                if answer.headers.get("Content-Type") == "application/json" and operation.path != "/openapi.json":
                    times += _times(answer.json())
            await client.post("/api/v1/jobs", json=JOB)
            refused = await client.post("/api/v1/jobs", json=JOB)
            assert refused.json()["resets_at"] == "2026-03-20T20:30:00Z"
            times += _times(refused.json())
    assert len(times) > 40
    assert [time for time in times if not UTC_TIME.fullmatch(time)] == []
    assert "2026-03-20T20:30:00Z" in times


async def test_one_key_makes_one_job_however_many_ask_at_once(as_user: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "nightly-2026-03-10"}
    answers = await asyncio.gather(*(as_user.post("/api/v1/jobs", json=JOB, headers=headers) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["Location"] for answer in answers}) == 1
    assert len((await as_user.get("/api/v1/jobs")).json()) == 1
    assert (await as_user.get("/api/v1/quota")).json()["reserved_hours"] == JOB["estimated_hours"]


async def test_a_key_stands_for_what_is_asked_and_not_for_how_it_is_written(as_user: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-1", "Content-Type": "application/json"}
    first = await as_user.post("/api/v1/jobs", content=json.dumps(JOB), headers=headers)
    rewritten = json.dumps(dict(reversed(JOB.items())), indent=4).replace("2.5", "2.50")
    again = await as_user.post("/api/v1/jobs", content=rewritten, headers=headers)
    assert (again.status_code, again.json()) == (201, first.json())


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "کلید"])
async def test_a_key_that_is_no_word_is_refused(as_user: httpx2.AsyncClient, key: str) -> None:
    answer = await as_user.post("/api/v1/jobs", json=JOB, headers={"Idempotency-Key": key.encode()})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/header/Idempotency-Key"]


async def test_a_refused_submission_does_not_use_up_its_key(as_user: httpx2.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k-1"}
    refused = await as_user.post("/api/v1/jobs", json={**JOB, "num_gpus": 64}, headers=headers)
    assert refused.status_code == 409
    accepted = await as_user.post("/api/v1/jobs", json=JOB, headers=headers)
    assert accepted.status_code == 201


@pytest.fixture
async def lists(app: FastAPI, state: AppState, as_admin: httpx2.AsyncClient, admin: Person) -> Mapping[str, str]:
    """Every operation that is paged, with a path under which it has at least five rows."""
    for number in range(5):
        await make_user(state)
        body = {"hours": 1, "reason": f"correction {number}"}
        await as_admin.post(f"/api/v1/admin/users/{admin.id}/quota/adjustments", json=body)
        await make_job(state, admin, time_limit=timedelta(minutes=1))
    found = {
        str(operation): operation.at(user_id=admin.id)
        for operation, parameter in _parameters(app.openapi())
        if parameter["name"] == "cursor" and not operation.path.endswith("/export")
    }
    assert len(found) >= 6
    return found


async def test_every_list_that_may_grow_is_paged(app: FastAPI) -> None:
    """A bare array comes from a paged list, or from one that the installation or one job limits."""
    limited = {
        "GET /api/v1/gpu-types",
        "GET /api/v1/admin/audit/actions",
        "GET /api/v1/admin/gpus",
        "GET /api/v1/admin/reports/usage",
        "GET /api/v1/admin/reports/waiting",
        "GET /api/v1/admin/users/standing",
        "GET /api/v1/auth/sessions",
        "GET /api/v1/auth/tokens",
        "GET /api/v1/jobs/{job_id}/events",
        "GET /api/v1/jobs/{job_id}/utilisation",
        "POST /api/v1/admin/jobs/decisions",
    }
    document = app.openapi()
    paged = {
        str(operation)
        for operation, parameter in _parameters(document)
        if parameter["name"] == "cursor" and not operation.path.endswith("/export")
    }
    arrays = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        for status, response in described["responses"].items()
        if status < "300" and _is_array(response.get("content", {}).get("application/json", {}).get("schema", {}))
    }
    assert arrays == paged | limited


def _is_array(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "array" or any(_is_array(option) for option in schema.get("anyOf", ()))


def _kinds_of(kind: type[DomainError]) -> Iterator[type[DomainError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _kinds_of(child)


def _placeholders(sentence: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", sentence))


def _parameters(document: Mapping[str, Any]) -> Iterator[tuple[Operation, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            for parameter in described.get("parameters", ()):
                yield Operation(method.upper(), path), parameter


def _in_persian(number: re.Match[str]) -> str:
    return number[0].translate(PERSIAN)


def _in_arabic(number: re.Match[str]) -> str:
    return number[0].translate(ARABIC)


def _times(value: Any) -> list[str]:
    match value:
        case dict():
            return [time for inner in value.values() for time in _times(inner)]
        case list():
            return [time for inner in value for time in _times(inner)]
        case str() if LOOKS_LIKE_A_TIME.match(value):
            return [value]
    return []


async def _rows(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _next_link(answer: httpx2.Response) -> str:
    """The path of the next page; empty on the last."""
    return answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
