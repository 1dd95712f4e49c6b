"""Engines and databases that misbehave. Whatever they do, it is their runs that wait, and nobody else's."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime, timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from app.dispatcher.loop import Dispatcher, pause_after
from app.domain.execution import EndReason, LaunchError, Observation, RunState
from app.executors.simulated.fleet import parse_fleet
from tests.dispatcher.conftest import Scene
from tests.dispatcher.scripted_engine import ScriptedEngine
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

Scripted = Scene[ScriptedEngine]


async def healthy_run_ends_beside(scene: Scripted, strange: Observation, *, ticks: int = 1) -> int:
    """Let one run show something strange while another one ends as it should. Returns the strange one's job."""
    strange_job, healthy_job = await scene.start(), await scene.start()
    await scene.tick()
    scene.engine.shows[strange_job] = strange
    scene.engine.ends(healthy_job)
    for _ in range(ticks):
        await scene.tick(seconds=1)
    assert await scene.verdict(healthy_job) == ("COMPLETED", "EXITED", 600)
    return strange_job


@pytest.mark.parametrize("reason", [None, EndReason.REJECTED_BY_ADMIN])
async def test_an_end_without_a_reason_is_no_evidence(scripted: Scripted, reason: EndReason | None) -> None:
    job_id = await healthy_run_ends_beside(scripted, Observation(RunState.ENDED, reason=reason))
    assert (await scripted.job(job_id)).status == "RUNNING"
    await scripted.tick(minutes=10)
    assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("cut\0off", "cut\N{REPLACEMENT CHARACTER}off"),
        ("half \ud83d of a pair", "half ? of a pair"),
        ("خطا در کارت گرافیک", "خطا در کارت گرافیک"),
        ("x" * 5000, "x" * 2000),
    ],
    ids=["nul", "surrogate", "persian", "long"],
)
async def test_whatever_the_engine_says_can_be_kept(scripted: Scripted, said: str, kept: str) -> None:
    ended = Observation(RunState.ENDED, reason=EndReason.NONZERO_EXIT, message=said)
    job_id = await healthy_run_ends_beside(scripted, ended)
    assert (await scripted.job(job_id)).error_message == kept


async def test_a_clock_that_is_set_back_holds_up_nothing(scripted: Scripted) -> None:
    scripted.engine.fleet = parse_fleet("node1=A100x8")
    job_id = await scripted.start()
    await scripted.tick()
    scripted.engine.shows[job_id] = Observation(
        RunState.RUNNING, unchanged_until=scripted.clock() + timedelta(minutes=30)
    )
    await scripted.tick(minutes=2)
    scripted.engine.ends(job_id)
    scripted.engine.fleet = parse_fleet("node1=A100x4")

    await scripted.tick(hours=-3)

    assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)
    assert await scripted.gpus("retired_at IS NULL") == 4


@pytest.mark.parametrize("progress", [math.nan, math.inf, -0.1, 1.5])
async def test_a_progress_that_is_no_share_is_not_shown(scripted: Scripted, progress: float) -> None:
    job_id = await healthy_run_ends_beside(scripted, Observation(RunState.RUNNING, progress=progress))
    assert (await scripted.job(job_id)).progress is None


async def test_an_end_that_the_database_refuses_stays_alone(scripted: Scripted) -> None:
    ended = Observation(RunState.ENDED, timedelta(minutes=1), reason=EndReason.NONZERO_EXIT, exit_code=2**40)
    job_id = await healthy_run_ends_beside(scripted, ended, ticks=3)
    assert (await scripted.job(job_id)).status == "RUNNING"
    scripted.engine.ends(job_id, EndReason.NONZERO_EXIT, exit_code=2)
    await scripted.tick(minutes=1)
    assert await scripted.verdict(job_id) == ("FAILED", "NONZERO_EXIT", 600)


async def test_a_launch_that_fails_does_not_keep_others_from_being_launched(scripted: Scripted) -> None:
    broken, refused, healthy = [await scripted.start() for _ in range(3)]
    scripted.engine.refuses = {broken: RuntimeError("a bug in the engine"), refused: LaunchError("No such image.")}
    await scripted.tick()
    assert [spec.job_id for spec in scripted.engine.started] == [healthy]
    assert (await scripted.job(refused)).reason == "LAUNCH_FAILURE"


async def test_a_run_that_cannot_be_stopped_does_not_keep_others_from_being_stopped(scripted: Scripted) -> None:
    unstoppable, stoppable = await scripted.start(), await scripted.start()
    await scripted.tick()
    await scripted.cancel(unstoppable)
    await scripted.cancel(stoppable)
    scripted.engine.refuses_to_stop.add(unstoppable)
    await scripted.tick()
    assert [job_id for job_id, _ in scripted.engine.stopped] == [stoppable]


async def test_a_fleet_that_cannot_be_read_does_not_stop_the_rest(scripted: Scripted) -> None:
    ending = await scripted.start()
    await scripted.tick()
    scripted.engine.ends(ending)
    waiting = await scripted.start()
    scripted.engine.fails["inventory"] = ConnectionError("no answer")
    await scripted.tick(minutes=1)
    assert (await scripted.job(ending)).status == "COMPLETED"
    assert (await scripted.job(waiting)).launched_at is not None


async def test_while_the_engine_does_not_answer_nothing_is_concluded(scripted: Scripted) -> None:
    job_id = await scripted.start()
    await scripted.tick()
    scripted.engine.fails["poll"] = ConnectionError("no answer")
    for _ in range(3):
        await scripted.tick(hours=1)
    del scripted.engine.fails["poll"]
    await scripted.tick(seconds=5)
    assert (await scripted.job(job_id)).status == "RUNNING"
    scripted.engine.ends(job_id)
    await scripted.tick(seconds=5)
    assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)


async def test_runs_are_adopted_as_soon_as_the_engine_answers(scripted: Scripted) -> None:
    job_id = await scripted.start()
    await scripted.tick()
    successor = ScriptedEngine()
    successor.fails["adopt"] = ConnectionError("no answer")
    await scripted.take_over(successor)
    successor.fails.clear()
    await scripted.tick(seconds=5)
    assert [spec.job_id for spec in successor.adopted] == [job_id]


async def test_a_run_that_waited_long_for_a_dispatcher_is_tried_more_than_once(scripted: Scripted) -> None:
    job_id = await scripted.start()
    scripted.engine.refuses[job_id] = TimeoutError("no answer")
    await scripted.tick(hours=1)
    assert (await scripted.job(job_id)).status == "RUNNING"
    del scripted.engine.refuses[job_id]
    await scripted.tick(seconds=1)
    assert (await scripted.job(job_id)).launched_at is not None


@asynccontextmanager
async def without_the_table(scene: Scripted, table: str) -> AsyncIterator[None]:
    """As in the middle of a migration that went wrong: statements fail, and nothing of them stays."""
    await scene.sql(f"ALTER TABLE {table} RENAME TO {table}_away", as_owner=True)
    try:
        yield
    finally:
        await scene.sql(f"ALTER TABLE {table}_away RENAME TO {table}", as_owner=True)


@pytest.mark.parametrize("table", ["jobs", "job_events", "user_quotas", "gpu_allocations", "dispatcher_lease"])
async def test_what_a_failing_database_interrupts_is_done_when_it_works_again(scripted: Scripted, table: str) -> None:
    ending, waiting = await scripted.start(), await scripted.start()
    await scripted.tick()
    scripted.engine.ends(ending)
    await scripted.sql("UPDATE jobs SET launched_at = NULL WHERE id = :id", id=waiting)
    await scripted.let_the_lease_expire()
    scripted.dispatcher = scripted.make_dispatcher()
    async with without_the_table(scripted, table):
        with pytest.raises(DBAPIError):
            await scripted.tick(seconds=1)
    await scripted.tick(seconds=1)
    assert await scripted.verdict(ending) == ("COMPLETED", "EXITED", 600)
    assert (await scripted.job(waiting)).launched_at is not None


async def test_connections_that_are_cut_in_the_middle_of_a_tick_are_replaced(scripted: Scripted) -> None:
    job_id = await scripted.start()
    await scripted.tick()
    scripted.engine.ends(job_id)
    scripted.engine.before_poll = lambda: cut_all_connections(scripted)
    with suppress(DBAPIError):
        await scripted.tick()
    await scripted.tick()
    assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)
    # The driver has not noticed yet that others in the pool are cut, too: the next test must not get them.
    await scripted.state.database.dispose()


async def cut_all_connections(scene: Scripted) -> None:
    await scene.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_the_loop_goes_on_after_a_failed_tick_and_resigns_at_the_end(scripted: Scripted) -> None:
    job_id = await scripted.start()
    await scripted.let_the_lease_expire()
    scripted.dispatcher = scripted.make_dispatcher(tick=timedelta(milliseconds=1))
    launched = "SELECT id FROM jobs WHERE id = :id AND launched_at IS NOT NULL"
    async with AsyncExitStack() as stack:
        async with without_the_table(scripted, "jobs"):
            await stack.enter_async_context(at_work(scripted.dispatcher))
            await eventually(lambda: is_held(scripted))
        await eventually(lambda: scripted.sql(launched, id=job_id))
    assert not await is_held(scripted)


@asynccontextmanager
async def at_work(dispatcher: Dispatcher) -> AsyncIterator[None]:
    """In its loop, which is stopped in any case: one that is left behind breaks the tests that follow."""
    loop = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.wait([loop])


async def test_a_tick_that_does_not_end_is_broken_off_and_makes_room_for_others(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.dispatcher.loop.LONGEST_TICK_SECONDS", 0.05)
    await scripted.let_the_lease_expire()
    scripted.engine.hangs.add("inventory")  # and a tick of these tests waits for it
    [before] = await scripted.sql("SELECT term FROM dispatcher_lease")

    async def others_had_room() -> bool:
        [now] = await scripted.sql("SELECT term FROM dispatcher_lease")
        return bool(now.term > before.term + 1)

    async with at_work(scripted.make_dispatcher(tick=timedelta(milliseconds=1))):
        await eventually(others_had_room)


@pytest.mark.usefixtures("renewed_often")
async def test_a_tick_that_lasts_does_not_lose_the_lease(scripted: Scripted) -> None:
    await scripted.let_the_lease_expire()
    scripted.engine.hangs.add("inventory")
    [before] = await scripted.sql("SELECT term FROM dispatcher_lease")

    async def is_renewed() -> bool:
        return bool(await scripted.sql("SELECT true FROM dispatcher_lease WHERE renewed_at > :latest", latest=latest))

    async with at_work(scripted.make_dispatcher(tick=timedelta(milliseconds=1))):
        await eventually(lambda: is_held(scripted))
        for _ in range(3):
            [[latest]] = await scripted.sql("SELECT renewed_at FROM dispatcher_lease")
            await eventually(is_renewed)
        [now] = await scripted.sql("SELECT term FROM dispatcher_lease")
        assert now.term == before.term + 1


async def test_a_promise_that_nothing_will_change_is_believed_for_an_hour(scripted: Scripted) -> None:
    job_id = await scripted.start()
    await scripted.tick()
    scripted.engine.shows[job_id] = Observation(
        RunState.RUNNING, unchanged_until=scripted.clock() + timedelta(days=9999)
    )
    await scripted.tick()
    scripted.engine.ends(job_id)
    await scripted.tick(minutes=59)
    assert (await scripted.job(job_id)).status == "RUNNING"
    await scripted.tick(minutes=1)
    assert (await scripted.job(job_id)).status == "COMPLETED"


async def test_a_moment_without_a_zone_is_none(scripted: Scripted) -> None:
    strange = Observation(
        RunState.RUNNING,
        unchanged_until=datetime(2030, 1, 1),  # noqa: DTZ001 - that is what is wrong with it
        expected_start_at=datetime(2030, 1, 1),  # noqa: DTZ001
    )
    job_id = await healthy_run_ends_beside(scripted, strange)
    assert (await scripted.job(job_id)).expected_start_at is None
    scripted.engine.ends(job_id)
    await scripted.tick(seconds=1)
    assert (await scripted.job(job_id)).status == "COMPLETED"


async def is_held(scene: Scripted) -> bool:
    [row] = await scene.sql("SELECT expires_at > clock_timestamp() FROM dispatcher_lease")
    return bool(row[0])


def test_the_pause_after_failures_grows_to_a_quarter_of_a_minute_and_no_further() -> None:
    tick = timedelta(seconds=0.5)
    assert [pause_after(failures, tick) for failures in (0, 1, 2, 3)] == [0.5, 1, 2, 4]
    assert pause_after(5, tick) == pause_after(100_000, tick) == 15
