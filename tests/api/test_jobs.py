"""A person's own jobs over HTTP."""

import re
from datetime import timedelta
from typing import Any

import pytest

from app.api.state import AppState
from app.db.queries import engines
from app.dispatcher.build import create_dispatcher
from app.domain.errors import QuotaExceeded
from app.domain.execution import TimeKeeping
from app.executors.registry import create_executor
from tests.conftest import FakeClock
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, start_job

pytestmark = pytest.mark.anyio

JOB = {
    "name": "train-resnet",
    "gpu_type": "A100",
    "num_gpus": 2,
    "estimated_hours": 2.5,
    "command": "python train.py",
    "data_location": "/data/imagenet",
    "justification": "Thesis, chapter 3",
}


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


async def test_a_stranger_sees_no_jobs(client: Any) -> None:
    assert (await client.get("/api/v1/jobs")).status_code == 401
    assert (await client.post("/api/v1/jobs", json=JOB)).status_code == 401


async def test_a_submitted_job_waits_for_a_decision_and_reserves_its_hours(as_user: Any, user: Person) -> None:
    answer = await as_user.post("/api/v1/jobs", json=JOB)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert {name: job[name] for name in JOB} == JOB
    assert job["status"] == "PENDING"
    assert job["wait_reason"] == "AWAITING_DECISION"
    assert job["reserved_gpu_hours"] == 5
    assert job["charged_gpu_hours"] == 0
    assert job["owner"] == {"id": user.id, "full_name": user.full_name, "email": user.email}
    assert job["actions"] == ["cancel"]
    quota = (await as_user.get("/api/v1/quota")).json()
    assert (quota["limit_hours"], quota["reserved_hours"], quota["available_hours"]) == (100, 5, 95)
    assert (await as_user.get(f"/api/v1/jobs/{job['id']}")).json() == job
    assert (await as_user.get("/api/v1/jobs")).json() == [job]


async def test_what_is_left_out_has_the_specified_defaults(as_user: Any) -> None:
    job = (await as_user.post("/api/v1/jobs", json={"name": "a", "gpu_type": "A100", "command": "true"})).json()
    assert (job["num_gpus"], job["estimated_hours"], job["is_sensitive"]) == (1, 1, False)
    assert job["data_location"] is None


@pytest.mark.parametrize(
    ("change", "status", "code", "facts"),
    [
        ({"gpu_type": "H999"}, 422, "unknown-gpu-type", {"known": ["A100", "V100"]}),
        ({"num_gpus": 9}, 409, "exceeds-fleet", {"needed": 9, "total": 8}),
        ({"num_gpus": 8, "estimated_hours": 13}, 409, "exceeds-monthly-quota", {"needed_hours": 104}),
    ],
)
async def test_what_can_never_run_is_refused_with_the_facts(
    as_user: Any, change: dict[str, Any], status: int, code: str, facts: dict[str, Any]
) -> None:
    answer = await as_user.post("/api/v1/jobs", json=JOB | change)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert {name: problem[name] for name in facts} == facts
    assert (await as_user.get("/api/v1/jobs")).json() == []
    assert (await as_user.get("/api/v1/quota")).json()["reserved_hours"] == 0


async def test_over_quota_says_what_is_needed_what_is_left_and_when_it_resets(as_user: Any) -> None:
    assert (await as_user.post("/api/v1/jobs", json=JOB | {"num_gpus": 4, "estimated_hours": 24})).status_code == 201
    answer = await as_user.post("/api/v1/jobs", json=JOB, headers={"Accept-Language": "fa"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "quota-exceeded")
    assert (problem["needed_hours"], problem["available_hours"]) == (5, 4)
    assert problem["resets_at"].startswith("2026-04-01")
    assert "۵" in problem["detail"]


async def test_the_first_submission_of_a_new_month_finds_a_new_quota(
    state: AppState, user: Person, clock: FakeClock
) -> None:
    await make_job(state, user, num_gpus=4, time_limit=timedelta(hours=25))
    with pytest.raises(QuotaExceeded):
        await make_job(state, user)
    clock.advance(days=30)
    await make_job(state, user, num_gpus=4, time_limit=timedelta(hours=25))


async def test_one_key_makes_one_job(as_user: Any) -> None:
    key = {"Idempotency-Key": "9c1d"}
    first = await as_user.post("/api/v1/jobs", json=JOB, headers=key)
    again = await as_user.post("/api/v1/jobs", json=JOB, headers=key)
    other = await as_user.post("/api/v1/jobs", json=JOB | {"num_gpus": 1}, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json()["id"] == first.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")
    assert len((await as_user.get("/api/v1/jobs")).json()) == 1


async def test_a_key_is_forgotten_after_a_day(state: AppState, user: Person, clock: FakeClock) -> None:
    first = await make_job(state, user, key="nightly")
    clock.advance(hours=23)
    same = await make_job(state, user, key="nightly")
    clock.advance(hours=2)
    new = await make_job(state, user, key="nightly")
    assert same.id == first.id
    assert new.id != first.id


async def test_keys_of_two_people_are_two_keys(state: AppState, user: Person) -> None:
    other = await make_user(state)
    assert (await make_job(state, user, key="k")).id != (await make_job(state, other, key="k")).id


async def test_validate_tells_cost_and_fit_and_writes_nothing(as_user: Any) -> None:
    answer = (await as_user.post("/api/v1/jobs/validate", json=JOB)).json()
    assert answer == {
        "accepted": True,
        "reserved_gpu_hours": 5,
        "reserved_beyond_limit_gpu_hours": 0,
        "available_hours_now": 100,
        "available_hours_after": 95,
        "free_gpus": 8,
        "fits_now": True,
        "problem": None,
    }
    refused = (await as_user.post("/api/v1/jobs/validate", json=JOB | {"num_gpus": 9})).json()
    assert (refused["accepted"], refused["problem"]["code"]) == (False, "exceeds-fleet")
    assert (await as_user.get("/api/v1/jobs")).json() == []


async def test_all_that_the_engine_can_hold_is_reserved_and_told(state: AppState, as_user: Any) -> None:
    """JOB asks for two GPUs; here limits are whole minutes, and it takes half a minute to end a run."""
    async with state.database.autocommit() as connection:
        await engines.note(connection, state.engine.name, TimeKeeping(60, 30), now=state.clock())
    body = JOB | {"estimated_hours": 1 / 3600}
    beyond = 2 * (60 - 1 + 30) / 3600
    forecast = (await as_user.post("/api/v1/jobs/validate", json=body)).json()
    job = (await as_user.post("/api/v1/jobs", json=body)).json()
    for answer in (forecast, job):
        assert answer["reserved_gpu_hours"] == 2 * 90 / 3600
        assert answer["reserved_beyond_limit_gpu_hours"] == beyond
    assert (await as_user.get("/api/v1/quota")).json()["reserved_hours"] == 2 * 90 / 3600
    whole_month = JOB | {"num_gpus": 1, "estimated_hours": 100}
    refused = (await as_user.post("/api/v1/jobs/validate", json=whole_month)).json()
    assert refused["problem"]["code"] == "exceeds-monthly-quota"
    assert refused["reserved_gpu_hours"] == 100 + 30 / 3600


async def test_another_persons_job_looks_like_one_that_does_not_exist(state: AppState, as_user: Any) -> None:
    theirs = await make_job(state, await make_user(state))
    same_id = {"X-Request-ID": "same"}
    for path in ("", "/events", "/log", "/utilisation"):
        foreign = await as_user.get(f"/api/v1/jobs/{theirs.id}{path}", headers=same_id)
        unknown = await as_user.get(f"/api/v1/jobs/{theirs.id + 1}{path}", headers=same_id)
        assert foreign.status_code == 404
        assert foreign.content == unknown.content, f"{path} tells that the job exists"
    foreign = await as_user.post(f"/api/v1/jobs/{theirs.id}/cancel", headers=same_id)
    unknown = await as_user.post(f"/api/v1/jobs/{theirs.id + 1}/cancel", headers=same_id)
    assert (foreign.status_code, foreign.content) == (404, unknown.content)


async def test_lists_come_in_pages_that_fit_together(state: AppState, as_user: Any, user: Person) -> None:
    ids = [(await make_job(state, user)).id for _ in range(5)]
    seen: list[int] = []
    path = "/api/v1/jobs?limit=2"
    while path:
        answer = await as_user.get(path)
        seen += [job["id"] for job in answer.json()]
        link = answer.headers.get("Link", "")
        path = link.partition(">")[0].removeprefix("<")
    assert seen == ids[::-1]


async def test_lists_are_filtered_by_status_and_words(
    state: AppState, as_user: Any, user: Person, admin: Person
) -> None:
    approved = (await make_job(state, user, name="tune whisper-large")).id
    await approve_job(state, approved, admin)
    pending = (await make_job(state, user, name="آموزش مدل فارسی")).id

    async def ids(query: str) -> list[int]:
        return [job["id"] for job in (await as_user.get(f"/api/v1/jobs?{query}")).json()]

    assert await ids("status=APPROVED") == [approved]
    assert await ids("status_filter=PENDING") == [pending]
    assert await ids("status=APPROVED&status=PENDING") == [pending, approved]
    assert await ids("q=whis") == [approved]
    assert await ids("q=فارسی") == [pending]
    assert await ids(f"q={approved}") == [approved]
    assert await ids("q=%25") == []


@pytest.mark.parametrize("name", ["train.py", "exp/2024/run", "run -5", "resnet50_v1.2", "lr=0.001"])
async def test_a_job_is_found_by_its_whole_name_and_by_its_last_word(
    state: AppState, as_user: Any, user: Person, name: str
) -> None:
    job = await make_job(state, user, name=name)
    for words in (name, re.split(r"\W|_", name)[-1]):
        found = (await as_user.get("/api/v1/jobs", params={"q": words})).json()
        assert [each["id"] for each in found] == [job.id], words


@pytest.mark.parametrize("query", ["colour=red", "limit=0", "limit=201", "status=DONE", "cursor=AAAA", "user=1"])
async def test_a_list_refuses_what_it_does_not_know(as_user: Any, query: str) -> None:
    answer = await as_user.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == 422, answer.text


async def test_counts_follow_the_jobs(state: AppState, as_user: Any, user: Person, admin: Person) -> None:
    await make_job(state, await make_user(state))
    await make_job(state, user)
    await approve_job(state, (await make_job(state, user)).id, admin)
    counts = (await as_user.get("/api/v1/jobs/counts")).json()
    assert counts == {
        "PENDING": 1, "APPROVED": 1, "RUNNING": 0, "COMPLETED": 0, "FAILED": 0, "REJECTED": 0, "CANCELLED": 0,
    }  # fmt: skip


async def test_a_waiting_job_is_cancelled_at_once_and_gives_its_hours_back(
    state: AppState, as_user: Any, user: Person
) -> None:
    job = await make_job(state, user)
    cancelled = (await as_user.post(f"/api/v1/jobs/{job.id}/cancel", json={"reason": "wrong data"})).json()
    assert (cancelled["status"], cancelled["reason"]) == ("CANCELLED", "CANCELLED_BY_USER")
    assert (await as_user.get("/api/v1/quota")).json()["reserved_hours"] == 0
    again = await as_user.post(f"/api/v1/jobs/{job.id}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "CANCELLED")


async def test_a_running_job_is_asked_to_stop(state: AppState, as_user: Any, user: Person, admin: Person) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    asked = (await as_user.post(f"/api/v1/jobs/{job.id}/cancel")).json()
    assert (asked["status"], asked["wait_reason"], asked["actions"]) == ("RUNNING", "CANCELLING", [])
    events = (await as_user.get(f"/api/v1/jobs/{job.id}/events")).json()
    assert [event["kind"] for event in events] == ["TRANSITION"] * 3 + ["CANCEL_REQUESTED"]
    assert [event["seq"] for event in events] == [1, 2, 3, 4]


async def test_a_rejected_job_cannot_be_cancelled(state: AppState, as_user: Any, user: Person, as_admin: Any) -> None:
    job = await make_job(state, user)
    await as_admin.post(f"/api/v1/admin/jobs/{job.id}/reject", json={"reason": "No data agreement."})
    answer = await as_user.post(f"/api/v1/jobs/{job.id}/cancel")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "job-state-conflict")
    assert (problem["current_status"], problem["allowed"]) == ("REJECTED", [])
    assert "No data agreement." in (await as_user.get(f"/api/v1/jobs/{job.id}")).json()["reason_text"]


async def test_a_log_is_read_in_parts_that_fit_together(
    state: AppState, as_user: Any, user: Person, admin: Person, clock: FakeClock
) -> None:
    job = await make_job(state, user, command="#SIM exit=0\npython train.py")
    empty = await as_user.get(f"/api/v1/jobs/{job.id}/log")
    assert (empty.content, empty.headers["X-Log-Complete"]) == (b"", "false")
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    dispatcher = create_dispatcher(state.database, create_executor(state.settings, clock), state.settings, clock)
    await dispatcher.tick()
    clock.advance(timedelta(seconds=11))
    await dispatcher.tick()
    whole = await as_user.get(f"/api/v1/jobs/{job.id}/log?limit=1000000")
    assert whole.headers["X-Log-Complete"] == "true"
    parts, offset = b"", 0
    while True:
        part = await as_user.get(f"/api/v1/jobs/{job.id}/log?offset={offset}&limit=100")
        parts += part.content
        offset = int(part.headers["X-Log-Next-Offset"])
        if part.headers["X-Log-Complete"] == "true":
            break
    assert parts == whole.content
    assert b"simulated" in whole.content.lower()


async def test_a_followed_log_ends_with_the_job(
    state: AppState, as_user: Any, user: Person, admin: Person, clock: FakeClock
) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    clock.advance(minutes=1)
    await create_dispatcher(state.database, create_executor(state.settings, clock), state.settings, clock).tick()
    followed = await as_user.get(f"/api/v1/jobs/{job.id}/log?follow=true")
    whole = await as_user.get(f"/api/v1/jobs/{job.id}/log?limit=1000000")
    assert followed.content == whole.content != b""


async def test_utilisation_names_the_gpus_that_the_job_holds(
    state: AppState, as_user: Any, user: Person, admin: Person, clock: FakeClock
) -> None:
    job = await make_job(state, user, num_gpus=2)
    assert (await as_user.get(f"/api/v1/jobs/{job.id}/utilisation")).json() == []
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    clock.advance(seconds=5)
    samples = (await as_user.get(f"/api/v1/jobs/{job.id}/utilisation?limit=20")).json()
    held = (await as_user.get(f"/api/v1/jobs/{job.id}")).json()["gpus"]
    assert 0 < len(samples) <= 20
    assert {tuple(sample["gpu"].items()) for sample in samples} == {tuple(gpu.items()) for gpu in held}


@pytest.mark.parametrize("field", ["name", "command"])
@pytest.mark.parametrize("control", list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
async def test_what_turns_the_direction_of_text_is_refused(as_user: Any, field: str, control: str) -> None:
    """With them, an approver reads another command than the one that runs."""
    answer = await as_user.post("/api/v1/jobs/validate", json={**JOB, field: f"echo {control}start"})
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [f"/{field}"])
    assert "direction" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("field", ["name", "command"])
@pytest.mark.parametrize("text", [" ", "\u200b", "\u3164", "\u2800\ufeff", "\u00ad\n", "\ufe0f", "\u0301"])
async def test_what_shows_nothing_is_blank(as_user: Any, field: str, text: str) -> None:
    answer = await as_user.post("/api/v1/jobs/validate", json={**JOB, field: text})
    assert (answer.status_code, [error["pointer"] for error in answer.json()["errors"]]) == (422, [f"/{field}"])


@pytest.mark.parametrize("name", ["آموزش شبکه\u200cها", "\U0001faf8", "\U000323b0", "ᳱ"])
async def test_what_shows_something_is_kept(as_user: Any, name: str) -> None:
    """Joiners within a word are text. Some letters are newer than the Unicode that Python knows."""
    assert (await as_user.post("/api/v1/jobs", json={**JOB, "name": name})).json()["name"] == name
