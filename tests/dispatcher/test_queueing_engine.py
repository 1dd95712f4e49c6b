"""An engine that queues by itself and chooses the GPUs, as Slurm does: the job stays APPROVED until it runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.execution import EndReason, LaunchError, Observation, RunState
from tests.dispatcher.conftest import Scene
from tests.dispatcher.scripted_engine import ScriptedEngine
from tests.factories import start_job

pytestmark = pytest.mark.anyio

Scripted = Scene[ScriptedEngine]
QUEUED = Observation(RunState.STARTING, queue_reason="(Resources)")


async def queued(scene: Scripted) -> int:
    job_id = await scene.start()
    scene.engine.shows[job_id] = QUEUED
    await scene.tick()
    return job_id


async def test_a_started_job_stays_approved_with_the_engines_reason(queueing: Scripted) -> None:
    job = await queueing.job(await queued(queueing))
    assert (job.status, job.queue_reason, job.started_at) == ("APPROVED", "(Resources)", None)
    assert job.dispatched_at == job.launched_at == queueing.clock()
    assert await queueing.sql("SELECT id FROM gpu_allocations") == []


async def test_it_runs_when_the_engine_says_so_and_is_charged_from_then(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    del queueing.engine.shows[job_id]
    await queueing.tick(hours=5)
    job = await queueing.job(job_id)
    assert (job.status, job.started_at) == ("RUNNING", queueing.clock())
    queueing.engine.ends(job_id)
    await queueing.tick()
    assert await queueing.verdict(job_id) == ("COMPLETED", "EXITED", 600)


async def test_a_run_that_was_never_seen_running_has_run_all_the_same(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    queueing.engine.ends(job_id)
    await queueing.tick(hours=5)
    assert await queueing.verdict(job_id) == ("COMPLETED", "EXITED", 600)
    steps = [row.to_status for row in await queueing.sql("SELECT to_status FROM job_events ORDER BY seq")]
    assert steps == ["PENDING", "APPROVED", "APPROVED", "RUNNING", "COMPLETED"]


async def test_what_the_engine_refuses_fails(queueing: Scripted) -> None:
    job_id = await queueing.start()
    queueing.engine.refuses[job_id] = LaunchError("Invalid account.")
    await queueing.tick()
    assert await queueing.verdict(job_id) == ("FAILED", "LAUNCH_FAILURE", 0)


async def test_an_engine_that_is_away_loses_no_job_and_everybody_sees_why_it_waits(queueing: Scripted) -> None:
    job_id = await queueing.start()
    queueing.engine.refuses[job_id] = ConnectionError("sbatch: Unable to contact slurm controller")
    for _ in range(3):
        await queueing.tick(hours=1)
    job = await queueing.job(job_id)
    assert (job.status, job.queue_reason) == ("APPROVED", "sbatch: Unable to contact slurm controller")
    queueing.engine.refuses.clear()
    queueing.engine.shows[job_id] = QUEUED
    await queueing.tick(minutes=1)
    job = await queueing.job(job_id)
    assert (job.status, job.queue_reason) == ("APPROVED", "(Resources)")


async def test_a_queued_run_that_the_engine_forgets_is_lost(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    queueing.engine.forget(job_id)
    await queueing.tick(seconds=1)
    await queueing.tick(minutes=10)
    assert await queueing.verdict(job_id) == ("FAILED", "LOST", 0)


async def test_cancelling_goes_through_the_engine(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    await queueing.cancel(job_id)
    await queueing.tick()
    assert [job for job, _ in queueing.engine.stopped] == [job_id]
    assert (await queueing.job(job_id)).status == "APPROVED"
    queueing.engine.ends(job_id, EndReason.SIGNALLED, elapsed=timedelta(0))
    await queueing.tick()
    job = await queueing.job(job_id)
    assert (job.status, job.started_at, job.charged_seconds) == ("CANCELLED", None, 0)
    steps = [row.to_status for row in await queueing.sql("SELECT to_status FROM job_events ORDER BY seq")]
    assert "RUNNING" not in steps


async def test_a_job_that_was_never_handed_over_is_called_off_through_the_engine(queueing: Scripted) -> None:
    """It is proved to have no run there, so it costs nothing and has never started."""
    job_id = await queueing.start()
    queueing.engine.refuses[job_id] = TimeoutError("no answer")
    await queueing.tick()
    await queueing.cancel(job_id)
    await queueing.tick()
    assert len(queueing.engine.stopped) == 1
    assert await queueing.verdict(job_id) == ("CANCELLED", "CANCELLED_BY_USER", 0)
    assert (await queueing.job(job_id)).started_at is None
    steps = [row.to_status for row in await queueing.sql("SELECT to_status FROM job_events ORDER BY seq")]
    assert steps == ["PENDING", "APPROVED", "APPROVED", "APPROVED", "CANCELLED"]


@pytest.mark.parametrize(
    ("told", "kept"),
    [(90, 90), (600, 600), (-60, 0), (6000, 3600), (None, 3600)],
    ids=["early", "late", "before it was handed over", "in the future", "not at all"],
)
async def test_it_has_started_when_the_engine_says_so_within_reason(
    queueing: Scripted, told: int | None, kept: int
) -> None:
    """In seconds after it was handed over; the dispatcher looks an hour later."""
    handed_over_at = queueing.clock()
    job_id = await queued(queueing)
    started_at = None if told is None else handed_over_at + timedelta(seconds=told)
    queueing.engine.shows[job_id] = Observation(RunState.RUNNING, started_at=started_at)
    await queueing.tick(hours=1)
    assert (await queueing.job(job_id)).started_at == handed_over_at + timedelta(seconds=kept)


async def test_a_run_that_was_never_seen_running_has_the_engines_moments(queueing: Scripted) -> None:
    handed_over_at = queueing.clock()
    job_id = await queued(queueing)
    queueing.engine.shows[job_id] = Observation(
        RunState.ENDED,
        timedelta(minutes=10),
        started_at=handed_over_at + timedelta(minutes=5),
        ended_at=handed_over_at + timedelta(minutes=15),
        reason=EndReason.EXITED,
    )
    await queueing.tick(hours=1)
    job = await queueing.job(job_id)
    assert (job.started_at - handed_over_at, job.finished_at - handed_over_at) == (
        timedelta(minutes=5),
        timedelta(minutes=15),
    )


async def test_an_end_before_the_beginning_is_no_moment(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    queueing.engine.shows[job_id] = Observation(
        RunState.ENDED, started_at=queueing.clock(), ended_at=datetime(1970, 1, 1, tzinfo=UTC), reason=EndReason.EXITED
    )
    await queueing.tick(hours=1)
    job = await queueing.job(job_id)
    assert job.started_at == job.finished_at


async def test_a_run_that_waits_again_after_it_began_is_stopped_and_pays(queueing: Scripted) -> None:
    """Slurm lets a job put itself back into the queue, and gives it all of its time once more."""
    job_id = await queued(queueing)
    queueing.engine.shows[job_id] = Observation(RunState.RUNNING, timedelta(minutes=20))
    await queueing.tick(minutes=1)
    queueing.engine.shows[job_id] = QUEUED
    await queueing.tick(minutes=1)
    assert [job for job, _ in queueing.engine.stopped] == [job_id]
    queueing.engine.ends(job_id, EndReason.SIGNALLED, elapsed=timedelta(minutes=20), signal=15)
    await queueing.tick()
    assert await queueing.verdict(job_id) == ("FAILED", "SIGNALLED", 1200)
    assert "put back into the engine's queue" in (await queueing.job(job_id)).error_message


async def test_what_held_gpus_pays_though_it_is_told_that_it_could_not_be_launched(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    queueing.engine.shows[job_id] = Observation(RunState.RUNNING, timedelta(minutes=20))
    await queueing.tick(minutes=20)
    queueing.engine.ends(job_id, EndReason.LAUNCH_FAILURE, elapsed=timedelta(minutes=20))
    await queueing.tick()
    assert await queueing.verdict(job_id) == ("FAILED", "LAUNCH_FAILURE", 1200)


async def test_in_automatic_mode_the_engines_queue_decides_what_is_free(queueing: Scripted) -> None:
    await queueing.take_over(starts_by_itself=True)
    await queueing.sql("UPDATE gpus SET is_busy = true")
    queueing.engine.fleet = [replace(gpu, busy=True) for gpu in queueing.engine.fleet]
    job_id = await queueing.approve(num_gpus=8)
    await queueing.tick()
    assert (await queueing.job(job_id)).launched_at is not None


async def test_starting_again_what_one_has_started_oneself_changes_nothing(queueing: Scripted) -> None:
    job_id = await queued(queueing)
    events_before = await queueing.sql("SELECT id FROM job_events")
    job = await start_job(queueing.state, job_id, queueing.admin)
    assert (job.id, job.status) == (job_id, "APPROVED")
    assert await queueing.sql("SELECT id FROM job_events") == events_before
