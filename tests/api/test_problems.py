"""Every way to fail answers with a problem document that says what to do."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import text

from app.api.deps import Autocommit
from app.api.problems import BODY_LIMIT_BYTES
from app.domain import errors
from app.domain.identity import Scope
from app.domain.job_state import JobAction, JobStatus
from tests.api.probes import add_failure, add_route
from tests.conftest import BEGINNING, FakeClock, browser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clock")]

LATER = BEGINNING + timedelta(days=20)
JOB = {"name": "train", "gpu_type": "A100", "command": "python train.py"}


def assert_is_problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:gpu-task-manager:problem:{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert "{" not in problem["detail"]
    return problem


REFUSALS: list[tuple[errors.DomainError, int, dict[str, Any]]] = [
    (errors.NotAuthenticated(), 401, {}),
    (errors.InvalidCredentials(), 401, {}),
    (errors.AdminRequired(), 403, {}),
    (errors.NotFound(), 404, {}),
    (errors.LogOutOfReach(where="/srv/logs/7.log"), 404, {"where": "/srv/logs/7.log"}),
    (errors.EngineGivesOutGpus(engine="slurm", node="n1"), 409, {"engine": "slurm", "node": "n1"}),
    (errors.EngineGivesOutGpus(engine="another", node="n1"), 409, {"engine": "another", "node": "n1"}),
    (errors.RequestDiffers(job_id=7), 409, {"job_id": 7}),
    (errors.EmailTaken(email="sara@example.org"), 409, {}),
    (errors.LastAdmin(), 409, {}),
    (
        errors.QuotaExceeded(needed_seconds=8 * 3600, available_seconds=5400, resets_at=LATER),
        409,
        {"needed_hours": 8, "available_hours": 1.5, "resets_at": "2026-03-30T12:00:00Z"},
    ),
    (
        errors.ExceedsMonthlyQuota(needed_seconds=720_000, limit_seconds=360_000),
        409,
        {"needed_hours": 200, "limit_hours": 100},
    ),
    (
        errors.ExceedsFleet(gpu_type="A100", needed=16, total=8),
        409,
        {"gpu_type": "A100", "needed": 16, "total": 8},
    ),
    (
        errors.NoCapacity(gpu_type="A100", needed=4, free=1, held_by_jobs=(7, 9)),
        409,
        {"gpu_type": "A100", "needed": 4, "free": 1, "held_by_jobs": [7, 9]},
    ),
    (errors.ScopeMissing(needed=Scope.JOBS_WRITE), 403, {"needed": "jobs:write"}),
    (errors.SignInRequired(), 403, {}),
    (errors.TooManyTokens(most=100), 409, {"most": 100}),
    (errors.QuotaBelowUse(minimum_seconds=7200), 409, {"minimum_hours": 2}),
    (errors.MetricsTokenMissing(), 401, {}),
    (errors.RegistrationClosed(), 403, {}),
    (errors.EmailDomainRefused(pointer="/email", domains=("example.org",)), 422, {"domains": ["example.org"]}),
    (errors.RefundOutOfRange(maximum_seconds=1800), 409, {"maximum_hours": 0.5}),
    (
        errors.AdjustmentOutOfRange(minimum_seconds=-3600, maximum_seconds=7200),
        409,
        {"minimum_hours": -1, "maximum_hours": 2},
    ),
    (
        errors.JobStateConflict(
            job_id=5,
            current_status=JobStatus.APPROVED,
            allowed=(JobAction.START,),
            changed_by="سارا",
            changed_at=BEGINNING - timedelta(minutes=2),
        ),
        409,
        {
            "job_id": 5,
            "current_status": "APPROVED",
            "allowed": ["start"],
            "changed_by": "سارا",
            "changed_at": "2026-03-10T11:58:00Z",
        },
    ),
    (errors.UnknownGpuType(pointer="/gpu_type", gpu_type="H900", known=("A100", "T4")), 422, {"known": ["A100", "T4"]}),
    (errors.PasswordRefused(pointer="/password", rule="common"), 422, {"rule": "common"}),
    (errors.InvalidInput(pointer="/email"), 422, {}),
    (errors.EmailRefused(pointer="/email"), 422, {}),
    (errors.InvalidCursor(), 422, {}),
    (errors.IdempotencyKeyReused(), 422, {}),
    (errors.TooManyAttempts(retry_after=1), 429, {"retry_after": 1}),
    (errors.TooManyAttempts(retry_after=120), 429, {"retry_after": 120}),
    (errors.DatabaseUnavailable(), 503, {}),
    (errors.ServiceBusy(), 503, {}),
]


def test_every_refusal_of_the_domain_is_tried_below() -> None:
    def leaves(kind: type[errors.DomainError]) -> set[type[errors.DomainError]]:
        below = set().union(*(leaves(child) for child in kind.__subclasses__()))
        return below | ({kind} if "code" in vars(kind) and kind is not errors.DomainError else set())

    assert leaves(errors.DomainError) == {type(refusal) for refusal, _, _ in REFUSALS}


@pytest.mark.parametrize(("refusal", "status", "facts"), REFUSALS, ids=lambda value: getattr(value, "code", None))
@pytest.mark.parametrize("language", ["fa", "en"])
async def test_a_refusal_has_its_status_its_facts_and_a_sentence(
    probe: FastAPI, refusal: errors.DomainError, status: int, facts: dict[str, Any], language: str
) -> None:
    path = add_failure(probe, refusal)
    async with browser(probe) as client:
        answer = await client.get(path, headers={"Accept-Language": language})
    problem = assert_is_problem(answer, status, refusal.code)
    assert answer.headers["content-language"] == language
    common = {"type", "title", "status", "detail", "code", "request_id", "errors"}
    assert {name: fact for name, fact in problem.items() if name not in common} == facts


async def test_refusals_say_in_headers_what_clients_act_on(probe: FastAPI) -> None:
    async def headers(refusal: errors.DomainError) -> httpx2.Headers:
        return (await client.get(add_failure(probe, refusal))).headers

    async with browser(probe) as client:
        assert (await headers(errors.NotAuthenticated()))["www-authenticate"] == "Bearer"
        assert (await headers(errors.TooManyAttempts(retry_after=120)))["retry-after"] == "120"
        assert (await headers(errors.ServiceBusy()))["retry-after"] == "2"


async def test_a_refused_field_is_named(probe: FastAPI) -> None:
    refusal = errors.UnknownGpuType(pointer="/gpu_type", gpu_type="<b>H900", known=("A100", "T4"))
    async with browser(probe) as client:
        answer = await client.get(add_failure(probe, refusal))
    [error] = answer.json()["errors"]
    assert error == {
        "pointer": "/gpu_type",
        "message": "There is no such GPU type here. Choose one of: A100, T4.",
    }
    assert "H900" not in answer.text


async def test_the_sentences_read_like_the_products_own(probe: FastAPI) -> None:
    quota = errors.QuotaExceeded(needed_seconds=8 * 3600, available_seconds=3 * 3600, resets_at=LATER)
    conflict = errors.JobStateConflict(5, JobStatus.APPROVED, (), "سارا", BEGINNING - timedelta(minutes=2))
    async with browser(probe, **{"Accept-Language": "fa-IR,fa;q=0.9,en;q=0.5"}) as client:
        over_quota = (await client.get(add_failure(probe, quota))).json()["detail"]
        too_late = (await client.get(add_failure(probe, conflict))).json()["detail"]
    assert over_quota.startswith("این کار ۸ ساعت GPU می‌خواهد؛ از سهمیهٔ این ماه شما ۳ ساعت GPU مانده است.")
    assert too_late.startswith("این کار را سارا ۲ دقیقه پیش تأیید کرده است.")


async def test_what_nobody_expected_is_a_500_without_any_detail(
    probe: FastAPI, capsys: pytest.CaptureFixture[str]
) -> None:
    path = add_failure(probe, RuntimeError("the wiring is wrong"))
    async with browser(probe) as client:
        answer = await client.get(path)
    problem = assert_is_problem(answer, 500, "internal-error")
    assert "wiring" not in answer.text
    logged = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    [failure] = [line for line in logged if line["event"] == "request failed"]
    assert failure["request_id"] == problem["request_id"]
    assert "RuntimeError: the wiring is wrong" in failure["exception"]


async def test_a_failure_after_the_answer_began_breaks_the_connection(probe: FastAPI) -> None:
    """Nothing else can tell the client that what it has is not the whole."""

    async def halves() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the other half is missing")

    async def broken() -> StreamingResponse:
        return StreamingResponse(halves())

    path = add_route(probe, broken)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(probe), base_url="http://service.test") as client:
        with pytest.raises(RuntimeError, match="the other half is missing"):
            await client.get(path)


@pytest.mark.parametrize(
    ("sqlstate", "status", "code"),
    [
        ("40P01", 503, "service-busy"),
        ("40001", 503, "service-busy"),
        ("55P03", 503, "service-busy"),
        ("57014", 503, "service-busy"),
        ("57P01", 503, "database-unavailable"),
        ("53100", 503, "database-unavailable"),
        ("25006", 503, "database-unavailable"),
        ("GT002", 409, "last-admin"),
        ("GT001", 500, "internal-error"),
        ("23514", 500, "internal-error"),
    ],
)
async def test_what_the_database_refuses_is_understood(probe: FastAPI, sqlstate: str, status: int, code: str) -> None:
    async def fail(connection: Autocommit) -> None:
        await connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"))

    path = add_route(probe, fail)
    async with browser(probe) as client:
        assert_is_problem(await client.get(path), status, code)


async def test_a_statement_that_takes_too_long_is_given_up(probe: FastAPI) -> None:
    async def dawdle(connection: Autocommit) -> None:
        await connection.execute(text("SET statement_timeout = 20"))
        await connection.execute(text("SELECT pg_sleep(5)"))

    path = add_route(probe, dawdle)
    async with browser(probe) as client:
        assert_is_problem(await client.get(path), 503, "service-busy")


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing", "/ui/nothing.js", "/api/v1/jobs/1/nothing"])
async def test_an_unknown_address_is_a_404(client: httpx2.AsyncClient, path: str) -> None:
    assert_is_problem(await client.get(path), 404, "route-not-found")


async def test_a_wrong_method_is_told_all_the_right_ones(client: httpx2.AsyncClient) -> None:
    answer = await client.delete("/api/v1/jobs")
    assert_is_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, POST"
    answer = await client.post("/ui/index.html")
    assert_is_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET, HEAD"


async def test_a_body_beyond_the_limit_is_refused_unread(as_user: httpx2.AsyncClient) -> None:
    answer = await as_user.post("/api/v1/jobs", json={**JOB, "command": "x" * BODY_LIMIT_BYTES})
    problem = assert_is_problem(answer, 413, "content-too-large")
    assert "64 KiB" in problem["detail"]


async def test_a_body_without_announced_length_is_cut_off_at_the_limit(as_user: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 8192
        raise AssertionError("the body was read on beyond its limit")

    answer = await as_user.post("/api/v1/jobs", content=endless(), headers={"Content-Type": "application/json"})
    assert_is_problem(answer, 413, "content-too-large")


async def test_a_body_at_the_limit_is_read(as_user: httpx2.AsyncClient) -> None:
    body = b'{"name": "' + b" " * (BODY_LIMIT_BYTES - 12) + b'"}'
    assert len(body) == BODY_LIMIT_BYTES
    answer = await as_user.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert_is_problem(answer, 422, "validation-failed")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "nonsense", None])
async def test_json_must_be_announced_as_json(as_user: httpx2.AsyncClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await as_user.post("/api/v1/jobs", content=json.dumps(JOB).encode(), headers=headers)
    problem = assert_is_problem(answer, 415, "unsupported-media-type")
    assert "application/json" in problem["detail"]


async def test_a_form_must_be_announced_as_a_form(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/v1/auth/login", json={"username": "a@example.org", "password": "x"})
    problem = assert_is_problem(answer, 415, "unsupported-media-type")
    assert "application/x-www-form-urlencoded" in problem["detail"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"name": NaN}', b'{"a": 1}}', b"[" * 60_000, b"9" * 5000],
)
async def test_a_body_that_is_no_object_is_refused(as_user: httpx2.AsyncClient, body: bytes) -> None:
    answer = await as_user.post("/api/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert_is_problem(
        answer, answer.status_code, "malformed-body" if answer.status_code == 400 else "validation-failed"
    )


async def test_every_wrong_field_is_named_and_nothing_sent_is_repeated(as_user: httpx2.AsyncClient) -> None:
    sent = {
        "name": "canary-one\x00",
        "gpu_type": "A100",
        "num_gpus": True,
        "estimated_hours": "canary-two",
        "command": ["canary-three"],
        "canary four": 1,
        "is_admin": "canary-five",
    }
    answer = await as_user.post("/api/v1/jobs", json=sent)
    problem = assert_is_problem(answer, 422, "validation-failed")
    assert {error["pointer"] for error in problem["errors"]} == {
        "/name",
        "/num_gpus",
        "/estimated_hours",
        "/command",
        "/is_admin",
        "",
    }
    assert "canary" not in answer.text


async def test_parameters_are_named_by_where_they_stand(as_user: httpx2.AsyncClient) -> None:
    answer = await as_user.get("/api/v1/jobs", params={"limit": "0", "stauts": "PENDING"})
    assert {error["pointer"] for error in answer.json()["errors"]} >= {"/query/stauts"}
    answer = await as_user.get("/api/v1/jobs", params={"limit": "0"})
    assert answer.json()["errors"] == [{"pointer": "/query/limit", "message": "This must be at least 1."}]
    answer = await as_user.get("/api/v1/jobs/one")
    assert answer.json()["errors"] == [{"pointer": "/path/job_id", "message": "This must be a whole number."}]


async def test_the_language_follows_the_header_then_the_person(as_user: httpx2.AsyncClient) -> None:
    async def language(**headers: str) -> str:
        return (await as_user.get("/api/v1/jobs/999", headers=headers)).headers["content-language"]

    assert await language() == "en"
    await as_user.patch("/api/v1/auth/me", json={"locale": "fa"})
    assert await language() == "fa"
    assert await language(**{"Accept-Language": "en-GB"}) == "en"
    assert await language(**{"Accept-Language": "de, *;q=0.5"}) == "fa"


async def test_a_conflict_tells_how_long_ago_by_the_services_own_clock(probe: FastAPI, clock: FakeClock) -> None:
    path = add_failure(probe, errors.JobStateConflict(5, JobStatus.COMPLETED, (), None, BEGINNING))
    clock.advance(hours=3)
    async with browser(probe) as client:
        detail = (await client.get(path)).json()["detail"]
    assert detail == "This job completed 3 hours ago. There is nothing more to do with it."
