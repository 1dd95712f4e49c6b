"""From the decision to run a job to its settled end."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.domain.execution import EndReason, LaunchError, Observation, RunState, StartPostponed, TimeKeeping
from app.executors.simulated.executor import SimulatedExecutor
from tests.dispatcher.conftest import Scene
from tests.dispatcher.scripted_engine import ScriptedEngine
from tests.factories import start_job
from tests.owner import become_owner

pytestmark = pytest.mark.anyio

HOUR = 3600


async def test_a_job_that_was_decided_on_is_launched_once(scripted: Scene[ScriptedEngine]) -> None:
    job_id = await scripted.start(num_gpus=2)
    assert (await scripted.job(job_id)).launched_at is None
    await scripted.tick(seconds=1)
    assert (await scripted.job(job_id)).launched_at == scripted.clock()
    await scripted.tick(seconds=1)
    [spec] = scripted.engine.started
    assert spec.job_id == job_id
    assert len(spec.slots) == spec.num_gpus == 2


async def test_the_engine_is_told_when_the_run_was_decided_on(scripted: Scene[ScriptedEngine]) -> None:
    decided_at = scripted.clock()
    await scripted.start()
    await scripted.tick(minutes=1)
    assert scripted.engine.started[0].launched_at == decided_at


async def test_a_run_is_charged_what_its_engine_measured(simulated: Scene[SimulatedExecutor]) -> None:
    job_id = await simulated.start(num_gpus=4, time_limit=timedelta(hours=2), command="train #SIM duration=25%")
    await simulated.tick()
    await simulated.tick(hours=1)
    assert await simulated.verdict(job_id) == ("COMPLETED", "EXITED", 4 * HOUR // 2)
    assert (await simulated.job(job_id)).progress == 1


async def test_the_charge_does_not_depend_on_when_the_dispatcher_looks(simulated: Scene[SimulatedExecutor]) -> None:
    job_id = await simulated.start(num_gpus=4, time_limit=timedelta(hours=2), command="train #SIM duration=25%")
    await simulated.tick()
    await simulated.tick(days=3)
    assert await simulated.verdict(job_id) == ("COMPLETED", "EXITED", 4 * HOUR // 2)


async def test_a_run_is_never_charged_more_than_was_reserved(scripted: Scene[ScriptedEngine]) -> None:
    job_id = await scripted.start(num_gpus=2, time_limit=timedelta(hours=1))
    await scripted.tick()
    scripted.engine.ends(job_id, elapsed=timedelta(hours=9))
    await scripted.tick()
    assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 2 * HOUR)


async def test_a_run_pays_for_the_time_that_its_engine_takes_to_end_it(scripted: Scene[ScriptedEngine]) -> None:
    scripted.engine.keeps_time = TimeKeeping(step_seconds=60, ending_seconds=30)
    await scripted.tick(minutes=1)
    scripted.engine.fails["time_keeping"] = ConnectionError("away")  # what was told before holds
    await scripted.tick(minutes=1)
    job_id = await scripted.start(num_gpus=2, time_limit=timedelta(seconds=1))
    await scripted.tick()
    scripted.engine.ends(job_id, EndReason.TIME_LIMIT, elapsed=timedelta(seconds=88))
    await scripted.tick()
    assert await scripted.verdict(job_id) == ("FAILED", "TIME_LIMIT", 2 * 88)


@pytest.mark.parametrize(
    ("command", "status", "reason", "charged"),
    [
        ("true", "COMPLETED", "EXITED", 1),
        ("train #SIM exit=7 duration=10m", "FAILED", "NONZERO_EXIT", 600),
        ("train #SIM signal=11 duration=10m", "FAILED", "SIGNALLED", 600),
        ("train #SIM fault=oom duration=10m", "FAILED", "OUT_OF_MEMORY", 600),
        ("sleep 7200", "FAILED", "TIME_LIMIT", HOUR),
        ("train #SIM fault=hang", "FAILED", "TIME_LIMIT", HOUR),
        ("train #SIM fault=node-loss duration=10m", "FAILED", "NODE_FAILURE", 600),
        ("train #SIM fault=launch-failure", "FAILED", "LAUNCH_FAILURE", 0),
    ],
)
async def test_every_end_has_its_reason_and_its_price(
    simulated: Scene[SimulatedExecutor], command: str, status: str, reason: str, charged: int
) -> None:
    job_id = await simulated.start(command=command)
    await simulated.tick()
    await simulated.tick(hours=2)
    assert await simulated.verdict(job_id) == (status, reason, charged)
    assert (await simulated.job(job_id)).executor == "simulated"


async def test_an_end_tells_the_exit_code_and_the_message(scripted: Scene[ScriptedEngine]) -> None:
    failing, killed = await scripted.start(), await scripted.start()
    await scripted.tick()
    scripted.engine.ends(failing, EndReason.NONZERO_EXIT, exit_code=7, message="KeyError: 'loss'")
    scripted.engine.ends(killed, EndReason.SIGNALLED, signal=9)
    await scripted.tick()
    assert ((job := await scripted.job(failing)).exit_code, job.error_message) == (7, "KeyError: 'loss'")
    assert ((job := await scripted.job(killed)).exit_code, job.exit_signal) == (None, 9)


async def test_a_run_shows_its_progress(simulated: Scene[SimulatedExecutor]) -> None:
    job_id = await simulated.start(command="train #SIM duration=40m")
    await simulated.tick()
    await simulated.tick(minutes=10)
    assert (await simulated.job(job_id)).progress == 0.25


async def test_progress_is_not_taken_back(scripted: Scene[ScriptedEngine]) -> None:
    job_id = await scripted.start()
    for seen, shown in ((None, None), (0.5, 0.5), (0.4, 0.5), (None, 0.5), (0.6, 0.6)):
        scripted.engine.shows[job_id] = Observation(RunState.RUNNING, progress=seen)
        await scripted.tick(seconds=1)
        await scripted.tick(seconds=1)
        assert (await scripted.job(job_id)).progress == shown


async def test_an_end_frees_the_gpus_for_the_next_job(simulated: Scene[SimulatedExecutor]) -> None:
    await simulated.start(num_gpus=8, command="sleep 60")
    await simulated.tick()
    await simulated.tick(minutes=2)
    assert await simulated.start(num_gpus=8)


async def test_many_ends_are_settled_at_once(simulated: Scene[SimulatedExecutor]) -> None:
    jobs = [await simulated.start(command=f"exit {number % 2}") for number in range(8)]
    await simulated.tick()
    await simulated.tick(seconds=1)
    assert [(await simulated.verdict(job_id))[0] for job_id in jobs] == ["COMPLETED", "FAILED"] * 4


async def test_repeating_ones_own_start_after_the_end_answers_with_the_end(
    simulated: Scene[SimulatedExecutor],
) -> None:
    job_id = await simulated.start(command="true")
    await simulated.tick()
    await simulated.tick(minutes=1)
    before = await simulated.everything()
    assert (await start_job(simulated.state, job_id, simulated.admin)).status == "COMPLETED"
    assert await simulated.everything() == before


class TestCancelling:
    async def test_a_run_ends_when_it_is_proved_to_have_stopped(self, simulated: Scene[SimulatedExecutor]) -> None:
        job_id = await simulated.start(command="sleep 3000")
        await simulated.tick()
        simulated.clock.advance(minutes=10)
        await simulated.cancel(job_id)
        assert (await simulated.job(job_id)).status == "RUNNING"
        await simulated.tick()
        assert await simulated.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 600)

    async def test_an_admin_is_named_as_the_one_who_cancelled(self, simulated: Scene[SimulatedExecutor]) -> None:
        job_id = await simulated.start(command="sleep 3000")
        await simulated.tick()
        await simulated.cancel(job_id, by=simulated.admin)
        await simulated.tick(minutes=1)
        assert await simulated.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_ADMIN", 60)

    async def test_a_run_that_was_not_launched_yet_is_stopped_as_well(
        self, simulated: Scene[SimulatedExecutor]
    ) -> None:
        """Perhaps the engine was asked before a crash, and only the note is missing: starting again is the proof."""
        job_id = await simulated.start(command="sleep 3000")
        await simulated.cancel(job_id)
        await simulated.tick()
        assert await simulated.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 0)

    async def test_a_run_that_ignores_the_request_is_killed(self, simulated: Scene[SimulatedExecutor]) -> None:
        job_id = await simulated.start(command="sleep 3000 #SIM fault=ignore-term")
        await simulated.tick()
        await simulated.cancel(job_id)
        await simulated.tick(minutes=1)
        assert (await simulated.job(job_id)).status == "RUNNING"
        await simulated.tick(seconds=30)
        assert await simulated.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 90)
        assert (await simulated.job(job_id)).exit_signal == 9

    async def test_an_engine_is_asked_to_stop_a_run_once(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        await scripted.cancel(job_id)
        await scripted.tick(seconds=1)
        await scripted.tick(seconds=1)
        assert scripted.engine.stopped == [(job_id, timedelta(seconds=30))]

    async def test_a_stop_that_failed_is_asked_for_again(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        await scripted.cancel(job_id)
        scripted.engine.refuses_to_stop.add(job_id)
        await scripted.tick(seconds=1)
        scripted.engine.refuses_to_stop.clear()
        await scripted.tick(seconds=1)
        assert [job for job, _ in scripted.engine.stopped] == [job_id]

    @pytest.mark.parametrize(("reason", "status"), [(EndReason.EXITED, "COMPLETED"), (EndReason.TIME_LIMIT, "FAILED")])
    async def test_a_request_that_came_too_late_changes_nothing(
        self, scripted: Scene[ScriptedEngine], reason: EndReason, status: str
    ) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        await scripted.cancel(job_id)
        scripted.engine.ends(job_id, reason)
        await scripted.tick()
        assert await scripted.verdict(job_id) == (status, reason, 600)


class TestOverstaying:
    """The second line behind limits and stops: an engine that keeps neither is asked again."""

    async def test_a_run_that_goes_on_beyond_its_limit_is_stopped(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start(num_gpus=2, time_limit=timedelta(hours=1))
        await scripted.tick()
        began_at = scripted.clock()
        for minutes, stops in ((60, 0), (65, 0), (66, 1), (67, 1), (68, 2), (70, 3)):
            elapsed = timedelta(minutes=minutes)
            scripted.engine.shows[job_id] = Observation(RunState.RUNNING, elapsed)
            scripted.clock.now = began_at + elapsed
            await scripted.tick()
            assert [job for job, _ in scripted.engine.stopped] == [job_id] * stops, f"after {minutes} minutes"
        await scripted.cancel(job_id)
        scripted.engine.ends(job_id, EndReason.SIGNALLED, elapsed=timedelta(minutes=71), signal=9)
        await scripted.tick(minutes=1)
        assert await scripted.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 2 * HOUR)

    async def test_one_that_goes_on_though_it_was_cancelled_is_stopped_again(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        await scripted.cancel(job_id)
        for stops in (1, 1, 2, 2, 3):
            await scripted.tick(minutes=1)
            assert len(scripted.engine.stopped) == stops

    async def test_it_is_told_to_admins_though_its_engine_is_silent(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start(time_limit=timedelta(hours=1))
        await scripted.tick()
        scripted.engine.fails["poll"] = OSError("no answer")
        await scripted.tick(minutes=65)
        assert await scripted.overstaying() == set()
        await scripted.tick(minutes=1)
        assert await scripted.overstaying() == {job_id}

    async def test_it_is_told_to_admins_until_it_ends(self, scripted: Scene[ScriptedEngine]) -> None:
        late, cancelled, well = [await scripted.start(time_limit=timedelta(hours=1)) for _ in range(3)]
        await scripted.tick()
        await scripted.cancel(cancelled)
        scripted.engine.shows[late] = Observation(RunState.RUNNING, timedelta(minutes=65))
        await scripted.tick(minutes=5)
        assert await scripted.overstaying() == set()
        scripted.engine.shows[late] = Observation(RunState.RUNNING, timedelta(minutes=66))
        await scripted.tick(minutes=1)
        assert await scripted.overstaying() == {late, cancelled}
        for job_id in (late, cancelled):
            scripted.engine.ends(job_id)
        await scripted.tick(minutes=2)
        assert await scripted.overstaying() == set()
        assert (await scripted.job(well)).status == "RUNNING"


async def lose(scene: Scene[ScriptedEngine], **facts: Any) -> int:
    """The run of a new job."""
    job_id = await scene.start(**facts)
    await scene.tick()
    scene.engine.forget(job_id)
    await scene.tick(minutes=1)
    await scene.tick(minutes=10)
    assert (await scene.job(job_id)).reason == "LOST"
    return job_id


class TestLosingARun:
    async def test_not_knowing_a_run_is_not_its_end(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        scripted.engine.forget(job_id)
        await scripted.tick(minutes=1)
        await scripted.tick(minutes=9, seconds=59)
        assert (await scripted.job(job_id)).status == "RUNNING"

    async def test_after_ten_minutes_it_is_lost_and_its_gpus_are_kept_aside(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        job_id = await scripted.start(num_gpus=3)
        await scripted.tick()
        scripted.engine.forget(job_id)
        await scripted.tick(minutes=1)
        await scripted.tick(minutes=10)
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)
        assert await scripted.gpus("is_quarantined") == 3
        await scripted.tick(hours=1)
        assert len(scripted.engine.started) == 1

    async def test_a_run_that_shows_up_again_in_time_goes_on(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        run_id = scripted.engine.forget(job_id)
        await scripted.tick(minutes=9)
        scripted.engine.remember(job_id, run_id)
        await scripted.tick(minutes=9)
        scripted.engine.forget(job_id)
        await scripted.tick(minutes=9)
        assert (await scripted.job(job_id)).status == "RUNNING"

    async def test_its_engine_is_asked_to_end_what_may_still_run(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await lose(scripted)
        assert scripted.engine.stopped == [(job_id, timedelta(seconds=30))]

    async def test_it_is_lost_though_the_engine_cannot_end_it(self, scripted: Scene[ScriptedEngine]) -> None:
        scripted.engine.fails["stop"] = ConnectionError("no answer")
        job_id = await lose(scripted)
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)
        await scripted.tick()
        assert scripted.engine.stopped == []

    async def test_a_lost_run_that_somebody_cancelled_is_lost(self, simulated: Scene[SimulatedExecutor]) -> None:
        job_id = await simulated.start(command="train #SIM fault=lost duration=1m")
        await simulated.tick()
        await simulated.tick(minutes=2)
        await simulated.cancel(job_id)
        await simulated.tick(minutes=10)
        assert await simulated.verdict(job_id) == ("FAILED", "LOST", 0)

    async def test_it_pays_for_what_its_engine_had_measured(self, scripted: Scene[ScriptedEngine]) -> None:
        """Also where another dispatcher has taken over in between."""
        job_id = await scripted.start(num_gpus=2)
        scripted.engine.shows[job_id] = Observation(RunState.RUNNING, timedelta(seconds=300.7))
        await scripted.tick()
        scripted.engine.forget(job_id)
        await scripted.tick(minutes=1)
        scripted.dispatcher = scripted.make_dispatcher()
        await scripted.let_the_lease_expire()
        scripted.engine.forgets = True
        await scripted.tick(minutes=10)
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 600)


async def test_what_a_failed_node_has_cost_is_given_back_beside_the_charge(simulated: Scene[SimulatedExecutor]) -> None:
    job_id = await simulated.start(command="train #SIM fault=node-loss duration=10m")
    await simulated.tick()
    await simulated.tick(hours=1)
    owner = (await simulated.job(job_id)).user_id
    entries = await simulated.sql(
        "SELECT kind, used_delta, actor_process FROM quota_entries WHERE job_id = :job ORDER BY id", job=job_id
    )
    assert [(row.kind, row.used_delta) for row in entries][-2:] == [("SETTLE", 600), ("REFUND", -600)]
    assert entries[-1].actor_process.startswith("dispatcher")
    [month] = await simulated.sql("SELECT used_seconds FROM user_quotas WHERE user_id = :owner", owner=owner)
    assert month.used_seconds == 0


class TestFailingToLaunch:
    async def test_a_proved_failure_ends_the_job_with_the_engines_words(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        scripted.engine.refuses[job_id] = LaunchError("There is no such image.")
        await scripted.tick()
        assert await scripted.verdict(job_id) == ("FAILED", "LAUNCH_FAILURE", 0)
        assert (await scripted.job(job_id)).error_message == "There is no such image."
        assert await scripted.gpus("is_quarantined") == 0

    async def test_an_unclear_failure_is_tried_again(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        scripted.engine.refuses[job_id] = TimeoutError("no answer")
        await scripted.tick(seconds=30)
        assert (await scripted.job(job_id)).status == "RUNNING"
        del scripted.engine.refuses[job_id]
        await scripted.tick(seconds=30)
        assert [spec.job_id for spec in scripted.engine.started] == [job_id]

    async def test_after_two_minutes_without_clarity_the_run_is_lost(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        scripted.engine.refuses[job_id] = TimeoutError("no answer")
        await scripted.tick()
        await scripted.tick(minutes=1, seconds=59)
        assert (await scripted.job(job_id)).status == "RUNNING"
        await scripted.tick(seconds=2)
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)
        assert await scripted.gpus("is_quarantined") == 1
        assert [job for job, _ in scripted.engine.stopped] == [None], "it may have begun all the same"

    async def test_what_the_engine_lacks_is_no_verdict_however_long_it_does(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        job_id = await scripted.start(time_limit=timedelta(hours=1))
        scripted.engine.refuses[job_id] = StartPostponed("The disk is full.")
        for _ in range(4):
            await scripted.tick(hours=1)
        job = await scripted.job(job_id)
        assert (job.status, job.launched_at, job.queue_reason) == ("RUNNING", None, "The disk is full.")
        assert await scripted.overstaying() == set(), "it waits, and is no run that goes on"
        del scripted.engine.refuses[job_id]
        await scripted.tick(minutes=1)
        assert (await scripted.job(job_id)).launched_at is not None
        scripted.engine.ends(job_id)
        await scripted.tick()
        assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)

    async def test_it_is_tried_again_less_and_less_often(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        scripted.engine.refuses[job_id] = TimeoutError("no answer")
        for _ in range(60):
            await scripted.tick(seconds=1)
        assert scripted.engine.asked_to_start == [job_id] * 6, "after 0, 1, 3, 7, 15 and 31 seconds"

    async def test_a_run_that_cannot_be_launched_can_be_cancelled(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start(num_gpus=2)
        scripted.engine.refuses[job_id] = TimeoutError("no answer")
        await scripted.tick()
        await scripted.cancel(job_id)
        await scripted.tick(seconds=1)
        assert await scripted.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 0)
        assert await scripted.gpus("is_quarantined") == 0
        assert len(scripted.engine.stopped) == 1

    async def test_one_that_was_launched_before_a_crash_is_cancelled_by_proof(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        await scripted.sql("UPDATE jobs SET launched_at = NULL")
        await scripted.cancel(job_id)
        await scripted.take_over()
        assert [job for job, _ in scripted.engine.stopped] == [job_id]
        assert (await scripted.job(job_id)).status == "RUNNING"
        scripted.engine.ends(job_id, EndReason.SIGNALLED, signal=15)
        await scripted.tick()
        assert await scripted.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 600)
        assert len(scripted.engine.started) == len(scripted.engine.stopped) == 1

    @pytest.mark.parametrize("method", ["stop", "poll"])
    async def test_while_the_engine_does_not_answer_it_is_not_known_to_be_cancelled(
        self, scripted: Scene[ScriptedEngine], method: str
    ) -> None:
        job_id = await scripted.start()
        await scripted.cancel(job_id)
        scripted.engine.fails[method] = ConnectionError("no answer")
        await scripted.tick()
        await scripted.tick(minutes=1)
        assert (await scripted.job(job_id)).status == "RUNNING"
        scripted.engine.fails.clear()
        await scripted.tick(seconds=2)
        assert await scripted.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 0)
        assert scripted.engine.started == []

    async def test_after_two_minutes_of_silence_it_is_lost(self, scripted: Scene[ScriptedEngine]) -> None:
        """It may have begun before a crash, and nobody could stop it."""
        job_id = await scripted.start()
        await scripted.cancel(job_id)
        scripted.engine.fails["stop"] = ConnectionError("no answer")
        await scripted.tick()
        await scripted.tick(minutes=2)
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)
        assert await scripted.gpus("is_quarantined") == 1


async def test_what_is_not_what_was_approved_is_not_launched(scripted: Scene[ScriptedEngine]) -> None:
    """Somebody has changed it in the database, past the guards."""
    job_id, other = await scripted.start(), await scripted.start()
    async with scripted.state.database.transaction() as connection:
        await become_owner(connection, unguarded=True)
        await connection.execute(text("UPDATE jobs SET command = 'mine' WHERE id = :id"), {"id": job_id})
    await scripted.tick()
    assert [spec.job_id for spec in scripted.engine.started] == [other]
    assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)
    assert (await scripted.job(job_id)).error_message == (
        "What stands in the database is not what was approved, and was not launched."
    )


class TestAQuarantine:
    """The GPUs of a lost run are kept aside until it is proved that nothing of it is left."""

    async def test_it_ends_by_proof(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await lose(scripted, num_gpus=3)
        await scripted.tick(seconds=30)
        assert await scripted.gpus("is_quarantined") == 3
        scripted.engine.gone.add((await scripted.job(job_id)).run_id)
        await scripted.tick(seconds=30)
        assert await scripted.gpus("is_quarantined") == 0
        assert await scripted.start(num_gpus=8)

    async def test_of_two_lost_runs_each_needs_its_own_proof(self, scripted: Scene[ScriptedEngine]) -> None:
        first, second = await lose(scripted, num_gpus=3), await lose(scripted, num_gpus=2)
        scripted.engine.gone.add((await scripted.job(first)).run_id)
        await scripted.tick(seconds=30)
        assert await scripted.gpus("is_quarantined") == 2
        assert scripted.engine.asked_gone[-1] == {(await scripted.job(job_id)).run_id for job_id in (first, second)}
        await scripted.tick(seconds=30)
        assert scripted.engine.asked_gone[-1] == {(await scripted.job(second)).run_id}

    async def test_an_engine_that_has_no_lost_runs_is_not_asked(self, scripted: Scene[ScriptedEngine]) -> None:
        await scripted.tick(minutes=1)
        assert scripted.engine.asked_gone == []

    async def test_what_was_drained_stays_drained(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await lose(scripted)
        await scripted.sql("UPDATE gpus SET drained_at = now(), drain_reason = 'fan' WHERE is_quarantined")
        scripted.engine.gone.add((await scripted.job(job_id)).run_id)
        await scripted.tick(seconds=30)
        assert await scripted.gpus("drained_at IS NOT NULL AND NOT is_quarantined") == 1

    async def test_only_the_latest_run_of_a_gpu_counts(self, scripted: Scene[ScriptedEngine]) -> None:
        earlier = await lose(scripted, num_gpus=8)
        await scripted.sql("UPDATE gpus SET is_quarantined = false")
        later = await lose(scripted, num_gpus=8)
        scripted.engine.gone.add((await scripted.job(earlier)).run_id)
        await scripted.tick(seconds=30)
        assert scripted.engine.asked_gone[-1] == {(await scripted.job(later)).run_id}
        assert await scripted.gpus("is_quarantined") == 8

    async def test_another_engine_is_not_asked_about_it(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await lose(scripted)
        engine = ScriptedEngine()
        engine.name = "another"
        engine.gone.add((await scripted.job(job_id)).run_id)
        await scripted.take_over(engine)
        await scripted.tick(seconds=30)
        assert engine.asked_gone == []
        assert await scripted.gpus("is_quarantined") == 1

    async def test_what_is_not_gone_is_stopped_once_more_by_each_dispatcher(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        """The first one may have died between giving the run up and saying so."""
        await lose(scripted)
        await scripted.take_over()
        await scripted.tick(minutes=1)
        await scripted.tick(minutes=1)
        assert len(scripted.engine.stopped) == 2

    async def test_a_proof_that_cannot_be_had_ends_nothing(self, scripted: Scene[ScriptedEngine]) -> None:
        await lose(scripted)
        scripted.engine.fails["proved_gone"] = ConnectionError("no answer")
        await scripted.tick(seconds=30)
        assert await scripted.gpus("is_quarantined") == 1
