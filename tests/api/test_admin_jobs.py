"""Decisions over HTTP."""

import asyncio
from itertools import product
from typing import Any

import pytest

from app.api.state import AppState
from app.db.queries import jobs as queries
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, run_job, start_job

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


async def test_a_stranger_and_a_user_are_kept_out(client: Any, as_user: Any) -> None:
    assert (await client.get("/api/v1/admin/jobs")).status_code == 401
    answer = await as_user.get("/api/v1/admin/jobs")
    assert (answer.status_code, answer.json()["code"]) == (403, "admin-required")


async def test_an_approved_job_names_who_approved_it_and_why(state: AppState, as_admin: Any, user: Person) -> None:
    job = await make_job(state, user)
    approved = (await as_admin.post(f"/api/v1/admin/jobs/{job.id}/approve", json={"note": "Go ahead"})).json()
    assert (approved["status"], approved["decision_note"]) == ("APPROVED", "Go ahead")
    assert approved["decided_by"]["full_name"] == "Sara Ahmadi"
    assert approved["actions"] == ["start", "cancel"]


async def test_only_what_was_read_is_approved(state: AppState, as_admin: Any, user: Person) -> None:
    """The digest stands for all that was asked for; without one, as from old clients, nothing is compared."""
    job, same, other = [await make_job(state, user, command=command) for command in ("a", "a", "b")]
    seen = {each["id"]: each["digest"] for each in (await as_admin.get("/api/v1/admin/jobs")).json()}
    assert seen[job.id] == seen[same.id] != seen[other.id]
    path = f"/api/v1/admin/jobs/{job.id}/approve"
    answer = await as_admin.post(path, json={"digest": seen[other.id]})
    assert (answer.status_code, answer.json()["code"]) == (409, "request-differs")
    assert (await as_admin.get(f"/api/v1/jobs/{job.id}")).json()["status"] == "PENDING"
    assert (await as_admin.post(path, json={"digest": seen[job.id]})).json()["status"] == "APPROVED"
    decisions = [
        {"job_id": each.id, "action": "approve", "digest": seen[each.id if each is same else job.id]}
        for each in (same, other)
    ]
    results = (await as_admin.post("/api/v1/admin/jobs/decisions", json={"decisions": decisions})).json()
    assert [result["status"] for result in results] == [200, 409]
    assert (await as_admin.post(path, json={"digest": "x"})).status_code == 422
    unread = {"job_id": other.id, "action": "start", "digest": seen[other.id]}
    assert (await as_admin.post("/api/v1/admin/jobs/decisions", json={"decisions": [unread]})).status_code == 422


async def test_repeating_ones_own_decision_changes_nothing(state: AppState, as_admin: Any, user: Person) -> None:
    job = await make_job(state, user)
    path = f"/api/v1/admin/jobs/{job.id}"
    for verb in ("approve", "approve", "start", "start"):
        answer = await as_admin.post(f"{path}/{verb}")
        assert answer.status_code == 200, f"{verb}: {answer.text}"
    events = (await as_admin.get(f"/api/v1/jobs/{job.id}/events")).json()
    assert [event["to_status"] for event in events] == ["PENDING", "APPROVED", "RUNNING"]


async def test_the_slower_of_two_admins_is_told_who_was_faster(state: AppState, as_admin: Any, user: Person) -> None:
    faster = await make_user(state, full_name="Reza", is_admin=True)
    job = await make_job(state, user)
    await approve_job(state, job.id, faster)
    answer = await as_admin.post(f"/api/v1/admin/jobs/{job.id}/reject", json={"reason": "Too long"})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "job-state-conflict")
    assert (problem["current_status"], problem["changed_by"]) == ("APPROVED", "Reza")
    assert problem["allowed"] == ["start", "cancel"]
    assert "Reza" in problem["detail"]


async def test_a_rejection_gives_the_hours_back_and_keeps_its_reason(
    state: AppState, as_admin: Any, as_user: Any, user: Person
) -> None:
    job = await make_job(state, user)
    await as_admin.post(f"/api/v1/admin/jobs/{job.id}/reject", json={"reason": "Use the T4s."})
    seen = (await as_user.get(f"/api/v1/jobs/{job.id}")).json()
    assert (seen["status"], seen["reason"], seen["decision_note"]) == ("REJECTED", "REJECTED_BY_ADMIN", "Use the T4s.")
    assert (await as_user.get("/api/v1/quota")).json()["reserved_hours"] == 0


async def test_a_rejection_without_a_body_is_accepted_from_old_clients(
    state: AppState, as_admin: Any, user: Person
) -> None:
    job = await make_job(state, user)
    answer = await as_admin.post(f"/api/v1/admin/jobs/{job.id}/reject")
    assert (answer.status_code, answer.json()["decision_note"]) == (200, "unspecified")


async def test_a_pending_job_cannot_be_started(state: AppState, as_admin: Any, user: Person) -> None:
    job = await make_job(state, user)
    answer = await as_admin.post(f"/api/v1/admin/jobs/{job.id}/start")
    assert (answer.status_code, answer.json()["allowed"]) == (409, ["approve", "reject", "cancel"])


async def test_a_started_job_holds_named_gpus_on_one_node(state: AppState, as_admin: Any, user: Person) -> None:
    job = await make_job(state, user, num_gpus=3)
    await as_admin.post(f"/api/v1/admin/jobs/{job.id}/approve")
    started = (await as_admin.post(f"/api/v1/admin/jobs/{job.id}/start")).json()
    assert (started["status"], started["wait_reason"]) == ("RUNNING", "STARTING")
    assert started["gpus"] == [{"node": "node1", "index": index} for index in range(3)]


async def test_without_free_gpus_a_job_stays_approved_and_the_holders_are_named(
    state: AppState, as_admin: Any, user: Person, admin: Person
) -> None:
    holder, waiter = await make_job(state, user, num_gpus=6), await make_job(state, user, num_gpus=3)
    for job in (holder, waiter):
        await approve_job(state, job.id, admin)
    await start_job(state, holder.id, admin)
    answer = await as_admin.post(f"/api/v1/admin/jobs/{waiter.id}/start")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (409, "no-capacity")
    assert (problem["needed"], problem["free"], problem["held_by_jobs"]) == (3, 2, [holder.id])
    assert (await as_admin.get(f"/api/v1/jobs/{waiter.id}")).json()["status"] == "APPROVED"


async def test_many_decisions_stand_each_for_itself(state: AppState, as_admin: Any, user: Person) -> None:
    good, bad = await make_job(state, user), await make_job(state, user)
    decisions = [
        {"job_id": good.id, "action": "approve"},
        {"job_id": bad.id, "action": "start"},
        {"job_id": 10**9, "action": "approve"},
        {"job_id": bad.id, "action": "reject", "note": "Not now"},
    ]
    answer = await as_admin.post("/api/v1/admin/jobs/decisions", json={"decisions": decisions})
    assert answer.status_code == 207
    results = answer.json()
    assert [result["status"] for result in results] == [200, 409, 404, 200]
    assert [(result["job"] or {}).get("status") for result in results] == ["APPROVED", None, None, "REJECTED"]
    assert results[1]["problem"]["code"] == "job-state-conflict"


async def test_a_bulk_rejection_needs_a_reason(state: AppState, as_admin: Any, user: Person) -> None:
    job = await make_job(state, user)
    decisions = {"decisions": [{"job_id": job.id, "action": "reject", "note": "  "}]}
    answer = await as_admin.post("/api/v1/admin/jobs/decisions", json=decisions)
    assert answer.status_code == 422


async def test_admins_list_everybodys_jobs_by_status_user_and_age(
    state: AppState, as_admin: Any, user: Person, admin: Person
) -> None:
    other = await make_user(state)
    mine, theirs = await make_job(state, user), await make_job(state, other)
    await approve_job(state, theirs.id, admin)

    async def ids(query: str) -> list[int]:
        return [job["id"] for job in (await as_admin.get(f"/api/v1/admin/jobs?{query}")).json()]

    assert await ids("") == [theirs.id, mine.id]
    assert await ids("sort=oldest") == [mine.id, theirs.id]
    assert await ids("status=PENDING") == [mine.id]
    assert await ids(f"user={other.id}") == [theirs.id]
    counts = (await as_admin.get("/api/v1/admin/jobs/counts")).json()
    assert (counts["PENDING"], counts["APPROVED"]) == (1, 1)


async def test_an_admin_cancels_for_somebody_and_is_named(
    state: AppState, as_admin: Any, user: Person, admin: Person
) -> None:
    job = await make_job(state, user)
    cancelled = (await as_admin.post(f"/api/v1/jobs/{job.id}/cancel", json={"reason": "Maintenance"})).json()
    assert cancelled["reason"] == "CANCELLED_BY_ADMIN"
    audit = (await as_admin.get("/api/v1/admin/audit?action=job.cancelled")).json()
    assert [(entry["actor"]["id"], entry["target_id"]) for entry in audit] == [(admin.id, job.id)]


async def test_jobs_are_listed_by_gpu_type_and_status(
    state: AppState, as_admin: Any, user: Person, admin: Person
) -> None:
    types = ("A100", "V100", "A100", "V100", "V100")
    ids = [(await make_job(state, user, gpu_type=gpu_type)).id for gpu_type in types]
    await approve_job(state, ids[3], admin)
    for query, places in {
        "gpu_type=V100": [4, 3, 1],
        "gpu_type=V100&sort=oldest": [1, 3, 4],
        "gpu_type=V100&status=PENDING": [4, 1],
        "gpu_type=A100&status=PENDING&status=APPROVED&sort=oldest": [0, 2],
        f"gpu_type=A100&user={user.id}": [2, 0],
        f"gpu_type=A100&user={admin.id}": [],
        "gpu_type=V100&q=resnet": [4, 3, 1],
        "gpu_type=H900": [],
    }.items():
        shown = (await as_admin.get(f"/api/v1/admin/jobs?{query}")).json()
        assert [ids.index(job["id"]) for job in shown] == places, query
    first = await as_admin.get("/api/v1/admin/jobs?gpu_type=V100&limit=2")
    second = await as_admin.get(first.headers["Link"].partition(">")[0].removeprefix("<"))
    assert [ids.index(job["id"]) for job in first.json() + second.json()] == [4, 3, 1]


@pytest.mark.parametrize("nearby", [2, 100])
async def test_a_search_finds_the_same_near_and_far(
    state: AppState, as_admin: Any, user: Person, admin: Person, monkeypatch: pytest.MonkeyPatch, nearby: int
) -> None:
    """Rare words are sought by their index, frequent ones among the next jobs; nobody can tell which it was."""
    monkeypatch.setattr(queries, "ROWS_NEARBY", nearby)
    made = []
    for number in range(12):
        name = "rare-bert" if number in (1, 6) else "resnet" if number % 2 else "other"
        job = await make_job(state, user, name=name, gpu_type="A100" if number % 3 else "V100")
        if number % 4 == 0:
            await approve_job(state, job.id, admin)
        made.append((job.id, name, job.gpu_type, "PENDING" if number % 4 else "APPROVED"))
    words, statuses, types = ("rare", "res", "rare bert", "none"), ("", "PENDING", "APPROVED"), ("", "A100", "V100")
    for word, status, gpu_type, order in product(words, statuses, types, ("newest", "oldest")):
        expected = [
            number
            for number, name, of_type, in_status in made
            if all(any(part.startswith(sought) for part in name.split("-")) for sought in word.split())
            and status in ("", in_status)
            and gpu_type in ("", of_type)
        ]
        both = "&status=PENDING&status=APPROVED" if status == "" else f"&status={status}"
        for filters in {f"&status={status}" if status else "", both}:
            of_type = f"&gpu_type={gpu_type}" if gpu_type else ""
            path = f"/api/v1/admin/jobs?q={word}{filters}{of_type}&sort={order}&limit=2"
            shown: list[int] = []
            while path:
                answer = await as_admin.get(path)
                shown += [job["id"] for job in answer.json()]
                path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
            assert shown == (expected if order == "oldest" else expected[::-1]), (word, filters, of_type, order)
    assert [job["id"] for job in (await as_admin.get(f"/api/v1/admin/jobs?q={made[2][0]}")).json()] == [made[2][0]]


class TestRefunds:
    async def test_a_part_and_then_the_rest_of_a_charge_are_given_back(
        self, state: AppState, as_admin: Any, as_user: Any, user: Person, admin: Person
    ) -> None:
        job = await make_job(state, user)
        await run_job(state, job.id, admin, charged_seconds=1800)
        path = f"/api/v1/admin/jobs/{job.id}/refund"
        part = await as_admin.post(path, json={"gpu_hours": 0.125, "reason": "The disk was full."})
        assert part.status_code == 200, part.text
        assert (part.json()["charged_gpu_hours"], part.json()["refunded_gpu_hours"]) == (0.5, 0.125)
        rest = await as_admin.post(path, json={"reason": "All of it, after all."})
        assert rest.json()["refunded_gpu_hours"] == 0.5
        assert (await as_user.get("/api/v1/quota")).json()["used_hours"] == 0
        entries = (await as_user.get("/api/v1/quota/entries")).json()
        assert [(entry["kind"], entry["used_hours"], entry["job_id"], entry["note"]) for entry in entries[:3]] == [
            ("REFUND", -0.375, job.id, "All of it, after all."),
            ("REFUND", -0.125, job.id, "The disk was full."),
            ("SETTLE", 0.5, job.id, None),
        ]
        assert entries[0]["actor"]["email"] == admin.email

    async def test_no_more_is_given_back_than_was_charged(
        self, state: AppState, as_admin: Any, user: Person, admin: Person
    ) -> None:
        job = await make_job(state, user)
        await run_job(state, job.id, admin, charged_seconds=1800)
        path = f"/api/v1/admin/jobs/{job.id}/refund"
        too_much = await as_admin.post(path, json={"gpu_hours": 0.75, "reason": "x"})
        assert (too_much.status_code, too_much.json()["code"], too_much.json()["maximum_hours"]) == (
            409,
            "refund-out-of-range",
            0.5,
        )
        assert (await as_admin.post(path, json={"reason": "x"})).status_code == 200
        assert (await as_admin.post(path, json={"reason": "x"})).json()["maximum_hours"] == 0

    async def test_what_was_corrected_by_hand_is_not_given_back_again(
        self, state: AppState, as_admin: Any, user: Person, admin: Person
    ) -> None:
        job = await make_job(state, user)
        await run_job(state, job.id, admin, charged_seconds=1800)
        correction = {"hours": -0.375, "reason": "By hand."}
        await as_admin.post(f"/api/v1/admin/users/{user.id}/quota/adjustments", json=correction)
        path = f"/api/v1/admin/jobs/{job.id}/refund"
        too_much = await as_admin.post(path, json={"gpu_hours": 0.5, "reason": "x"})
        assert (too_much.status_code, too_much.json()["maximum_hours"]) == (409, 0.125)
        assert (await as_admin.post(path, json={"reason": "x"})).json()["refunded_gpu_hours"] == 0.125

    async def test_two_refunds_at_once_give_back_no_more_than_one_charge(
        self, state: AppState, as_admin: Any, user: Person, admin: Person
    ) -> None:
        job = await make_job(state, user)
        await run_job(state, job.id, admin, charged_seconds=1800)
        body = {"gpu_hours": 0.3, "reason": "x"}
        answers = await asyncio.gather(
            *(as_admin.post(f"/api/v1/admin/jobs/{job.id}/refund", json=body) for _ in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + 7 * [409]

    async def test_of_a_job_that_has_not_ended_nothing_is_given_back(
        self, state: AppState, as_admin: Any, user: Person
    ) -> None:
        job = await make_job(state, user)
        answer = await as_admin.post(f"/api/v1/admin/jobs/{job.id}/refund", json={"reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (409, "job-state-conflict")
