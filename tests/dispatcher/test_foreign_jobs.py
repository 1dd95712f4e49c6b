"""Jobs that the engine holds in the service's name, and that the service did not submit."""

from datetime import timedelta
from uuid import UUID

import pytest

from app.db.queries import metrics
from app.domain.execution import NamedJob, Observation, RunState
from app.services import alerts
from tests.dispatcher.conftest import Scene
from tests.dispatcher.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.anyio

Scripted = Scene[ScriptedEngine]
STRANGER = NamedJob("7", "mine", num_gpus=4)


async def test_it_is_told_to_admins_and_written_down_once(queueing: Scripted) -> None:
    queueing.engine.named = [STRANGER, NamedJob("8", "gtm-of-another-service", UUID(int=1))]
    for _ in range(3):
        await queueing.tick(minutes=1)
    assert await told(queueing) == [("7", "mine", 4), ("8", "gtm-of-another-service", None)]
    assert await audited(queueing) == ["foreign_job.seen 7", "foreign_job.seen 8"]
    assert queueing.engine.cancelled == []

    queueing.engine.named = []
    await queueing.tick(minutes=1)
    assert await told(queueing) == []


async def test_a_run_is_none_and_neither_is_one_that_has_just_ended(queueing: Scripted) -> None:
    job_id = await queueing.start()
    queueing.engine.shows[job_id] = Observation(RunState.RUNNING, timedelta(seconds=1))
    await queueing.tick()
    queueing.engine.named = [NamedJob("7", "gtm-run", (await queueing.job(job_id)).run_id, 1)]
    await queueing.tick(minutes=1)
    queueing.engine.ends(job_id)
    await queueing.tick(minutes=1)
    assert (await queueing.job(job_id)).status == "COMPLETED"
    await queueing.tick(seconds=10)
    assert await told(queueing) == []

    await queueing.tick(minutes=2)
    assert await told(queueing) == [("7", "gtm-run", 1)], "it holds GPUs for a run that is over"


async def test_where_a_setting_says_so_it_is_cancelled_until_it_is_gone(queueing: Scripted) -> None:
    await queueing.take_over(queueing.engine, cancels_foreign_jobs=True)
    queueing.engine.named = [STRANGER]
    await queueing.tick(minutes=1)
    await queueing.tick(minutes=1)
    assert queueing.engine.cancelled == ["7", "7"]
    assert await audited(queueing) == ["foreign_job.seen 7", "foreign_job.cancelled 7"]


async def test_an_engine_that_does_not_tell_changes_nothing(queueing: Scripted) -> None:
    queueing.engine.named = [STRANGER]
    await queueing.tick(minutes=1)
    queueing.engine.fails["named_jobs"] = OSError("no answer")
    await queueing.tick(minutes=1)
    assert await told(queueing) == [("7", "mine", 4)]


async def told(scene: Scripted) -> list[tuple[str, str, int | None]]:
    """To admins; the metrics count the same."""
    async with scene.state.database.autocommit() as connection:
        measures = await metrics.snapshot(connection, now=scene.clock())
        seen = (await alerts.read(connection, now=scene.clock())).foreign_jobs
    assert [measure.value for measure in measures if measure.name == "foreign"] == [len(seen)]
    return [(row.engine_job_id, row.name, row.num_gpus) for row in seen]


async def audited(scene: Scripted) -> list[str]:
    rows = await scene.sql("SELECT action, details FROM audit_entries WHERE target_type = 'foreign_job' ORDER BY id")
    return [f"{row.action} {row.details['engine_job_id']}" for row in rows]
