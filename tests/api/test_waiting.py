"""Why a job waits, since when, and what is ahead of it: only what is so."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.api.state import AppState
from app.domain.scheduling import MOST_COUNTED
from tests.conftest import FakeClock
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, start_job

pytestmark = pytest.mark.anyio

NOTHING = {
    "wait_reason": None,
    "text": None,
    "since": None,
    "pending_ahead": None,
    "approved_ahead_same_type": None,
    "free_gpus": None,
    "held_by": None,
    "queue_reason": None,
    "expected_start_at": None,
}


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


async def waiting(client: Any, job: Any, language: str = "en") -> Any:
    answer = await client.get(f"/api/v1/jobs/{job.id}/waiting", headers={"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def make_wait(state: AppState, job: Any, reason: str) -> None:
    """As the dispatcher would note it."""
    async with state.database.transaction() as connection:
        note = text("UPDATE jobs SET wait_reason = :reason WHERE id = :id")
        await connection.execute(note, {"reason": reason, "id": job.id})


async def test_a_stranger_learns_nothing_and_another_user_finds_no_job(
    client: Any, as_user: Any, as_admin: Any, state: AppState
) -> None:
    job = await make_job(state, await make_user(state))
    path = f"/api/v1/jobs/{job.id}/waiting"
    assert (await client.get(path)).status_code == 401
    answer = await as_user.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert (await as_admin.get(path)).status_code == 200


async def test_an_undecided_job_is_told_how_many_were_submitted_earlier(
    as_user: Any, state: AppState, user: Person, admin: Person, clock: FakeClock
) -> None:
    others = [await make_job(state, await make_user(state), gpu_type="V100") for _ in range(3)]
    await approve_job(state, others[0].id, admin)
    job = await make_job(state, user)
    await make_job(state, admin)
    clock.advance(minutes=10)
    assert await waiting(as_user, job) == {
        "job_id": job.id,
        "status": "PENDING",
        "wait_reason": "AWAITING_DECISION",
        "text": "Waits for an admin's decision. 2 earlier requests wait as well.",
        "since": "2026-03-10T12:00:00Z",
        "pending_ahead": 2,
        "approved_ahead_same_type": None,
        "free_gpus": 8,
        "held_by": 0,
        "queue_reason": None,
        "expected_start_at": None,
    }
    assert (await waiting(as_user, job, "fa"))[
        "text"
    ] == "در انتظار تأیید مدیر. ۲ درخواست زودتر هم در انتظار تأیید است."


async def test_an_approved_job_is_told_what_is_free_who_holds_the_rest_and_who_was_earlier(
    as_user: Any, state: AppState, user: Person, admin: Person, clock: FakeClock
) -> None:
    running = await make_job(state, admin, num_gpus=6)
    earlier, job, later, of_another_type = [
        await make_job(state, user, gpu_type=gpu_type, num_gpus=4) for gpu_type in ("A100", "A100", "A100", "V100")
    ]
    for each in (running, of_another_type, earlier, job, later):
        clock.advance(minutes=1)
        await approve_job(state, each.id, admin)
    await start_job(state, running.id, admin)
    await make_wait(state, job, "AWAITING_GPUS")
    assert await waiting(as_user, job) == {
        "job_id": job.id,
        "status": "APPROVED",
        "wait_reason": "AWAITING_GPUS",
        "text": "Approved; waits until 4 GPUs of type A100 are free. 2 GPUs of this type are free now. "
        "1 job holds GPUs of this type. 1 job that was approved earlier waits for this type as well.",
        "since": "2026-03-10T12:04:00Z",
        "pending_ahead": None,
        "approved_ahead_same_type": 1,
        "free_gpus": 2,
        "held_by": 1,
        "queue_reason": None,
        "expected_start_at": None,
    }
    assert (await waiting(as_user, job, "fa"))["text"] == (
        "تأیید شده؛ در انتظار آزاد شدن ۴ GPU از نوع \u2068A100\u2069. اکنون ۲ GPU از این نوع آزاد است. "
        "۱ کار GPUهای این نوع را در دست دارد. ۱ کار که زودتر تأیید شده هم منتظر همین نوع است."
    )
    await start_job(state, of_another_type.id, admin)
    assert (await waiting(as_user, later))["approved_ahead_same_type"] == 2
    assert (await waiting(as_user, earlier))["approved_ahead_same_type"] == 0


async def test_where_an_admin_starts_jobs_the_queue_is_not_promised(
    as_user: Any, state: AppState, user: Person, admin: Person
) -> None:
    for _ in range(2):
        job = await make_job(state, user)
        await approve_job(state, job.id, admin)
    told = await waiting(as_user, job)
    assert told["wait_reason"] == "AWAITING_START"
    assert told["text"] == "Approved; waits for an admin to start it. 8 GPUs of this type are free now."
    assert told["approved_ahead_same_type"] == 1


async def test_a_job_that_lacks_quota_is_told_just_that(
    as_user: Any, state: AppState, user: Person, admin: Person
) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await make_wait(state, job, "AWAITING_QUOTA")
    told = await waiting(as_user, job)
    assert told["text"] == (await as_user.get(f"/api/v1/jobs/{job.id}")).json()["reason_text"]


async def test_none_and_one_are_said_as_people_say_them(
    as_user: Any, state: AppState, user: Person, admin: Person
) -> None:
    job = await make_job(state, user)
    assert (await waiting(as_user, job))["text"] == "Waits for an admin's decision. No earlier request waits."
    assert (await waiting(as_user, await make_job(state, user)))["text"].endswith("1 earlier request waits as well.")
    await approve_job(state, job.id, admin)
    await make_wait(state, job, "AWAITING_GPUS")
    async with state.database.transaction() as connection:
        await connection.execute(text("UPDATE gpus SET is_contended = true"))
    assert (await waiting(as_user, job))["text"] == (
        "Approved; waits until 1 GPU of type A100 is free. No GPU of this type is free now. "
        "No job holds a GPU of this type. No job that was approved earlier waits for this type."
    )


async def test_a_long_queue_is_not_counted_to_its_end(as_user: Any, state: AppState, user: Person) -> None:
    job = await make_job(state, user, time_limit=timedelta(minutes=1))
    async with state.database.transaction() as connection:
        copies = """
            INSERT INTO jobs (user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, is_sensitive,
                              reserved_seconds)
            SELECT user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, is_sensitive,
                   reserved_seconds
            FROM jobs, generate_series(1, :copies) WHERE id = :id
        """
        await connection.execute(text(copies), {"copies": MOST_COUNTED + 5, "id": job.id})
    last = await make_job(state, user, time_limit=timedelta(minutes=1))
    told = await waiting(as_user, last)
    assert told["pending_ahead"] == MOST_COUNTED
    assert told["text"].endswith("At least 1,000 earlier requests wait as well.")


async def test_what_has_begun_waits_for_nothing_ahead(
    as_user: Any, as_admin: Any, state: AppState, user: Person, admin: Person, clock: FakeClock
) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    clock.advance(minutes=1)
    await start_job(state, job.id, admin)
    told = await waiting(as_user, job)
    starting = {"wait_reason": "STARTING", "text": "Starting on its GPUs.", "since": "2026-03-10T12:01:00Z"}
    assert told == {"job_id": job.id, "status": "RUNNING", **NOTHING, **starting}
    clock.advance(minutes=1)
    await as_admin.post(f"/api/v1/jobs/{job.id}/cancel")
    told = await waiting(as_user, job)
    assert (told["wait_reason"], told["since"]) == ("CANCELLING", "2026-03-10T12:02:00Z")
    given_up = await make_job(state, user)
    await as_user.post(f"/api/v1/jobs/{given_up.id}/cancel")
    assert await waiting(as_user, given_up) == {"job_id": given_up.id, "status": "CANCELLED", **NOTHING}
