"""Which approved jobs start by themselves, and what the others are told they wait for."""

from datetime import timedelta

import pytest

from app.executors.simulated.executor import SimulatedExecutor
from tests.dispatcher.conftest import Scene
from tests.factories import make_job, make_user

pytestmark = pytest.mark.anyio

Simulated = Scene[SimulatedExecutor]
HOUR = 3600


@pytest.fixture
async def automatic(simulated: Simulated) -> Simulated:
    """`DISPATCH_MODE=automatic`"""
    await simulated.take_over(starts_by_itself=True)
    return simulated


async def statuses(scene: Simulated, *job_ids: int) -> list[str]:
    return [(await scene.job(job_id)).status for job_id in job_ids]


class TestStartedByHand:
    async def test_nothing_starts_before_an_admin_says_so(self, simulated: Simulated) -> None:
        job_id = await simulated.approve()
        await simulated.tick(days=2)
        assert await statuses(simulated, job_id) == ["APPROVED"]

    async def test_a_job_that_fits_waits_for_the_admin(self, simulated: Simulated) -> None:
        job_id = await simulated.approve(num_gpus=8)
        await simulated.tick(seconds=5)
        assert (await simulated.job(job_id)).wait_reason == "AWAITING_START"

    async def test_a_job_that_does_not_fit_waits_for_gpus(self, simulated: Simulated) -> None:
        await simulated.start(num_gpus=1, command="sleep 60")
        job_id = await simulated.approve(num_gpus=8)
        await simulated.tick(seconds=5)
        assert (await simulated.job(job_id)).wait_reason == "AWAITING_GPUS"
        await simulated.tick(minutes=2)
        assert (await simulated.job(job_id)).wait_reason == "AWAITING_START"

    async def test_the_reason_is_gone_once_the_job_runs(self, simulated: Simulated) -> None:
        job_id = await simulated.start(command="sleep 3000")
        await simulated.tick(seconds=5)
        assert (await simulated.job(job_id)).wait_reason is None


class TestStartedByItself:
    async def test_an_approved_job_starts_at_once(self, automatic: Simulated) -> None:
        job_id = await automatic.approve(command="sleep 3000")
        await automatic.tick()
        job = await automatic.job(job_id)
        assert job.status == "RUNNING"
        assert job.launched_at == automatic.clock()
        [event] = await automatic.sql("SELECT actor_process FROM job_events WHERE to_status = 'RUNNING'")
        [lease] = await automatic.sql("SELECT term FROM dispatcher_lease")
        assert event.actor_process == f"dispatcher:{lease.term}"

    async def test_jobs_start_in_the_order_of_their_approval(self, automatic: Simulated) -> None:
        first, second = await automatic.submit(num_gpus=8), await automatic.submit(num_gpus=8)
        for job_id in (second, first):
            automatic.clock.advance(minutes=1)
            await automatic.decide(job_id)
        await automatic.tick()
        assert await statuses(automatic, first, second) == ["APPROVED", "RUNNING"]
        assert (await automatic.job(first)).wait_reason == "AWAITING_GPUS"

    async def test_a_small_job_passes_a_large_one_that_does_not_fit(self, automatic: Simulated) -> None:
        running = await automatic.approve(num_gpus=4, command="sleep 3000")
        await automatic.tick()
        large, small = await automatic.approve(num_gpus=8), await automatic.approve(num_gpus=2)
        await automatic.tick(minutes=1)
        assert await statuses(automatic, running, large, small) == ["RUNNING", "APPROVED", "RUNNING"]

    async def test_nothing_passes_a_job_that_has_waited_too_long(self, automatic: Simulated) -> None:
        long = {"command": "sleep 200000", "time_limit": timedelta(hours=60)}
        running = await automatic.approve(num_gpus=1, **long)
        await automatic.tick()
        large = await automatic.approve(num_gpus=8)
        await automatic.tick(hours=24)
        passing = await automatic.approve(num_gpus=1)
        await automatic.tick()
        assert await statuses(automatic, running, large, passing) == ["RUNNING", "APPROVED", "RUNNING"]
        starved = await automatic.approve(num_gpus=1)
        elsewhere = await automatic.approve(gpu_type="V100")
        await automatic.tick(seconds=1)
        assert await statuses(automatic, large, starved, elsewhere) == ["APPROVED", "APPROVED", "RUNNING"]
        await automatic.tick(hours=60)
        assert await statuses(automatic, large, starved) == ["RUNNING", "APPROVED"]

    async def test_a_job_that_somebody_cancels_meanwhile_does_not_start(self, automatic: Simulated) -> None:
        job_id = await automatic.approve()
        await automatic.cancel(job_id)
        await automatic.tick()
        assert await statuses(automatic, job_id) == ["CANCELLED"]

    async def test_a_gpu_that_is_drained_takes_no_job(self, automatic: Simulated) -> None:
        job_id = await automatic.approve(num_gpus=8)
        await automatic.sql("UPDATE gpus SET drained_at = now(), drain_reason = 'fan' WHERE gpu_index = 0")
        await automatic.tick()
        assert await statuses(automatic, job_id) == ["APPROVED"]


class TestAQueueLongerThanOneReading:
    """Of which the dispatcher reads no more than what decides."""

    @pytest.fixture
    async def short_sighted(self, automatic: Simulated, monkeypatch: pytest.MonkeyPatch) -> Simulated:
        monkeypatch.setattr("app.dispatcher.loop.LONGEST_QUEUE", 2)
        monkeypatch.setattr("app.dispatcher.loop.MOST_STARTS", 2)
        return automatic

    async def test_the_jobs_of_one_type_do_not_hide_those_of_another(self, short_sighted: Simulated) -> None:
        for _ in range(5):
            await short_sighted.approve(num_gpus=8, command="sleep 3000")
        elsewhere = await short_sighted.approve(gpu_type="V100")
        await short_sighted.tick(seconds=2)
        assert await statuses(short_sighted, elsewhere) == ["RUNNING"]

    async def test_jobs_that_do_not_fit_do_not_hide_one_that_does(self, short_sighted: Simulated) -> None:
        await short_sighted.approve(num_gpus=7, command="sleep 3000")
        large = [await short_sighted.approve(num_gpus=2) for _ in range(5)]
        small = await short_sighted.approve(num_gpus=1)
        await short_sighted.tick()
        await short_sighted.tick()
        assert await statuses(short_sighted, *large, small) == ["APPROVED"] * 5 + ["RUNNING"]

    async def test_jobs_that_lack_quota_do_not_hide_one_that_has_it(self, short_sighted: Simulated) -> None:
        for _ in range(3):
            await short_sighted.decide(await short_sighted.submit(time_limit=timedelta(hours=30)))
        await short_sighted.sql("UPDATE gpus SET drained_at = now(), drain_reason = 'month end'")
        short_sighted.clock.advance(days=30)
        await short_sighted.submit(time_limit=timedelta(hours=90))
        rich = (await make_job(short_sighted.state, await make_user(short_sighted.state))).id
        await short_sighted.decide(rich)
        await short_sighted.sql("UPDATE gpus SET drained_at = NULL, drain_reason = NULL")
        await short_sighted.tick()
        assert await statuses(short_sighted, rich) == ["RUNNING"]

    async def test_all_that_fits_starts_within_a_few_ticks(self, short_sighted: Simulated) -> None:
        jobs = [await short_sighted.approve(command="sleep 3000") for _ in range(9)]
        for _ in range(4):
            await short_sighted.tick()
        assert await statuses(short_sighted, *jobs) == ["RUNNING"] * 8 + ["APPROVED"]

    async def test_nothing_passes_a_starved_job_behind_others_that_fit(self, short_sighted: Simulated) -> None:
        short_sighted.clock.advance(hours=1)
        await short_sighted.sql("UPDATE gpus SET drained_at = now(), drain_reason = 'fan'")
        first, starved = await short_sighted.approve(num_gpus=4), await short_sighted.approve(num_gpus=8)
        await short_sighted.tick(hours=25)
        fresh = await short_sighted.approve(num_gpus=1)
        await short_sighted.sql("UPDATE gpus SET drained_at = NULL, drain_reason = NULL")
        await short_sighted.tick()
        await short_sighted.tick()
        assert await statuses(short_sighted, first, starved, fresh) == ["RUNNING", "APPROVED", "APPROVED"]

    async def test_everybody_is_told_in_turn_why_they_wait(self, short_sighted: Simulated) -> None:
        await short_sighted.approve(num_gpus=8, command="sleep 3000")
        await short_sighted.tick()
        waiting = [await short_sighted.approve() for _ in range(7)]
        for _ in range(4):
            await short_sighted.tick(seconds=2)
        assert {(await short_sighted.job(job_id)).wait_reason for job_id in waiting} == {"AWAITING_GPUS"}


class TestTheTurnOfTheMonth:
    async def test_the_reservation_moves_to_the_month_of_the_start(self, automatic: Simulated) -> None:
        job_id = await automatic.approve(num_gpus=2, command="sleep 600")
        automatic.clock.advance(days=30)
        await automatic.tick()
        await automatic.tick(hours=1)
        assert await automatic.verdict(job_id) == ("COMPLETED", "EXITED", 1200)
        months = await automatic.sql("SELECT reserved_seconds, used_seconds FROM user_quotas ORDER BY starts_at")
        assert [tuple(month) for month in months] == [(0, 0), (0, 1200)]

    async def test_a_run_across_the_turn_is_charged_to_the_month_in_which_it_began(self, automatic: Simulated) -> None:
        automatic.clock.now = automatic.clock.now.replace(day=31, hour=23, minute=50)
        job_id = await automatic.approve(command="sleep 1200")
        await automatic.tick()
        await automatic.tick(hours=1)
        assert await automatic.verdict(job_id) == ("COMPLETED", "EXITED", 1200)
        months = await automatic.sql("SELECT used_seconds FROM user_quotas ORDER BY starts_at")
        assert [month.used_seconds for month in months] == [1200]

    @pytest.mark.parametrize("starts_by_itself", [False, True], ids=["by hand", "by itself"])
    async def test_a_month_without_room_is_the_reason_to_wait(
        self, simulated: Simulated, starts_by_itself: bool
    ) -> None:
        await simulated.take_over(starts_by_itself=starts_by_itself)
        job_id = await simulated.submit(time_limit=timedelta(hours=60))
        simulated.clock.advance(days=30)
        rival = await simulated.submit(time_limit=timedelta(hours=50))
        await simulated.decide(job_id)
        await simulated.tick()
        job = await simulated.job(job_id)
        assert (job.status, job.wait_reason) == ("APPROVED", "AWAITING_QUOTA")
        await simulated.cancel(rival)
        await simulated.tick(minutes=1)
        job = await simulated.job(job_id)
        assert (job.status, job.wait_reason) in [("RUNNING", None), ("APPROVED", "AWAITING_START")]

    @pytest.mark.parametrize("starts_by_itself", [False, True], ids=["by hand", "by itself"])
    async def test_a_month_that_nobody_has_opened_yet_can_lack_room_as_well(
        self, simulated: Simulated, starts_by_itself: bool
    ) -> None:
        """The job is from March. In April the limit was lowered, and May inherits that."""
        await simulated.take_over(starts_by_itself=starts_by_itself)
        job_id = await simulated.submit(time_limit=timedelta(hours=60))
        simulated.clock.advance(days=30)
        await simulated.set_limit(50 * HOUR)
        simulated.clock.advance(days=30)
        await simulated.decide(job_id)
        await simulated.tick()
        job = await simulated.job(job_id)
        assert (job.status, job.wait_reason) == ("APPROVED", "AWAITING_QUOTA")

    async def test_a_job_that_lacks_quota_does_not_hold_up_others(self, automatic: Simulated) -> None:
        poor = await automatic.submit(time_limit=timedelta(hours=60))
        automatic.clock.advance(days=30)
        await automatic.submit(time_limit=timedelta(hours=50))
        await automatic.decide(poor)
        other = await make_user(automatic.state)
        rich = (await make_job(automatic.state, other, num_gpus=8)).id
        automatic.clock.advance(hours=48)
        await automatic.decide(rich)
        await automatic.tick()
        assert await statuses(automatic, poor, rich) == ["APPROVED", "RUNNING"]
