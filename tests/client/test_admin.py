"""`gtm admin`: decisions, people, GPUs and the report."""

from datetime import timedelta
from typing import Any

import pytest

from tests.client.runner import Gtm
from tests.factories import Person, run_job
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio


async def test_a_request_is_seen_approved_and_started(sara: Gtm, reza: Gtm, desk: Desk, user: Person) -> None:
    first, second = [await desk.submit(user, num_gpus=2) for _ in range(2)]
    requests = reza("admin", "requests")
    line = requests.lines[1].split("\t")
    assert line[:8] == [str(first), "PENDING", user.email, "train-resnet", "A100:2", "1h", "2", "996"]
    assert f"To decide on: 2. To start: 0.\nNext: gtm show {first}, then gtm admin approve {first}" in requests.err
    approved = reza("admin", "approve", first, second, "--note", "good luck")
    assert approved.err == (
        f"Job {first} is APPROVED.\nJob {second} is APPROVED.\nNext: gtm admin start {first} {second}\n"
    )
    assert sara("show", first, "--json").json["decision_note"] == "good luck"
    assert reza("admin", "start", first).err == f"Job {first} is RUNNING.\nNext: gtm wait {first}\n"
    assert reza("admin", "requests", "-o", "id").out == f"{second}\n"
    assert reza("admin", "requests", "--status", "pending").err == "Nothing waits.\n"


async def test_what_was_read_is_approved_and_nothing_else(reza: Gtm, desk: Desk, user: Person) -> None:
    job_id, other = await desk.submit(user), await desk.submit(user, command="another")
    digest = reza("show", job_id, "--json").json["digest"]
    assert "[request-differs]" in reza("admin", "approve", other, "--digest", digest, code=5).err
    assert "of one job" in reza("admin", "approve", job_id, other, "--digest", digest, code=2).err
    assert reza("admin", "approve", job_id, "--digest", digest).err.startswith(f"Job {job_id} is APPROVED.")
    assert (await desk.job(other)).status == "PENDING"


async def test_a_decision_that_is_repeated_names_what_is_useful_now(
    reza: Gtm, desk: Desk, user: Person, admin: Person
) -> None:
    job_id = await desk.submit(user, command="sleep 2520000", time_limit=timedelta(hours=700))
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    assert reza("admin", "approve", job_id).err == f"Job {job_id} is RUNNING.\nNext: gtm show {job_id}\n"


async def test_of_several_decisions_each_stands_for_itself(reza: Gtm, desk: Desk, user: Person) -> None:
    cancelled, waiting = [await desk.submit(user) for _ in range(2)]
    await desk.cancel(user, cancelled)
    outcome = reza("admin", "approve", cancelled, waiting, 999_999_999, "--json", code=5)
    assert [job["id"] for job in outcome.json] == [waiting]
    assert f"gtm: {cancelled}: " in outcome.err
    assert "[job-state-conflict]" in outcome.err
    assert "gtm: 999999999: " in outcome.err
    assert "[not-found]" in reza("admin", "start", 999_999_999, code=3).err
    assert "100 jobs are decided on in one call" in reza("admin", "approve", *range(1, 102), code=2).err


async def test_a_rejection_needs_its_reason(sara: Gtm, reza: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user)
    assert "--reason" in reza("admin", "reject", job_id, code=2).err
    reza("admin", "reject", job_id, "--reason", " ", code=2)
    reza("admin", "reject", job_id, "--reason", "use fewer GPUs")
    assert "use fewer GPUs" in sara("show", job_id).out


async def test_a_charge_is_refunded(sara: Gtm, reza: Gtm, desk: Desk, user: Person, admin: Person) -> None:
    job_id = await desk.submit(user)
    assert "[job-state-conflict]" in reza("admin", "refund", job_id, "--reason", "x", code=5).err
    await run_job(desk.state, job_id, admin, charged_seconds=1800)
    assert "--reason" in reza("admin", "refund", job_id, code=2).err
    given = reza("admin", "refund", job_id, "--hours", "0.2", "--reason", "the disk was full")
    assert given.err == (
        f"Job {job_id} was charged 0.5 GPU-hours, of which 0.2 GPU-hours are refunded.\n"
        f"Next: gtm admin quota {user.email} --entries\n"
    )
    assert "[refund-out-of-range]" in reza("admin", "refund", job_id, "--hours", "0.4", "--reason", "x", code=5).err
    assert reza("admin", "refund", job_id, "--reason", "all", "--json").json[0]["refunded_gpu_hours"] == 0.5
    assert "REFUND" in reza("admin", "quota", user.email, "--entries").out
    assert "Refunded" in sara("show", job_id).out


async def test_no_capacity_is_told_with_who_holds_it(reza: Gtm, desk: Desk, user: Person, admin: Person) -> None:
    await desk.set_limit(admin, user, 10_000 * 3600)
    asked: dict[str, Any] = {
        "gpu_type": "T4",
        "num_gpus": 4,
        "command": "sleep 2520000",
        "time_limit": timedelta(hours=700),
    }
    jobs = [await desk.submit(user, **asked) for _ in range(2)]
    for job_id in jobs:
        await desk.approve(admin, job_id)
    await desk.start(admin, jobs[0])
    assert "[no-capacity]" in reza("admin", "start", jobs[1], code=5).err


async def test_admins_commands_are_for_admins(sara: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user)
    assert "[scope-missing]" in sara("admin", "approve", job_id, code=4).err
    sara("admin", "requests", code=4)


async def test_a_quota_is_shown_and_changed_with_a_reason(reza: Gtm, user: Person) -> None:
    assert reza("admin", "quota", user.email, "--json").json["limit_hours"] == 1000
    assert "needs its reason" in reza("admin", "quota", user.email, "--limit", "50", code=2).err
    raised = reza("admin", "quota", user.email, "--limit", "50", "--reason", "thesis")
    assert "Granted\t50 GPU-hours" in raised.out
    corrected = reza("admin", "quota", user.id, "--adjust", "5", "--reason", "ran elsewhere", "--json")
    assert corrected.json["used_hours"] == 5
    assert "ran elsewhere" in reza("admin", "quota", user.email, "--entries").out
    assert "Nobody has the e-mail" in reza("admin", "quota", "nobody@example.org", code=3).err


async def test_people_are_found_promoted_and_disabled(sara: Gtm, reza: Gtm, user: Person) -> None:
    assert [each["email"] for each in reza("admin", "users", "--q", "sara", "--json").json] == [user.email]
    assert len(reza("admin", "users", "-o", "id").lines) == 2
    promoted = reza("admin", "promote", user.email)
    assert promoted.err == f"{user.email} is an admin, and active.\nNext: gtm admin users\n"
    reza("admin", "demote", user.id)
    reza("admin", "deactivate", user.email)
    sara("ps", code=4)
    assert reza("admin", "activate", user.email, "--json").json[0]["is_active"] is True
    assert "[last-admin]" in reza("admin", "demote", "reza@example.org", code=5).err


async def test_a_gpu_is_drained_and_resumed_by_its_place(reza: Gtm) -> None:
    drained = reza("admin", "drain", "node1:0", "--reason", "a fan is broken")
    assert drained.err == "node1:0 (A100) is DRAINED.\nNext: gtm gpus --each\n"
    line = next(line for line in reza("gpus", "--each").lines if line.startswith("node1:0"))
    assert line.split("\t")[3:] == ["DRAINED", "-", "-", "a fan is broken"]
    assert "node1:0 (A100) is FREE." in reza("admin", "resume", "node1:0").err
    assert len(reza("admin", "drain", "node3", "--reason", "moved", "-o", "id").lines) == 4
    assert "There is no GPU node9." in reza("admin", "drain", "node9", "--reason", "x", code=3).err


async def test_what_goes_on_against_the_rules_is_listed(reza: Gtm, desk: Desk) -> None:
    assert reza("admin", "alerts").err == "All is as it should be.\n"
    await desk.sql(
        "INSERT INTO foreign_jobs (executor, engine_job_id, name, num_gpus, seen_at)"
        " VALUES ('slurm', '7', 'mine', 4, now())"
    )
    assert reza("admin", "alerts").lines[1].split("\t") == ["foreign", "7", "mine", "-", "4", "-"]


async def test_the_report_is_a_table_or_the_services_own_fields(reza: Gtm, desk: Desk, user: Person) -> None:
    await desk.submit(user, num_gpus=2)
    heading, line = reza("admin", "usage").lines
    assert heading.split("\t") == ["Month", "E-mail", "Name", "Granted", "Used", "Reserved", "Ended jobs"]
    assert line.split("\t")[1:] == [user.email, "Sara Ahmadi", "1000", "0", "2", "0"]
    csv_heading, csv_line = reza("admin", "usage", "--user", user.email, "-o", "csv").lines
    assert "reserved_hours" in csv_heading.split(",")
    assert user.email in csv_line
    assert reza("admin", "usage", "--to", "2020-01-01", "--from", "2020-01-01").err == "No hours in these months.\n"
    assert "[validation-failed]" in reza("admin", "usage", "--from", "yesterday", code=5).err
