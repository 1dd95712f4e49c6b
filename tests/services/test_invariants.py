"""Each rule of the sweep finds what breaks it, and nothing else does: a check that cannot fail is worth nothing.

The rules are broken past the triggers, and where a constraint forbids it, past the constraint: backups come from
anywhere, and so do schemas.
"""

import re
from datetime import timedelta

import pytest
from sqlalchemy import text

from app.db.queries.invariants import SWEEP
from app.db.queries.jobs import Move
from app.domain.execution import EndReason
from app.domain.identity import Actor
from app.domain.job_state import JobStatus
from app.services import transitions
from tests.conftest import FakeClock
from tests.factories import Person, make_token, make_user
from tests.owner import become_owner
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

I1 = "I1 a month never holds more than its limit"
I2 = "I2 reserved is the sum of its unfinished jobs"
I3 = "I3 used is the sum of its finished jobs and corrections"
I4_SUM = "I4 the ledger adds up to the month"
I4_ONCE = "I4 one reservation, and one settlement once it is final"
I5 = "I5 a charge lies within the reservation, and is nothing where nothing ran"
I5_LOST = "I5 a lost run pays for the time that its engine had told of"
I5_REFUND = "I5 no more is given back than was charged, and a node's failure gives back all"
I7 = "I7 months of a user neither overlap nor leave a gap"
I9 = "I9 every step is one that the state machine knows"
I10 = "I10 one end, if and only if the job is final"
I11_CHAIN = "I11 events are numbered without a gap and each begins where the last ended"
I11_LAST = "I11 the last event is the job's status"
I12_TIMES = "I12 times are set when they are due, and grow"
I12_STARTED = "I12 a job has started if and only if its history says so"
I13 = "I13 every event names one actor"
I16 = "I16 a GPU is held once"
I17 = "I17 a job that runs holds its GPUs, any other holds none"
I23 = "I23 there is one lease"
I31 = "I31 a token ends with the rights it was made under"
I33 = "I33 an active admin exists once one did"
COUNTS = "the kept counts are the true counts"

RULES = {I1, I2, I3, I4_SUM, I4_ONCE, I5, I5_LOST, I5_REFUND, I7, I9, I10, I11_CHAIN, I11_LAST, I12_TIMES,
         I12_STARTED, I13, I16, I17, I23, I31, I33, COUNTS}  # fmt: skip

A_MONTH = timedelta(days=31)


@pytest.fixture
async def history(desk: Desk, user: Person, admin: Person, clock: FakeClock) -> None:
    """Two months with a job in every state, `name` being the state it is in, and a token of their owner."""
    await make_token(desk.state, user)
    second_admin = await make_user(desk.state)
    await desk.sql("UPDATE users SET is_admin = true WHERE id = :id", id=second_admin.id)
    await desk.adjust(admin, user, 100)
    clock.advance(A_MONTH)
    for status in JobStatus:
        job_id = await desk.submit(user, name=status)
        clock.advance(minutes=1)
        if status is JobStatus.CANCELLED:
            await desk.cancel(user, job_id)
        elif status is JobStatus.REJECTED:
            await desk.reject(admin, job_id)
        elif status is not JobStatus.PENDING:
            await desk.approve(admin, job_id)
        if status in (JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED):
            clock.advance(minutes=1)
            await desk.start(admin, job_id)
        if status in (JobStatus.COMPLETED, JobStatus.FAILED):
            clock.advance(minutes=1)
            reason = EndReason.EXITED if status is JobStatus.COMPLETED else EndReason.NONZERO_EXIT
            end = Move(job_id, JobStatus.RUNNING, status, reason=reason, charged_seconds=60)
            async with desk.state.database.transaction() as connection:
                await transitions.apply(connection, [end], actor=Actor.dispatcher(1), now=clock())
    second = await desk.submit(user, name="RUNNING TOO")
    await desk.approve(admin, second)
    await desk.start(admin, second)


DROP_CHECK = "ALTER TABLE {0} DROP CONSTRAINT ck_{0}_{1}"


def entry_of(job: str, kind: str, reserved_delta: int = 0) -> str:
    return (
        "INSERT INTO quota_entries (quota_id, user_id, job_id, kind, reserved_delta, actor_process) "  # noqa: S608
        f"SELECT quota_id, user_id, id, '{kind}', {reserved_delta}, 'test' FROM jobs WHERE id = :{job}"
    )


BREACHES: dict[str, tuple[set[str], *tuple[str, ...]]] = {
    "a month over its limit": (
        {I1},
        DROP_CHECK.format("user_quotas", "within_limit"),
        "UPDATE user_quotas SET limit_seconds = 1 WHERE id = :month",
        "UPDATE quota_entries SET limit_delta = 1 WHERE quota_id = :month AND kind = 'GRANT'",
    ),
    "a reservation without a job": (
        {I2},
        "UPDATE user_quotas SET reserved_seconds = reserved_seconds + 1 WHERE id = :month",
        "UPDATE quota_entries SET reserved_delta = reserved_delta + 1 WHERE job_id = :pending",
    ),
    "use without a job": (
        {I3},
        "UPDATE user_quotas SET used_seconds = used_seconds + 1 WHERE id = :month",
        "UPDATE quota_entries SET used_delta = used_delta + 1 WHERE job_id = :completed AND kind = 'SETTLE'",
    ),
    "a correction that the month does not know": (
        {I3, I4_SUM},
        "UPDATE quota_entries SET used_delta = used_delta + 1 WHERE kind = 'ADJUST'",
    ),
    "a limit that nobody set": (
        {I4_SUM},
        "UPDATE user_quotas SET limit_seconds = limit_seconds + 1 WHERE id = :month",
    ),
    "reserved twice": (
        {I4_ONCE},
        "DROP INDEX uq_quota_entries_one_reserve",
        entry_of("pending", "RESERVE"),
    ),
    "settled twice": (
        {I4_ONCE},
        "DROP INDEX uq_quota_entries_one_settlement",
        entry_of("completed", "RELEASE"),
    ),
    "settled before the end": (
        {I4_ONCE},
        entry_of("running", "RELEASE"),
    ),
    "moved out but not in": (
        {I2, I4_ONCE},
        entry_of("running", "MOVE_OUT", -5),
        "UPDATE user_quotas SET reserved_seconds = reserved_seconds - 5 WHERE id = :month",
    ),
    "charged more than was reserved": (
        {I5},
        DROP_CHECK.format("jobs", "charge_within_reservation"),
        "UPDATE jobs SET charged_seconds = charged_seconds + 9000 WHERE id = :completed",
        "UPDATE user_quotas SET used_seconds = used_seconds + 9000 WHERE id = :month",
        "UPDATE quota_entries SET used_delta = used_delta + 9000 WHERE job_id = :completed AND kind = 'SETTLE'",
    ),
    "a lost run that was charged too little": (
        {I5_LOST},
        "UPDATE jobs SET measured_seconds = 61, reason = 'LOST' WHERE id = :failed",
    ),
    "the charge of a failed node": ({I5_REFUND}, "UPDATE jobs SET reason = 'NODE_FAILURE' WHERE id = :failed"),
    "more given back than was charged": (
        {I5_REFUND},
        "UPDATE user_quotas SET used_seconds = used_seconds - 61 WHERE id = :month",
        "INSERT INTO quota_entries (quota_id, user_id, job_id, kind, used_delta, actor_process) "
        "SELECT quota_id, user_id, id, 'REFUND', -61, 'test' FROM jobs WHERE id = :completed",
    ),
    "charged without a run": (
        {I5, I12_STARTED, I12_TIMES},
        DROP_CHECK.format("jobs", "charged_only_if_it_ran"),
        DROP_CHECK.format("jobs", "started_if_it_ran"),
        "UPDATE jobs SET started_at = NULL WHERE id = :completed",
    ),
    "a gap between months": (
        {I7},
        "UPDATE user_quotas SET starts_at = starts_at + interval '1 day' WHERE id = :month",
    ),
    "two months at once": (
        {I7},
        "ALTER TABLE user_quotas DROP CONSTRAINT ex_user_quotas_no_overlap",
        "UPDATE user_quotas SET starts_at = starts_at - interval '1 day' WHERE id = :month",
    ),
    "from PENDING to RUNNING": (
        {I9},
        "UPDATE job_events SET to_status = 'PENDING' WHERE job_id = :completed AND seq = 2",
        "UPDATE job_events SET from_status = 'PENDING' WHERE job_id = :completed AND seq = 3",
    ),
    "born APPROVED": (
        {I9},
        "UPDATE job_events SET to_status = 'APPROVED' WHERE job_id = :cancelled AND seq = 1",
        "UPDATE job_events SET from_status = 'APPROVED' WHERE job_id = :cancelled AND seq = 2",
    ),
    "a request that moves the job": (
        {I9, I10},
        "UPDATE job_events SET kind = 'CANCEL_REQUESTED' WHERE job_id = :completed AND seq = 4",
    ),
    "two ends": (
        {I9, I10},
        "DROP INDEX uq_job_events_one_end",
        "INSERT INTO job_events (job_id, user_id, seq, from_status, to_status, actor_process) "
        "SELECT id, user_id, 5, status, status, 'test' FROM jobs WHERE id = :completed",
        "UPDATE jobs SET event_seq = 5 WHERE id = :completed",
    ),
    "an event that is missing": (
        {I11_CHAIN},
        "UPDATE job_events SET seq = 5 WHERE job_id = :completed AND seq = 4",
        "UPDATE jobs SET event_seq = 5 WHERE id = :completed",
    ),
    "an event that begins elsewhere": (
        {I9, I11_CHAIN},
        "UPDATE job_events SET from_status = 'PENDING' WHERE job_id = :completed AND seq = 4",
    ),
    "an event that the job does not know": ({I11_LAST}, "UPDATE jobs SET event_seq = 3 WHERE id = :completed"),
    "a status without an event": (
        {I11_LAST, COUNTS},
        "UPDATE jobs SET status = 'FAILED' WHERE id = :completed",
    ),
    "started before it was approved": (
        {I12_TIMES},
        DROP_CHECK.format("jobs", "started_after_decided"),
        "UPDATE jobs SET started_at = decided_at - interval '1 second' WHERE id = :completed",
    ),
    "finished before it started": (
        {I12_TIMES},
        DROP_CHECK.format("jobs", "finished_last"),
        "UPDATE jobs SET finished_at = started_at - interval '1 second' WHERE id = :completed",
    ),
    "approved before it was submitted": (
        {I12_TIMES},
        DROP_CHECK.format("jobs", "decided_after_created"),
        "UPDATE jobs SET created_at = decided_at + interval '1 second' WHERE id = :running",
    ),
    "started and never run": (
        {I12_STARTED},
        DROP_CHECK.format("jobs", "run_id_if_started"),
        "UPDATE jobs SET started_at = created_at WHERE id = :cancelled",
    ),
    "an event of nobody": (
        {I13},
        DROP_CHECK.format("job_events", "one_actor"),
        "UPDATE job_events SET actor_user_id = NULL WHERE job_id = :pending",
    ),
    "an event of two": (
        {I13},
        DROP_CHECK.format("job_events", "one_actor"),
        "UPDATE job_events SET actor_process = 'dispatcher:1' WHERE job_id = :pending",
    ),
    "one GPU for two jobs": (
        {I16},
        "DROP INDEX uq_gpu_allocations_one_open",
        "UPDATE gpu_allocations SET gpu_id = (SELECT min(gpu_id) FROM gpu_allocations WHERE released_at IS NULL) "
        "WHERE released_at IS NULL",
    ),
    "running without a GPU": (
        {I17},
        "UPDATE gpu_allocations SET released_at = allocated_at WHERE job_id = :running",
    ),
    "holding a GPU after the end": (
        {I17},
        "UPDATE gpu_allocations SET released_at = NULL, gpu_id = (SELECT max(id) FROM gpus) WHERE job_id = :completed",
    ),
    "no lease": ({I23}, "DELETE FROM dispatcher_lease"),
    "two leases": (
        {I23},
        DROP_CHECK.format("dispatcher_lease", "one_row"),
        "INSERT INTO dispatcher_lease (singleton) VALUES (false)",
    ),
    "a token of somebody who is disabled": ({I31}, "UPDATE users SET is_active = false WHERE NOT is_admin"),
    "an admin's token of somebody who is none": ({I31}, "UPDATE personal_access_tokens SET scopes = '{admin}'"),
    "nobody to administer": ({I33}, "UPDATE users SET is_admin = false"),
    "only disabled admins": ({I31, I33}, "UPDATE users SET is_active = false"),
    "no admin, though one was made as such": (
        {I33},
        "DELETE FROM audit_entries WHERE action = 'user.promoted'",
        "UPDATE users SET is_admin = false",
    ),
    "a count too high": ({COUNTS}, "UPDATE job_counts SET jobs = jobs + 1 WHERE status = 'PENDING'"),
    "a count that is missing": ({COUNTS}, "DELETE FROM job_counts WHERE status = 'PENDING'"),
    "a count of nothing": ({COUNTS}, "UPDATE job_counts SET status = 'FAILED', jobs = 9 WHERE status = 'FAILED'"),
}


async def findings_after(desk: Desk, *statements: str) -> set[str]:
    """The rules that these statements break. Nothing of them stays."""
    jobs = await desk.sql("SELECT id, name, quota_id FROM jobs")
    subjects = {job.name.lower(): job.id for job in jobs} | {"month": jobs[0].quota_id}
    async with desk.state.database.engine.connect() as connection:
        await become_owner(connection, unguarded=True)
        for statement in statements:
            changed = await connection.execute(text(statement), subjects)
            assert changed.rowcount != 0, f"nothing to change: {statement}"
        found = await connection.exec_driver_sql(SWEEP.read_text(encoding="utf-8"))
        rules = {row.rule for row in found}
        await connection.rollback()
    return rules


@pytest.mark.usefixtures("history")
async def test_a_healthy_history_breaks_no_rule(desk: Desk) -> None:
    assert await findings_after(desk, "UPDATE users SET locale = 'fa'") == set()
    statuses = await desk.sql("SELECT DISTINCT status FROM jobs")
    assert {row.status for row in statuses} == set(JobStatus)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("breach", BREACHES)
async def test_it_finds(desk: Desk, breach: str) -> None:
    rules, *statements = BREACHES[breach]
    assert await findings_after(desk, *map(str, statements)) == rules


def test_every_rule_of_the_sweep_is_broken_here() -> None:
    sweep = SWEEP.read_text(encoding="utf-8")
    named = {rule.replace("''", "'") for rule in re.findall(r"SELECT '((?:[^']|'')+)'(?: AS rule)?,", sweep)}
    assert named == RULES
    assert set().union(*(rules for rules, *_ in BREACHES.values())) == RULES
