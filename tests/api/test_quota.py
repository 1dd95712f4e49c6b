"""The monthly quota over HTTP: a person's own, and an admin's changes."""

from typing import Any

import pytest

from app.api.state import AppState
from tests.factories import Person, make_fleet, make_job

pytestmark = pytest.mark.anyio


async def test_a_stranger_has_no_quota(client: Any) -> None:
    assert (await client.get("/api/v1/quota")).status_code == 401
    assert (await client.put("/api/v1/admin/users/1/quota", json={})).status_code == 401


async def test_a_new_user_has_the_default_month(as_user: Any) -> None:
    assert (await as_user.get("/api/v1/quota")).json() == {
        "period_start": "2026-03-01T00:00:00Z",
        "period_end": "2026-04-01T00:00:00Z",
        "limit_hours": 100,
        "reserved_hours": 0,
        "used_hours": 0,
        "available_hours": 100,
    }


async def test_the_ledger_says_why_each_number_moved(
    state: AppState, as_user: Any, as_admin: Any, user: Person, admin: Person
) -> None:
    await make_fleet(state)
    job = await make_job(state, user, name="tune")
    path = f"/api/v1/admin/users/{user.id}/quota"
    await as_admin.put(path, json={"limit_hours": 150, "reason": "Thesis"})
    await as_admin.post(f"{path}/adjustments", json={"hours": 2, "reason": "Ran outside"})
    await as_user.post(f"/api/v1/jobs/{job.id}/cancel")
    entries = (await as_user.get("/api/v1/quota/entries")).json()
    moves = [(e["kind"], e["limit_hours"], e["reserved_hours"], e["used_hours"]) for e in entries]
    assert moves == [
        ("RELEASE", 0, -1, 0),
        ("ADJUST", 0, 0, 2),
        ("LIMIT", 50, 0, 0),
        ("RESERVE", 0, 1, 0),
        ("GRANT", 100, 0, 0),
    ]
    assert (entries[1]["note"], entries[1]["actor"]["id"]) == ("Ran outside", admin.id)
    assert (entries[3]["job_id"], entries[3]["job_name"]) == (job.id, "tune")
    assert (await as_admin.get(f"{path}/entries")).json() == entries


async def test_a_limit_below_what_is_used_names_the_minimum(state: AppState, as_admin: Any, user: Person) -> None:
    await make_fleet(state)
    await make_job(state, user, num_gpus=8)
    path = f"/api/v1/admin/users/{user.id}/quota"
    refused = await as_admin.put(path, json={"limit_hours": 7.5, "reason": "Less"})
    assert (refused.status_code, refused.json()["code"]) == (409, "quota-below-use")
    assert refused.json()["minimum_hours"] == 8
    assert (await as_admin.put(path, json={"limit_hours": 8, "reason": "Less"})).json()["available_hours"] == 0


async def test_a_correction_stays_between_nothing_used_and_the_limit(as_admin: Any, user: Person) -> None:
    path = f"/api/v1/admin/users/{user.id}/quota/adjustments"
    too_little = await as_admin.post(path, json={"hours": -1, "reason": "Refund"})
    too_much = await as_admin.post(path, json={"hours": 101, "reason": "Charge"})
    assert (too_little.status_code, too_little.json()["code"]) == (409, "adjustment-out-of-range")
    assert (too_much.json()["minimum_hours"], too_much.json()["maximum_hours"]) == (0, 100)


async def test_a_change_needs_its_reason_and_leaves_a_trace(as_admin: Any, user: Person) -> None:
    path = f"/api/v1/admin/users/{user.id}/quota"
    assert (await as_admin.put(path, json={"limit_hours": 5})).status_code == 422
    assert (await as_admin.put(path, json={"limit_hours": 5, "reason": "Guest"})).status_code == 200
    audit = (await as_admin.get("/api/v1/admin/audit?action=quota.limit_set")).json()
    assert [(entry["target_id"], entry["details"]["reason"]) for entry in audit] == [(user.id, "Guest")]


async def test_the_quota_of_nobody_is_not_found(as_admin: Any) -> None:
    for method, path in (("GET", ""), ("GET", "/entries"), ("PUT", ""), ("POST", "/adjustments")):
        body = {"PUT": {"limit_hours": 1, "reason": "x"}, "POST": {"hours": 1, "reason": "x"}}.get(method)
        answer = await as_admin.request(method, f"/api/v1/admin/users/999999/quota{path}", json=body)
        assert answer.status_code == 404, f"{method} {path}: {answer.text}"
