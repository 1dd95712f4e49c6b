"""Engines that answer late, or never: whatever does not need the answer goes on without it."""

import asyncio
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest

from app.dispatcher.errands import Errands
from app.dispatcher.loop import POLLS_AT_ONCE
from tests.dispatcher.conftest import Scene
from tests.dispatcher.scripted_engine import ScriptedEngine
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.anyio

Scripted = Scene[ScriptedEngine]
BRIEFLY = timedelta(milliseconds=50)


@pytest.mark.parametrize(
    ("hanging", "unaffected"),
    [
        ("adopt", {"launched"}),
        ("inventory", {"launched", "stopped", "settled"}),
        ("proved_gone", {"launched", "stopped", "settled"}),
        ("start", {"stopped", "settled"}),
        ("stop", {"launched", "settled"}),
        ("poll", {"launched", "stopped"}),
    ],
)
async def test_a_method_that_hangs_keeps_no_other_from_working(
    scripted: Scripted, hanging: str, unaffected: set[str]
) -> None:
    lost, ending, cancelled = [await scripted.start() for _ in range(3)]
    await scripted.tick()
    scripted.engine.forget(lost)
    await scripted.tick()
    await scripted.tick(minutes=10)
    assert (await scripted.job(lost)).reason == "LOST"
    scripted.engine.stopped.clear()
    scripted.engine.ends(ending)
    await scripted.cancel(cancelled)
    waiting = await scripted.start()
    scripted.engine.hangs.add(hanging)
    await scripted.let_the_lease_expire()
    scripted.dispatcher = scripted.make_dispatcher(patience=BRIEFLY)

    async def done() -> set[str]:
        return {
            what
            for what, is_done in [
                ("launched", (await scripted.job(waiting)).launched_at is not None),
                ("stopped", cancelled in [job_id for job_id, _ in scripted.engine.stopped]),
                ("settled", (await scripted.job(ending)).status == "COMPLETED"),
            ]
            if is_done
        }

    async def all_unaffected() -> bool:
        return await done() >= unaffected

    await scripted.tick_until(all_unaffected)
    assert await done() == unaffected
    scripted.engine.let_go()
    unaffected = {"launched", "stopped", "settled"}
    await scripted.tick_until(all_unaffected)


async def test_of_many_starts_the_one_that_hangs_holds_up_only_itself(scripted: Scripted) -> None:
    await scripted.take_over(patience=BRIEFLY)
    hanging, *others = [await scripted.start() for _ in range(8)]
    scripted.engine.hangs_on.add(hanging)
    for job_id in others:
        scripted.engine.ends(job_id)

    async def others_are_settled() -> bool:
        return all([(await scripted.job(job_id)).status == "COMPLETED" for job_id in others])

    await scripted.tick_until(others_are_settled)
    assert (await scripted.job(hanging)).launched_at is None
    assert hanging not in [spec.job_id for spec in scripted.engine.started]


async def test_a_start_is_not_repeated_while_it_hangs(scripted: Scripted) -> None:
    await scripted.take_over(patience=BRIEFLY)
    job_id = await scripted.start()
    scripted.engine.hangs.add("start")
    for _ in range(3):
        await scripted.tick(seconds=1)
    assert scripted.engine.asked_to_start == [job_id]
    scripted.engine.let_go()
    await scripted.tick_until(lambda: launched(scripted, job_id))


async def test_a_start_without_an_answer_in_time_is_asked_for_again(scripted: Scripted) -> None:
    await scripted.take_over(engine_timeout=BRIEFLY)
    job_id = await scripted.start()
    scripted.engine.hangs.add("start")
    await scripted.tick()
    scripted.engine.hangs.clear()
    await scripted.tick(seconds=30)
    assert await launched(scripted, job_id)


async def test_a_start_that_never_answers_is_given_up_after_two_minutes(scripted: Scripted) -> None:
    await scripted.take_over(engine_timeout=BRIEFLY)
    job_id = await scripted.start()
    scripted.engine.hangs.add("start")
    await scripted.tick()
    await scripted.tick(minutes=2)
    assert await scripted.verdict(job_id) == ("FAILED", "LOST", 0)


async def test_a_poll_without_an_answer_in_time_proves_nothing(scripted: Scripted) -> None:
    job_id = await scripted.start()
    await scripted.tick()
    await scripted.take_over(engine_timeout=BRIEFLY)
    scripted.engine.hangs.add("poll")
    for _ in range(3):
        await scripted.tick(minutes=10)
    scripted.engine.hangs.clear()
    scripted.engine.ends(job_id)
    await scripted.tick(seconds=5)
    assert await scripted.verdict(job_id) == ("COMPLETED", "EXITED", 600)


async def test_an_engine_whose_polls_hang_is_not_asked_more_and_more(scripted: Scripted) -> None:
    await scripted.take_over(patience=BRIEFLY)
    begun = 0

    async def count_polls() -> None:
        nonlocal begun
        begun += 1
        await scripted.engine._let_go.wait()

    scripted.engine.before_poll = count_polls
    for _ in range(POLLS_AT_ONCE + 2):
        job_id = await scripted.start()
        await scripted.tick_until(partial(launched, scripted, job_id))
        await scripted.tick(seconds=1)
    assert begun == POLLS_AT_ONCE
    scripted.engine.let_go()


async def test_a_dispatcher_that_ends_leaves_alone_what_hangs(scripted: Scripted) -> None:
    await scripted.take_over(patience=BRIEFLY)
    job_id = await scripted.start()
    scripted.engine.hangs.add("start")
    await scripted.tick()
    await scripted.dispatcher._resign()
    scripted.engine.let_go()
    scripted.dispatcher = scripted.make_dispatcher()
    await scripted.tick()
    assert [spec.job_id for spec in scripted.engine.started] == [job_id]


async def test_even_a_call_that_cannot_be_cancelled_ends_for_who_asked() -> None:
    is_over = asyncio.Event()

    async def deaf() -> None:
        while not is_over.is_set():
            try:
                await is_over.wait()
            except asyncio.CancelledError:
                continue

    errands = Errands(patience=timedelta(seconds=30), time_limit=BRIEFLY)
    errands.begin(("ask", uuid4()), partial(errands.ask, deaf))
    with pytest.raises(TimeoutError, match="has not answered within"):
        await errands.wait()
    is_over.set()


async def test_an_errand_that_is_broken_off_takes_its_call_along_and_its_failure() -> None:
    errands = Errands(patience=timedelta(seconds=30), time_limit=timedelta(seconds=30))
    has_called, has_ended = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        has_called.set()
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()

    async def fail() -> None:
        raise ConnectionError

    errands.begin(("fail", None), fail)
    errands.begin(("ask", None), partial(errands.ask, call))
    await has_called.wait()

    await errands.abandon()

    async with asyncio.timeout(HANG_SECONDS):
        await has_ended.wait()
    await errands.wait()


async def launched(scene: Scripted, job_id: int) -> bool:
    return (await scene.job(job_id)).launched_at is not None
