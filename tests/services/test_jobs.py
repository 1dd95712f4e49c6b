"""What people do with jobs, on a real database, without HTTP."""

from datetime import timedelta

import pytest

from app.domain.errors import (
    ExceedsFleet,
    ExceedsMonthlyQuota,
    IdempotencyKeyReused,
    JobStateConflict,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    UnknownGpuType,
)
from app.domain.job_request import JobRequest
from app.domain.job_state import JobAction, JobStatus
from app.services import jobs
from tests.conftest import FakeClock
from tests.factories import Person, make_user
from tests.services.desk import HOUR, Desk

pytestmark = pytest.mark.anyio

A_MONTH = timedelta(days=31)


class TestSubmitting:
    async def test_a_job_waits_for_a_decision_and_its_quota_is_reserved(self, desk: Desk, user: Person) -> None:
        job_id = await desk.submit(user, num_gpus=2, time_limit=timedelta(hours=3))
        job = await desk.job(job_id)
        assert (job.status, job.reserved_seconds, job.event_seq) == ("PENDING", 6 * HOUR, 1)
        assert (await desk.quota(user)).reserved_seconds == 6 * HOUR
        assert await desk.entries(user) == [("GRANT", 100 * HOUR, 0, 0), ("RESERVE", 0, 6 * HOUR, 0)]

    async def test_the_last_second_of_the_quota_can_be_used(self, desk: Desk, user: Person) -> None:
        await desk.submit(user, time_limit=timedelta(hours=100))
        assert (await desk.quota(user)).available_seconds == 0
        with pytest.raises(QuotaExceeded):
            await desk.submit(user, time_limit=timedelta(seconds=1))

    async def test_what_does_not_fit_into_the_rest_of_the_month_is_told_with_numbers(
        self, desk: Desk, user: Person
    ) -> None:
        await desk.submit(user, time_limit=timedelta(hours=60))
        with pytest.raises(QuotaExceeded) as refusal:
            await desk.submit(user, num_gpus=2, time_limit=timedelta(hours=30))
        balance = await desk.quota(user)
        assert refusal.value == QuotaExceeded(60 * HOUR, 40 * HOUR, balance.ends_at)

    async def test_what_no_month_could_hold_is_told_apart(self, desk: Desk, user: Person) -> None:
        with pytest.raises(ExceedsMonthlyQuota) as refusal:
            await desk.submit(user, num_gpus=2, time_limit=timedelta(hours=51))
        assert refusal.value == ExceedsMonthlyQuota(102 * HOUR, 100 * HOUR)

    async def test_a_gpu_type_that_does_not_exist_is_refused_with_those_that_do(self, desk: Desk, user: Person) -> None:
        with pytest.raises(UnknownGpuType) as refusal:
            await desk.submit(user, gpu_type="H100")
        assert refusal.value.known == ["A100", "V100"]

    async def test_more_gpus_than_exist_are_refused(self, desk: Desk, user: Person) -> None:
        with pytest.raises(ExceedsFleet) as refusal:
            await desk.submit(user, gpu_type="V100", num_gpus=5)
        assert refusal.value == ExceedsFleet("V100", 5, 4)

    async def test_more_gpus_than_are_free_are_not_refused(self, desk: Desk, user: Person, admin: Person) -> None:
        for gpu in await desk.sql("SELECT id FROM gpus WHERE gpu_type = 'V100'"):
            await desk.drain(admin, gpu.id)
        assert await desk.submit(user, gpu_type="V100", num_gpus=4)

    async def test_a_refused_submission_writes_nothing_but_the_month(self, desk: Desk, user: Person) -> None:
        await desk.quota(user)
        before = await desk.everything()
        for facts in ({"time_limit": timedelta(hours=101)}, {"gpu_type": "H100"}, {"num_gpus": 9}):
            with pytest.raises((ExceedsMonthlyQuota, UnknownGpuType, ExceedsFleet)):
                await desk.submit(user, **facts)
        assert await desk.everything() == before

    async def test_a_forecast_writes_nothing_but_the_month(self, desk: Desk, user: Person) -> None:
        await desk.quota(user)
        before = await desk.everything()
        async with desk.state.database.transaction() as connection:
            request = JobRequest("train", "A100", 3, 7200, "python train.py")
            policy, now = desk.state.quota_policy, desk.state.clock()
            needed = await jobs.cost(connection, request, engine=desk.engine)
            seen = await jobs.forecast(connection, user.caller, request, needed, policy=policy, now=now)
        assert (needed, seen.quota.available_seconds, seen.free_gpus) == (6 * HOUR, 100 * HOUR, 8)
        assert await desk.everything() == before


class TestAnIdempotencyKey:
    async def test_the_same_request_is_one_job(self, desk: Desk, user: Person) -> None:
        first = await desk.submit(user, key="k1")
        assert await desk.submit(user, key="k1") == first
        assert (await desk.quota(user)).reserved_seconds == HOUR

    async def test_the_answer_is_the_job_as_it_is_now(self, desk: Desk, user: Person, admin: Person) -> None:
        job_id = await desk.submit(user, key="k1")
        await desk.reject(admin, job_id)
        assert await desk.submit(user, key="k1") == job_id
        assert (await desk.job(job_id)).status == "REJECTED"

    async def test_another_request_under_it_is_refused(self, desk: Desk, user: Person) -> None:
        await desk.submit(user, key="k1")
        with pytest.raises(IdempotencyKeyReused):
            await desk.submit(user, key="k1", num_gpus=2)
        assert len(await desk.sql("SELECT id FROM jobs")) == 1

    async def test_it_is_known_though_the_job_took_the_last_of_the_quota(self, desk: Desk, user: Person) -> None:
        first = await desk.submit(user, key="k1", time_limit=timedelta(hours=100))
        assert await desk.submit(user, key="k1", time_limit=timedelta(hours=100)) == first

    async def test_another_request_under_it_is_refused_as_such_though_the_quota_is_spent(
        self, desk: Desk, user: Person
    ) -> None:
        await desk.submit(user, key="k1", time_limit=timedelta(hours=100))
        with pytest.raises(IdempotencyKeyReused):
            await desk.submit(user, key="k1", time_limit=timedelta(hours=50))

    async def test_it_is_known_though_the_gpus_are_gone(self, desk: Desk, user: Person) -> None:
        first = await desk.submit(user, key="k1")
        await desk.sql("UPDATE gpus SET retired_at = now()")
        assert await desk.submit(user, key="k1") == first

    async def test_after_a_day_it_is_forgotten(self, desk: Desk, user: Person, clock: FakeClock) -> None:
        first = await desk.submit(user, key="k1")
        clock.advance(hours=23, minutes=59)
        assert await desk.submit(user, key="k1") == first
        clock.advance(minutes=1)
        assert await desk.submit(user, key="k1") != first

    async def test_it_belongs_to_one_user(self, desk: Desk, user: Person) -> None:
        other = await make_user(desk.state)
        assert await desk.submit(user, key="k1") != await desk.submit(other, key="k1")


class TestDeciding:
    async def test_approving_names_the_admin(self, desk: Desk, user: Person, admin: Person, clock: FakeClock) -> None:
        job_id = await desk.submit(user)
        clock.advance(minutes=5)
        job = await desk.approve(admin, job_id)
        assert (job.status, job.decided_by, job.decided_at) == ("APPROVED", admin.id, clock())

    async def test_rejecting_releases_the_reservation(self, desk: Desk, user: Person, admin: Person) -> None:
        job = await desk.reject(admin, await desk.submit(user))
        assert (job.status, job.reason, job.decision_note) == ("REJECTED", "REJECTED_BY_ADMIN", "not now")
        assert (await desk.entries(user))[-1] == ("RELEASE", 0, -HOUR, 0)

    async def test_a_start_gives_named_gpus_to_a_run(self, desk: Desk, user: Person, admin: Person) -> None:
        job_id = await desk.submit(user, num_gpus=3)
        await desk.approve(admin, job_id)
        job = await desk.start(admin, job_id)
        assert job.status == "RUNNING"
        held = await desk.sql("SELECT run_id FROM gpu_allocations WHERE released_at IS NULL")
        assert [row.run_id for row in held] == [job.run_id] * 3

    async def test_a_start_without_room_names_who_has_the_gpus(self, desk: Desk, user: Person, admin: Person) -> None:
        holder, waiting = await desk.submit(user, num_gpus=6), await desk.submit(user, num_gpus=3)
        for job_id in (holder, waiting):
            await desk.approve(admin, job_id)
        await desk.start(admin, holder)
        before = await desk.everything()
        with pytest.raises(NoCapacity) as refusal:
            await desk.start(admin, waiting)
        assert refusal.value == NoCapacity("A100", 3, 2, [holder])
        assert await desk.everything() == before

    async def test_a_start_prefers_the_node_that_just_fits(self, desk: Desk, user: Person, admin: Person) -> None:
        await desk.sql("UPDATE gpus SET gpu_type = 'A100'")
        job_id = await desk.submit(user, num_gpus=4)
        await desk.approve(admin, job_id)
        job = await desk.start(admin, job_id)
        assert {gpu["node"] for gpu in job.gpus} == {"node2"}

    @pytest.mark.parametrize("out_of_service", ["drained_at = now(), drain_reason = 'fan'", "is_quarantined = true",
                                                "is_contended = true", "retired_at = now()"])  # fmt: skip
    async def test_a_gpu_out_of_service_is_not_given_away(
        self, desk: Desk, user: Person, admin: Person, out_of_service: str
    ) -> None:
        job_id = await desk.submit(user, num_gpus=8)
        await desk.approve(admin, job_id)
        await desk.sql(f"UPDATE gpus SET {out_of_service} WHERE node = 'node1' AND gpu_index = 0")  # noqa: S608
        with pytest.raises(NoCapacity):
            await desk.start(admin, job_id)

    @pytest.mark.parametrize("verb", ["approve", "start"])
    async def test_repeating_ones_own_decision_changes_nothing(
        self, desk: Desk, user: Person, admin: Person, verb: str
    ) -> None:
        job_id = await desk.submit(user)
        await desk.approve(admin, job_id)
        await desk.start(admin, job_id)
        before = await desk.everything()
        assert (await getattr(desk, verb)(admin, job_id)).status == "RUNNING"
        assert await desk.everything() == before

    async def test_repeating_ones_own_rejection_changes_nothing(self, desk: Desk, user: Person, admin: Person) -> None:
        job_id = await desk.submit(user)
        await desk.reject(admin, job_id)
        before = await desk.everything()
        assert (await desk.reject(admin, job_id)).status == "REJECTED"
        assert await desk.everything() == before

    async def test_repeating_ones_own_cancellation_changes_nothing(
        self, desk: Desk, user: Person, admin: Person
    ) -> None:
        waiting, running = await desk.submit(user), await desk.submit(user)
        await desk.approve(admin, running)
        await desk.start(admin, running)
        for job_id in (waiting, running):
            await desk.cancel(user, job_id)
        before = await desk.everything()
        assert [(await desk.cancel(user, job_id)).status for job_id in (waiting, running)] == ["CANCELLED", "RUNNING"]
        assert await desk.everything() == before

    @pytest.mark.parametrize(
        ("decided", "verb", "allowed"),
        [
            ("approve", "reject", [JobAction.START, JobAction.CANCEL]),
            ("approve", "approve", [JobAction.START, JobAction.CANCEL]),
            ("reject", "approve", []),
            ("reject", "reject", []),
            ("reject", "cancel", []),
        ],
    )
    async def test_anothers_decision_stands_and_is_told_by_name(
        self, desk: Desk, user: Person, admin: Person, decided: str, verb: str, allowed: list[JobAction]
    ) -> None:
        job_id = await desk.submit(user)
        decision = await getattr(desk, decided)(admin, job_id)
        other = await make_user(desk.state, is_admin=True, full_name="Reza Karimi")
        before = await desk.everything()
        with pytest.raises(JobStateConflict) as refusal:
            await getattr(desk, verb)(other, job_id)
        assert refusal.value == JobStateConflict(
            job_id, JobStatus(decision.status), allowed, "Sara Ahmadi", desk.state.clock()
        )
        assert await desk.everything() == before

    async def test_a_job_cannot_be_started_before_it_is_approved(self, desk: Desk, user: Person, admin: Person) -> None:
        job_id = await desk.submit(user)
        with pytest.raises(JobStateConflict):
            await desk.start(admin, job_id)

    async def test_anothers_job_is_not_there(self, desk: Desk, user: Person) -> None:
        job_id = await desk.submit(user)
        other = await make_user(desk.state)
        for unknown in (job_id, job_id + 1):
            with pytest.raises(NotFound):
                await desk.cancel(other, unknown)


class TestTheTurnOfTheMonth:
    """A job is charged to the month in which it starts."""

    async def test_a_start_carries_the_reservation_along(
        self, desk: Desk, user: Person, admin: Person, clock: FakeClock
    ) -> None:
        job_id = await desk.submit(user)
        await desk.approve(admin, job_id)
        clock.advance(A_MONTH)
        await desk.start(admin, job_id)
        months = await desk.sql("SELECT reserved_seconds, used_seconds FROM user_quotas ORDER BY starts_at")
        assert [tuple(month) for month in months] == [(0, 0), (HOUR, 0)]
        assert (await desk.entries(user))[-2:] == [("MOVE_OUT", 0, -HOUR, 0), ("MOVE_IN", 0, HOUR, 0)]

    async def test_a_month_without_room_refuses_and_the_job_stays_approved(
        self, desk: Desk, user: Person, admin: Person, clock: FakeClock
    ) -> None:
        job_id = await desk.submit(user, time_limit=timedelta(hours=60))
        await desk.approve(admin, job_id)
        clock.advance(A_MONTH)
        await desk.submit(user, time_limit=timedelta(hours=50))
        before = await desk.everything()
        with pytest.raises(QuotaExceeded) as refusal:
            await desk.start(admin, job_id)
        assert (refusal.value.needed_seconds, refusal.value.available_seconds) == (60 * HOUR, 50 * HOUR)
        assert await desk.everything() == before

    async def test_a_job_that_ends_without_a_run_is_released_where_it_was_reserved(
        self, desk: Desk, user: Person, clock: FakeClock
    ) -> None:
        job_id = await desk.submit(user)
        clock.advance(A_MONTH)
        await desk.quota(user)
        await desk.cancel(user, job_id)
        months = await desk.sql("SELECT reserved_seconds FROM user_quotas ORDER BY starts_at")
        assert [month.reserved_seconds for month in months] == [0, 0]
