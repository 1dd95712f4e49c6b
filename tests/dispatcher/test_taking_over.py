"""A dispatcher that takes over knows nothing but what the database says."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from app.api.state import AppState
from app.domain.execution import Observation, RunState
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from tests.dispatcher.conftest import FLEET, Scene
from tests.dispatcher.scripted_engine import ScriptedEngine
from tests.factories import start_job

pytestmark = pytest.mark.anyio


def engine_after_a_restart(scene: Scene[SimulatedExecutor]) -> SimulatedExecutor:
    return SimulatedExecutor(parse_fleet(FLEET), speedup=1, failure_rate=0, clock=scene.clock)


async def test_runs_are_adopted_and_not_started_again(scripted: Scene[ScriptedEngine]) -> None:
    job_id = await scripted.start()
    await scripted.tick()
    successor = ScriptedEngine()
    await scripted.take_over(successor)
    assert [spec.job_id for spec in successor.adopted] == [job_id]
    assert successor.started == []
    successor.ends(job_id)
    await scripted.tick()
    assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)


async def test_a_run_is_the_same_run_for_every_dispatcher(scripted: Scene[ScriptedEngine]) -> None:
    await scripted.start(num_gpus=2)
    await scripted.tick()
    successor = ScriptedEngine()
    await scripted.take_over(successor)
    assert successor.adopted == scripted.engine.started


async def test_an_end_that_nobody_watched_is_settled_as_it_was(simulated: Scene[SimulatedExecutor]) -> None:
    job_id = await simulated.start(num_gpus=2, command="sleep 600")
    await simulated.tick()
    simulated.clock.advance(days=1)
    await simulated.take_over(engine_after_a_restart(simulated))
    assert await simulated.verdict(job_id) == ("COMPLETED", "EXITED", 1200)


async def test_what_was_decided_but_never_launched_is_launched(scripted: Scene[ScriptedEngine]) -> None:
    job_id = await scripted.start()
    await scripted.take_over()
    assert [spec.job_id for spec in scripted.engine.started] == [job_id]


async def test_a_launch_that_nobody_wrote_down_is_repeated_as_the_same_run(scripted: Scene[ScriptedEngine]) -> None:
    """A crash between the engine's answer and the note: `start` is idempotent, so asking again is safe."""
    await scripted.start()
    await scripted.tick()
    await scripted.sql("UPDATE jobs SET launched_at = NULL")
    await scripted.take_over()
    first, second = scripted.engine.started
    assert first == second


async def test_a_cancelled_run_is_stopped_by_the_next_dispatcher(simulated: Scene[SimulatedExecutor]) -> None:
    """The simulated engine keeps a stop in memory only, as an engine does that died on the way."""
    job_id = await simulated.start(command="sleep 3000 #SIM fault=ignore-term")
    await simulated.tick()
    await simulated.cancel(job_id)
    await simulated.tick()
    simulated.clock.advance(seconds=15)
    await simulated.take_over(engine_after_a_restart(simulated))
    await simulated.tick(seconds=30)
    assert (await simulated.job(job_id)).status == "CANCELLED"


async def test_while_one_dispatcher_holds_the_lease_another_one_does_nothing(
    scripted: Scene[ScriptedEngine],
) -> None:
    await scripted.start()
    bystander = ScriptedEngine()
    await scripted.make_dispatcher(bystander).tick()
    assert bystander.adopted == bystander.started == []
    assert await scripted.sql("SELECT id FROM jobs WHERE launched_at IS NOT NULL") == []


async def test_a_dispatcher_that_ends_makes_room_at_once(scripted: Scene[ScriptedEngine]) -> None:
    await scripted.start()
    await scripted.dispatcher._resign()
    await scripted.make_dispatcher().tick()
    assert len(scripted.engine.started) == 1


class TestARunThatTheEngineForgets:
    """However often dispatchers come and go meanwhile."""

    async def test_it_is_lost_after_ten_minutes_of_them_together(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        scripted.engine.forgets = True
        scripted.engine.forget(job_id)
        await scripted.take_over()
        scripted.clock.advance(minutes=5)
        await scripted.take_over()
        assert (await scripted.job(job_id)).status == "RUNNING"
        scripted.clock.advance(minutes=5)
        await scripted.take_over()
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)

    async def test_the_ten_minutes_begin_anew_when_it_was_known_in_between(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        scripted.engine.forgets = True
        run_id = scripted.engine.forget(job_id)
        await scripted.take_over()
        assert (await scripted.job(job_id)).unknown_since == scripted.clock()
        scripted.engine.remember(job_id, run_id)
        await scripted.tick(minutes=5)
        assert (await scripted.job(job_id)).unknown_since is None
        scripted.engine.forget(job_id)
        scripted.clock.advance(minutes=5)
        await scripted.take_over()
        assert (await scripted.job(job_id)).status == "RUNNING"


class Successor(ScriptedEngine):
    """The engine that the service uses from now on."""

    name = "successor"


class TestRunsOfAnotherEngine:
    """Somebody has changed `EXECUTOR` while jobs were under way."""

    async def test_they_are_neither_adopted_nor_launched_nor_stopped(self, scripted: Scene[ScriptedEngine]) -> None:
        running = await scripted.start()
        await scripted.tick()
        cancelled = await scripted.start()
        await scripted.cancel(cancelled)
        waiting = await scripted.start()
        engine = Successor()
        with capture_logs() as entries:
            await scripted.take_over(engine)
        assert (engine.adopted, engine.started, engine.stopped, engine.polls) == ([], [], [], [])
        [warning] = [entry for entry in entries if entry["log_level"] == "warning"]
        assert warning["runs"] == {"scripted": 3}
        statuses = {(await scripted.job(job_id)).status for job_id in (running, cancelled, waiting)}
        assert statuses == {"RUNNING"}

    async def test_they_are_lost_after_ten_minutes_and_the_owner_reads_why(
        self, scripted: Scene[ScriptedEngine]
    ) -> None:
        running = await scripted.start()
        await scripted.tick()
        waiting = await scripted.start()
        engine = Successor()
        await scripted.take_over(engine)
        await scripted.tick(minutes=5)
        scripted.clock.advance(minutes=5)
        await scripted.take_over(engine)
        for job_id in (running, waiting):
            assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)
            job = await scripted.job(job_id)
            assert (
                job.error_message == 'This run belonged to the engine "scripted", and "successor" has taken its place.'
            )
        assert engine.stopped == []

    async def test_they_go_on_when_their_engine_comes_back_in_time(self, scripted: Scene[ScriptedEngine]) -> None:
        job_id = await scripted.start()
        await scripted.tick()
        await scripted.take_over(Successor())
        scripted.clock.advance(minutes=9)
        await scripted.take_over(scripted.engine)
        await scripted.tick(minutes=9)
        scripted.engine.ends(job_id)
        await scripted.tick()
        assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)

    async def test_one_that_is_decided_on_later_is_noticed_as_well(self, scripted: Scene[ScriptedEngine]) -> None:
        """By an API that was not restarted yet."""
        job_id = await scripted.approve()
        await scripted.take_over(Successor())
        await scripted.sql("UPDATE gpus SET retired_at = NULL WHERE executor = 'scripted'")
        await start_job(scripted.state, job_id, scripted.admin)
        await scripted.tick(seconds=30)
        await scripted.tick(minutes=10)
        assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)

    async def test_a_queue_of_the_other_engine_is_lost_in_the_same_way(self, queueing: Scene[ScriptedEngine]) -> None:
        job_id = await queueing.start()
        await queueing.tick()
        await queueing.take_over(Successor())
        await queueing.tick(minutes=10)
        assert await queueing.verdict(job_id) == ("FAILED", "LOST", 0)


async def settle(scene: Scene[ScriptedEngine]) -> None:
    job_id = await scene.start(num_gpus=2)
    await scene.tick()
    scene.engine.ends(job_id)


async def lose(scene: Scene[ScriptedEngine]) -> None:
    job_id = await scene.start(num_gpus=2)
    await scene.tick()
    scene.engine.forget(job_id)
    await scene.tick(seconds=1)
    scene.clock.advance(minutes=10)


async def launch(scene: Scene[ScriptedEngine]) -> None:
    await scene.start()


async def report_progress(scene: Scene[ScriptedEngine]) -> None:
    job_id = await scene.start()
    await scene.tick()
    scene.engine.shows[job_id] = Observation(RunState.RUNNING, progress=0.5)


async def explain(scene: Scene[ScriptedEngine]) -> None:
    await scene.start(num_gpus=8)
    await scene.approve(num_gpus=8)
    scene.clock.advance(seconds=5)


async def read_the_fleet(scene: Scene[ScriptedEngine]) -> None:
    scene.engine.fleet = parse_fleet("node1=A100x1")
    scene.clock.advance(minutes=1)


async def start_in_the_month_of_approval(scene: Scene[ScriptedEngine]) -> None:
    await scene.approve()


async def start_in_the_next_month(scene: Scene[ScriptedEngine]) -> None:
    await scene.approve()
    scene.clock.advance(days=40)


@pytest.mark.parametrize(
    "prepare",
    [
        settle,
        lose,
        launch,
        report_progress,
        explain,
        read_the_fleet,
        start_in_the_month_of_approval,
        start_in_the_next_month,
    ],
)
@pytest.mark.parametrize("places_gpus", [True, False], ids=["we place", "the engine places"])
@pytest.mark.parametrize("is_overtaken", [True, False], ids=["overtaken", "not overtaken"])
async def test_only_the_dispatcher_of_the_present_term_changes_a_row(
    prepare: Callable[[Scene[ScriptedEngine]], Awaitable[None]],
    places_gpus: bool,
    is_overtaken: bool,
    state: AppState,
    scripted: Scene[ScriptedEngine],
) -> None:
    """The overtaken one still trusts its lease, as one does that the kernel had stopped in the middle of a tick."""
    scene = scripted
    if not places_gpus:
        scene.engine = ScriptedEngine(places_gpus=False)
        scene.state = replace(state, engine=scene.engine)
    await scene.take_over(starts_by_itself=prepare.__name__.startswith("start_in"))
    await prepare(scene)
    if is_overtaken:
        await scene.sql(
            "UPDATE dispatcher_lease SET term = term + 1, holder = 'another', "
            "expires_at = clock_timestamp() + interval '1 minute'"
        )
    before = await scene.everything()
    await scene.dispatcher.tick()
    assert (await scene.everything() == before) is is_overtaken


async def test_a_dispatcher_whose_lease_has_run_out_starts_nothing(scripted: Scene[ScriptedEngine]) -> None:
    """Its own clock tells it so, before it asks an engine that may have forgotten how the run ended."""
    await scripted.start()
    await scripted.let_the_lease_expire()
    scripted.dispatcher = scripted.make_dispatcher(lease_ttl=timedelta(milliseconds=50))
    scripted.engine.before_inventory = lambda: let_the_lease_run_out(scripted)
    await scripted.tick()
    assert scripted.engine.started == []


async def let_the_lease_run_out(scene: Scene[ScriptedEngine]) -> None:
    while scene.dispatcher._lease.term is not None:
        await scene.sql("SELECT pg_sleep(0.01)")
