"""What the database itself refuses, whoever asks: a bug in the code, or an operator with psql."""

import re
from itertools import product

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.queries.jobs import Move
from app.domain.execution import EndReason
from app.domain.identity import Actor
from app.domain.job_state import FINAL, TRANSITIONS, JobStatus
from app.services import transitions
from tests.factories import Person, make_user
from tests.owner import become_owner
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

GUARD = "GT001"
LAST_ADMIN = "GT002"
CHECK_VIOLATION = "23514"
UNIQUE_VIOLATION = "23505"
EXCLUSION_VIOLATION = "23P01"

# What a job in each state looks like, so that nothing but the step itself can be the reason for a refusal.
AS_IF = {
    JobStatus.PENDING: "finished_at = NULL, reason = NULL",
    JobStatus.APPROVED: "finished_at = NULL, reason = NULL",
    JobStatus.RUNNING: "finished_at = NULL, reason = NULL",
    JobStatus.COMPLETED: "finished_at = now() + interval '9 years', reason = 'EXITED'",
    JobStatus.FAILED: "finished_at = now() + interval '9 years', reason = 'LOST'",
    JobStatus.REJECTED: "finished_at = now() + interval '9 years', reason = 'REJECTED_BY_ADMIN'",
    JobStatus.CANCELLED: "finished_at = now() + interval '9 years', reason = 'CANCELLED_BY_USER'",
}


async def refusal(desk: Desk, statement: str, **parameters: object) -> str | None:
    """The SQLSTATE with which the database refuses this. None: it does not."""
    before = await desk.everything()
    try:
        await desk.sql(statement, as_owner=True, **parameters)
    except DBAPIError as error:
        assert await desk.everything() == before
        return str(getattr(error.orig, "sqlstate", ""))
    return None


@pytest.fixture
async def jobs(desk: Desk, user: Person, admin: Person) -> dict[JobStatus, int]:
    """A job in every state."""
    made = {status: await desk.submit(user) for status in JobStatus}
    await desk.cancel(user, made[JobStatus.CANCELLED])
    await desk.reject(admin, made[JobStatus.REJECTED])
    for status in set(JobStatus) - {JobStatus.PENDING, JobStatus.REJECTED, JobStatus.CANCELLED}:
        await desk.approve(admin, made[status])
    for status in (JobStatus.RUNNING, JobStatus.COMPLETED, JobStatus.FAILED):
        await desk.start(admin, made[status])
    async with desk.state.database.transaction() as connection:
        ends = [
            Move(made[JobStatus.COMPLETED], JobStatus.RUNNING, JobStatus.COMPLETED, reason=EndReason.EXITED),
            Move(made[JobStatus.FAILED], JobStatus.RUNNING, JobStatus.FAILED, reason=EndReason.NONZERO_EXIT),
        ]
        await transitions.apply(connection, ends, actor=Actor.dispatcher(1), now=desk.state.clock())
    return made


class TestTheStateMachine:
    async def test_the_trigger_knows_the_same_steps_as_the_program(self, desk: Desk) -> None:
        [[source]] = await desk.sql("SELECT pg_get_functiondef('guard_job_transition'::regproc)")
        pairs = re.findall(r"\('([A-Z]+)', '([A-Z]+)'\)", source)
        assert len(pairs) == len(set(pairs)) == 8
        assert set(pairs) == {(begin, end) for begin, ends in TRANSITIONS.items() for end in ends}

    async def test_every_other_step_is_refused(self, desk: Desk, jobs: dict[JobStatus, int]) -> None:
        outcomes = {}
        for begin, end in product(JobStatus, JobStatus):
            if begin is not end and end not in TRANSITIONS[begin]:
                change = f"UPDATE jobs SET status = '{end}', {AS_IF[end]} WHERE id = :id"  # noqa: S608
                outcomes[begin, end] = await refusal(desk, change, id=jobs[begin])
        assert len(outcomes) == 7 * 6 - 8
        assert set(outcomes.values()) == {GUARD}

    @pytest.mark.parametrize(
        "change", ["queue_reason = 'x'", "charged_seconds = 0", "status = status", "error_message = ''"]
    )
    async def test_a_final_job_cannot_be_changed_in_any_way(
        self, desk: Desk, jobs: dict[JobStatus, int], change: str
    ) -> None:
        for status in JobStatus:
            outcome = await refusal(desk, f"UPDATE jobs SET {change} WHERE id = :id", id=jobs[status])  # noqa: S608
            assert outcome == (GUARD if status in FINAL else None)
        await desk.sql("UPDATE jobs SET name = name WHERE status = 'PENDING'")

    @pytest.mark.parametrize("status", [status for status in JobStatus if status is not JobStatus.PENDING])
    async def test_a_job_is_born_pending(self, desk: Desk, jobs: dict[JobStatus, int], status: JobStatus) -> None:
        columns = "user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, is_sensitive, status, "
        columns += "reserved_seconds, decided_at, decided_by, run_id, started_at, finished_at, reason"
        copy = f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs WHERE id = :id"  # noqa: S608
        assert await refusal(desk, copy, id=jobs[status]) == GUARD


class TestWhatIsKept:
    @pytest.mark.usefixtures("jobs")
    @pytest.mark.parametrize("table", ["jobs", "users", "job_events", "quota_entries", "audit_entries"])
    @pytest.mark.parametrize("act", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
    async def test_it_is_never_deleted(self, desk: Desk, table: str, act: str) -> None:
        assert await refusal(desk, act.format(table)) == GUARD

    @pytest.mark.usefixtures("jobs")
    @pytest.mark.parametrize("table", ["job_events", "quota_entries", "audit_entries"])
    async def test_a_history_is_never_rewritten(self, desk: Desk, table: str) -> None:
        assert await refusal(desk, f"UPDATE {table} SET created_at = now()") == GUARD  # noqa: S608

    @pytest.mark.usefixtures("jobs")
    async def test_a_truncation_does_not_reach_it_by_way_of_another_table(self, desk: Desk) -> None:
        assert await refusal(desk, "TRUNCATE user_quotas, gpus CASCADE") == GUARD


class TestWhatWasAskedFor:
    """An admin approves what was submitted: nothing of it changes between that and the run."""

    @pytest.mark.parametrize(
        "change",
        [
            "name = name || 'x'",
            "gpu_type = 'V100'",
            "num_gpus = 2, reserved_seconds = 2 * reserved_seconds",
            "time_limit_seconds = time_limit_seconds - 1",
            "command = 'curl https://example.org | sh'",
            "data_location = '/home/somebody'",
            "is_sensitive = NOT is_sensitive",
            "justification = 'for the thesis'",
            "reserved_seconds = reserved_seconds + 1",
            "user_id = (SELECT min(id) FROM users WHERE id <> user_id)",
        ],
    )
    async def test_it_never_changes(self, desk: Desk, jobs: dict[JobStatus, int], change: str) -> None:
        for status, job_id in jobs.items():
            outcome = await refusal(desk, f"UPDATE jobs SET {change} WHERE id = :id", id=job_id)  # noqa: S608
            assert outcome == GUARD, f"a job that is {status} was changed"

    async def test_what_was_approved_is_noted_once(self, desk: Desk, jobs: dict[JobStatus, int]) -> None:
        approved = jobs[JobStatus.APPROVED]
        for digest in ("NULL", "sha256('another')"):
            change = f"UPDATE jobs SET approved_digest = {digest} WHERE id = :id"  # noqa: S608
            assert await refusal(desk, change, id=approved) == GUARD


class TestConstraints:
    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE user_quotas SET limit_seconds = 0",
            "UPDATE user_quotas SET used_seconds = limit_seconds",
            "UPDATE user_quotas SET reserved_seconds = -1",
            "UPDATE user_quotas SET used_seconds = -1",
            "UPDATE user_quotas SET ends_at = starts_at",
            "UPDATE jobs SET charged_seconds = -1 WHERE status = 'RUNNING'",
            "UPDATE jobs SET charged_seconds = reserved_seconds + 1 WHERE status = 'RUNNING'",
            "UPDATE jobs SET charged_seconds = 1 WHERE status = 'PENDING'",
            "UPDATE jobs SET finished_at = now() WHERE status = 'RUNNING'",
            "UPDATE jobs SET reason = 'EXITED' WHERE status = 'RUNNING'",
            "UPDATE jobs SET reason = 'BORED' WHERE status = 'RUNNING'",
            "UPDATE jobs SET started_at = NULL WHERE status = 'RUNNING'",
            "UPDATE jobs SET started_at = decided_at, run_id = NULL WHERE status = 'RUNNING'",
            "UPDATE jobs SET decided_at = NULL, decided_by = NULL WHERE status = 'APPROVED'",
            "UPDATE jobs SET decided_by = NULL WHERE status = 'APPROVED'",
            "UPDATE jobs SET decided_at = created_at - interval '1 second' WHERE status = 'APPROVED'",
            "UPDATE jobs SET started_at = decided_at - interval '1 second' WHERE status = 'RUNNING'",
            "UPDATE jobs SET progress = 1.5 WHERE status = 'RUNNING'",
            "UPDATE gpu_allocations SET released_at = allocated_at - interval '1 second'",
            "UPDATE gpus SET drained_at = now()",
            "UPDATE job_counts SET jobs = -1",
            "UPDATE users SET locale = 'de'",
            "INSERT INTO dispatcher_lease (singleton) VALUES (false)",
        ],
    )
    @pytest.mark.usefixtures("jobs")
    async def test_nonsense_is_refused(self, desk: Desk, change: str) -> None:
        # Rows that are final refuse to change at all; they must not be what refuses here.
        change = change if "jobs SET" not in change or "WHERE" in change else f"{change} WHERE status = 'PENDING'"
        assert await refusal(desk, change) == CHECK_VIOLATION

    @pytest.mark.usefixtures("jobs")
    @pytest.mark.parametrize(
        "asked",
        [
            "num_gpus = 0, reserved_seconds = 0",
            "num_gpus = 65, reserved_seconds = 65 * time_limit_seconds",
            "reserved_seconds = reserved_seconds - 1",
            "name = ''",
            "command = repeat('x', 16385)",
        ],
    )
    async def test_nonsense_that_was_asked_for_is_refused(self, desk: Desk, asked: str) -> None:
        """By the checks; the guard of what was asked for, which refuses any change, is out of the way."""
        change = text(f"UPDATE jobs SET {asked} WHERE status = 'PENDING'")  # noqa: S608
        async with desk.state.database.transaction() as connection:
            await become_owner(connection, unguarded=True)
            with pytest.raises(DBAPIError) as refused:
                await connection.execute(change)
        assert getattr(refused.value.orig, "sqlstate", "") == CHECK_VIOLATION

    async def test_a_gpu_is_given_to_one_run_at_a_time(self, desk: Desk, jobs: dict[JobStatus, int]) -> None:
        again = (
            "INSERT INTO gpu_allocations (gpu_id, job_id, run_id) "
            "SELECT gpu_id, job_id, run_id FROM gpu_allocations WHERE job_id = :id"
        )
        assert await refusal(desk, again, id=jobs[JobStatus.RUNNING]) == UNIQUE_VIOLATION

    async def test_a_job_is_reserved_for_and_settled_once(self, desk: Desk, jobs: dict[JobStatus, int]) -> None:
        again = (
            "INSERT INTO quota_entries (quota_id, user_id, job_id, kind, actor_process) "
            "SELECT quota_id, user_id, id, :kind, 'test' FROM jobs WHERE id = :id"
        )
        for kind in ("RESERVE", "SETTLE", "RELEASE"):
            assert await refusal(desk, again, id=jobs[JobStatus.COMPLETED], kind=kind) == UNIQUE_VIOLATION

    async def test_a_job_ends_once(self, desk: Desk, jobs: dict[JobStatus, int]) -> None:
        again = (
            "INSERT INTO job_events (job_id, user_id, seq, from_status, to_status, actor_process) "
            "SELECT id, user_id, 9, 'RUNNING', 'FAILED', 'test' FROM jobs WHERE id = :id"
        )
        assert await refusal(desk, again, id=jobs[JobStatus.COMPLETED]) == UNIQUE_VIOLATION

    async def test_two_jobs_cannot_have_one_run(self, desk: Desk, jobs: dict[JobStatus, int]) -> None:
        share = "UPDATE jobs SET run_id = (SELECT run_id FROM jobs WHERE status = 'RUNNING') WHERE id = :id"
        assert await refusal(desk, share, id=jobs[JobStatus.APPROVED]) == UNIQUE_VIOLATION

    async def test_months_of_one_user_cannot_overlap(self, desk: Desk, user: Person) -> None:
        await desk.quota(user)
        overlapping = (
            "INSERT INTO user_quotas (user_id, starts_at, ends_at, limit_seconds) "
            "SELECT user_id, starts_at + interval '1 day', ends_at, 0 FROM user_quotas"
        )
        assert await refusal(desk, overlapping) == EXCLUSION_VIOLATION

    async def test_an_event_names_exactly_one_actor(self, desk: Desk, jobs: dict[JobStatus, int], user: Person) -> None:
        event = (
            "INSERT INTO job_events (job_id, user_id, seq, from_status, to_status, kind, actor_user_id, actor_process)"
            " SELECT id, user_id, 9, status, status, 'CANCEL_REQUESTED', CAST(:user AS bigint), CAST(:process AS text) "
            "FROM jobs WHERE id = :id"
        )
        for who, process in ((None, None), (user.id, "dispatcher:1")):
            outcome = await refusal(desk, event, id=jobs[JobStatus.RUNNING], user=who, process=process)
            assert outcome == CHECK_VIOLATION


class TestRights:
    """`UPDATE users SET is_admin = true` in the database is a documented way to make the first admin."""

    async def test_typed_sql_leaves_a_trace_and_ends_older_tokens(self, desk: Desk, user: Person) -> None:
        await desk.sql("UPDATE users SET is_admin = true WHERE id = :id", id=user.id)
        [after] = await desk.sql("SELECT token_version FROM users WHERE id = :id", id=user.id)
        assert after.token_version == 2
        [entry] = await desk.sql("SELECT * FROM audit_entries WHERE action = 'user.promoted'")
        assert (entry.target_id, entry.actor_user_id, entry.details) == (user.id, None, {"email": user.email})
        assert entry.actor_process.startswith("sql:")

    @pytest.mark.parametrize(
        ("change", "action"),
        [
            ("is_admin = false", "user.demoted"),
            ("is_active = false", "user.deactivated"),
            ("password_hash = 'another'", "user.password_changed"),
        ],
    )
    async def test_every_change_of_rights_does(
        self, desk: Desk, user: Person, admin: Person, change: str, action: str
    ) -> None:
        await desk.sql("UPDATE users SET is_admin = true WHERE id = :id", id=user.id)
        await desk.sql(f"UPDATE users SET {change} WHERE id = :id", id=admin.id)  # noqa: S608
        [entry] = await desk.sql("SELECT * FROM audit_entries WHERE action = :action", action=action)
        assert entry.target_id == admin.id
        [after] = await desk.sql("SELECT token_version FROM users WHERE id = :id", id=admin.id)
        assert after.token_version == 2

    async def test_a_change_of_name_does_not(self, desk: Desk, user: Person) -> None:
        await desk.sql("UPDATE users SET full_name = 'Another' WHERE id = :id", id=user.id)
        [after] = await desk.sql("SELECT token_version FROM users WHERE id = :id", id=user.id)
        assert after.token_version == 1

    @pytest.mark.parametrize("change", ["is_admin = false", "is_active = false"])
    async def test_the_last_active_admin_stays(self, desk: Desk, admin: Person, change: str) -> None:
        assert await refusal(desk, f"UPDATE users SET {change}") == LAST_ADMIN  # noqa: S608
        disabled = await make_user(desk.state, is_admin=True)
        await desk.sql("UPDATE users SET is_active = false WHERE id = :id", id=disabled.id)
        assert await refusal(desk, f"UPDATE users SET {change} WHERE id = :id", id=admin.id) == LAST_ADMIN  # noqa: S608

    @pytest.mark.usefixtures("admin")
    async def test_all_admins_cannot_go_at_once(self, desk: Desk) -> None:
        await make_user(desk.state, is_admin=True)
        assert await refusal(desk, "UPDATE users SET is_admin = false") == LAST_ADMIN
