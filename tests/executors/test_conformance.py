"""What every engine must do. Nothing here knows which one it is."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from signal import SIGKILL, SIGSEGV, SIGTERM
from uuid import UUID, uuid4

import pytest

from app.domain.execution import EndReason, JobSpec, LaunchError, Observation, RunState
from tests.executors.engines import EngineUnderTest
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.anyio

FREE_SECONDS = timedelta(seconds=5)
"""What a run may hold its GPUs for without paying."""
LONG = timedelta(minutes=5)
GRACE = timedelta(seconds=1)
WHOLE = 2**20


async def test_every_gpu_is_offered_once_and_always_the_same(engine: EngineUnderTest) -> None:
    gpus = await engine.executor.inventory()

    assert gpus
    assert len({(gpu.slot.node, gpu.slot.index) for gpu in gpus}) == len({gpu.slot.uuid for gpu in gpus}) == len(gpus)
    assert all(gpu.memory_bytes >= 0 and gpu.gpu_type for gpu in gpus)
    engine.replace_executor()
    assert list(await engine.executor.inventory()) == list(gpus)


async def test_a_run_starts_and_runs_and_ends_well(engine: EngineUnderTest) -> None:
    spec = engine.spec(runs_for=timedelta(seconds=2))

    running = await start(engine, spec)
    ended = await end_of(engine, spec)

    assert (running.reason, running.exit_code, running.signal) == (None, None, None)
    assert running.started_at is not None
    assert running.started_at >= spec.launched_at
    assert (ended.reason, ended.exit_code, ended.signal) == (EndReason.EXITED, 0, None)
    assert ended.started_at == running.started_at
    assert timedelta(seconds=2) <= ended.elapsed <= timedelta(seconds=2) + engine.overrun
    assert await end_of(engine, spec) == ended


async def test_an_exit_code_is_told(engine: EngineUnderTest) -> None:
    spec = engine.spec(exit_code=7)
    await engine.executor.start(spec)

    ended = await end_of(engine, spec)

    assert (ended.reason, ended.exit_code, ended.signal) == (EndReason.NONZERO_EXIT, 7, None)


async def test_a_signal_is_told(engine: EngineUnderTest) -> None:
    spec = engine.spec(signal=SIGSEGV)
    await engine.executor.start(spec)

    ended = await end_of(engine, spec)

    assert (ended.reason, ended.exit_code, ended.signal) == (EndReason.SIGNALLED, None, SIGSEGV)


async def test_runs_are_stopped_at_their_time_limit(engine: EngineUnderTest) -> None:
    """And hold their GPUs for no longer than the engine has said, since that is what was reserved for them."""
    limit = engine.shortest_limit
    keeping = await engine.executor.time_keeping()
    longest = timedelta(seconds=keeping.longest_hold_seconds(int(limit.total_seconds())))
    specs = [engine.spec(runs_for=LONG, time_limit=limit, ignores_term=ignores_term) for ignores_term in (False, True)]
    for spec in specs:
        await engine.executor.start(spec)

    for spec in specs:
        ended = await end_of(engine, spec)

        assert ended.reason is EndReason.TIME_LIMIT
        assert limit <= ended.elapsed <= longest + FREE_SECONDS


async def test_a_second_start_changes_nothing(engine: EngineUnderTest) -> None:
    spec = engine.spec(lines=20)

    await asyncio.gather(*(engine.executor.start(spec) for _ in range(8)))
    first = await start(engine, spec)
    second = await start(engine, spec)
    ended = await end_of(engine, spec)
    await engine.executor.start(spec)

    assert first.started_at == second.started_at == ended.started_at
    assert await end_of(engine, spec) == ended
    assert engine.beginnings(await whole_log(engine, spec)) == 1


async def test_an_unknown_run_is_absent_and_can_be_stopped_without_harm(engine: EngineUnderTest) -> None:
    known, unknown = engine.spec(runs_for=LONG), uuid4()
    await start(engine, known)

    await engine.executor.stop(unknown, GRACE)

    assert set(await engine.executor.poll([unknown, known.run_id])) == {known.run_id}
    assert await engine.executor.poll([]) == {}


async def test_a_cancelled_run_ends_by_sigterm(engine: EngineUnderTest) -> None:
    spec, other = engine.spec(runs_for=LONG), engine.spec(runs_for=LONG)
    running = await start(engine, spec)
    await start(engine, other)

    await engine.executor.stop(spec.run_id, GRACE)
    await engine.executor.stop(spec.run_id, GRACE)
    ended = await end_of(engine, spec)
    await engine.executor.stop(spec.run_id, GRACE)

    assert (ended.reason, ended.signal) == (EndReason.SIGNALLED, SIGTERM)
    assert running.elapsed <= ended.elapsed < LONG
    assert await end_of(engine, spec) == ended
    assert (await observe(engine, other)).state is RunState.RUNNING


async def test_a_cancelled_run_is_not_revived(engine: EngineUnderTest) -> None:
    spec = engine.spec(runs_for=LONG)
    await start(engine, spec)
    await engine.executor.stop(spec.run_id, GRACE)
    ended = await end_of(engine, spec)

    await engine.executor.start(spec)
    assert await observe(engine, spec) == ended
    await engine.executor.adopt([spec])
    assert await observe(engine, spec) == ended


async def test_a_cancelled_run_that_ignores_sigterm_is_killed_after_its_grace(engine: EngineUnderTest) -> None:
    spec = engine.spec(runs_for=LONG, ignores_term=True)
    await start(engine, spec)

    await engine.executor.stop(spec.run_id, GRACE)
    await engine.executor.start(spec)
    await engine.executor.adopt([spec])
    in_grace = await observe(engine, spec)
    ended = await end_of(engine, spec)

    assert in_grace.state is RunState.RUNNING
    assert (ended.reason, ended.signal) == (EndReason.SIGNALLED, SIGKILL)
    assert ended.elapsed >= in_grace.elapsed + GRACE / 2


async def test_a_run_that_has_ended_is_not_changed_by_a_stop(engine: EngineUnderTest) -> None:
    spec = engine.spec(exit_code=3)
    await engine.executor.start(spec)
    ended = await end_of(engine, spec)

    await engine.executor.stop(spec.run_id, GRACE)

    assert await end_of(engine, spec) == ended


async def test_a_log_keeps_the_order_of_its_lines(engine: EngineUnderTest) -> None:
    spec = engine.spec(lines=200)
    await engine.executor.start(spec)
    await end_of(engine, spec)

    log = await whole_log(engine, spec)

    assert engine.line_numbers(log) == list(range(1, 201))


async def test_a_log_is_followed_while_it_grows(engine: EngineUnderTest) -> None:
    spec = engine.spec(lines=60)
    await start(engine, spec)

    followed, complete, pieces = b"", False, 0
    while not complete:
        chunk = await engine.executor.read_log(spec, ended_at=None, offset=len(followed), limit=997)
        assert chunk.offset == len(followed)
        assert len(chunk.data) <= 997
        assert chunk.next_offset <= chunk.size
        followed += chunk.data
        pieces += bool(chunk.data)
        complete = chunk.complete and chunk.next_offset == chunk.size
        if not chunk.data:
            await engine.let_time_pass()

    assert pieces > 3
    assert followed == await whole_log(engine, spec)


async def test_a_log_resumes_at_any_byte(engine: EngineUnderTest) -> None:
    spec = engine.spec(lines=30)
    await engine.executor.start(spec)
    await end_of(engine, spec)
    log = await whole_log(engine, spec)

    for size in (1, 7, 64, 1000):
        chunks = [
            await engine.executor.read_log(spec, ended_at=None, offset=offset, limit=size)
            for offset in range(0, len(log), size)
        ]
        assert b"".join(chunk.data for chunk in chunks) == log


async def test_beyond_its_end_a_log_has_no_bytes(engine: EngineUnderTest) -> None:
    spec = engine.spec()
    await engine.executor.start(spec)
    await end_of(engine, spec)
    size = len(await whole_log(engine, spec))

    for offset in (size, size + 1, size + 10**12):
        chunk = await engine.executor.read_log(spec, ended_at=None, offset=offset, limit=100)
        assert (chunk.offset, chunk.data, chunk.size, chunk.complete) == (offset, b"", size, True)


async def test_a_log_is_complete_when_the_run_has_ended_and_not_before(engine: EngineUnderTest) -> None:
    spec = engine.spec()
    await start(engine, spec)

    before = await engine.executor.read_log(spec, ended_at=None, offset=0, limit=1)
    await end_of(engine, spec)
    after = await engine.executor.read_log(spec, ended_at=None, offset=0, limit=1)

    assert (before.complete, after.complete) == (False, True)


async def test_another_process_reads_a_log_that_it_did_not_cause(engine: EngineUnderTest) -> None:
    spec = engine.spec(lines=30)
    await engine.executor.start(spec)
    await end_of(engine, spec)
    log = await whole_log(engine, spec)

    engine.replace_executor()

    assert log
    assert await whole_log(engine, spec) == log


async def test_no_secret_of_a_job_is_in_its_log_or_its_name(engine: EngineUnderTest) -> None:
    spec = engine.spec()
    await engine.executor.start(spec)
    ended = await end_of(engine, spec)

    assert spec.environment
    for secret in spec.environment.values():
        assert secret.encode() not in await whole_log(engine, spec)
        assert secret not in repr(spec) + repr(ended)


async def test_a_running_run_is_adopted_and_comes_to_its_end(engine: EngineUnderTest) -> None:
    spec = engine.spec(exit_code=5, lines=20)
    before = await start(engine, spec)

    engine.replace_executor()
    await engine.executor.adopt([spec])
    await engine.executor.adopt([spec])
    adopted = await observe(engine, spec)
    ended = await end_of(engine, spec)

    assert (adopted.state, adopted.started_at) == (before.state, before.started_at)
    assert adopted.elapsed >= before.elapsed
    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 5)
    assert engine.beginnings(await whole_log(engine, spec)) == 1


async def test_an_end_that_nobody_saw_is_told_after_adoption(engine: EngineUnderTest) -> None:
    unseen, seen = engine.spec(exit_code=5), engine.spec(exit_code=5)
    await engine.executor.start(unseen)
    await engine.executor.start(seen)
    told = await end_of(engine, seen)

    engine.replace_executor()
    await engine.executor.adopt([unseen, seen])

    assert await observe(engine, seen) == told
    assert (await observe(engine, unseen)).reason is EndReason.NONZERO_EXIT


async def test_an_adopted_run_is_not_started_again_and_can_be_stopped(engine: EngineUnderTest) -> None:
    spec = engine.spec(runs_for=LONG, lines=100)
    before = await start(engine, spec)

    engine.replace_executor()
    await engine.executor.adopt([spec])
    again = await start(engine, spec)
    await engine.executor.stop(spec.run_id, GRACE)
    ended = await end_of(engine, spec)

    assert again.started_at == before.started_at
    assert (ended.reason, ended.signal) == (EndReason.SIGNALLED, SIGTERM)
    assert engine.beginnings(await whole_log(engine, spec)) == 1


async def test_a_refused_launch_never_runs(engine: EngineUnderTest) -> None:
    spec = engine.refused_spec()
    if spec is None:
        pytest.skip("this engine refuses nothing at launch")

    for _ in range(2):
        with pytest.raises(LaunchError, match=r"^[A-Z].+\.$"):
            await engine.executor.start(spec)

    assert await engine.executor.poll([spec.run_id]) == {}


async def test_utilisation_is_told_of_the_gpus_of_a_run_in_the_order_of_time(engine: EngineUnderTest) -> None:
    spec = engine.spec()
    await engine.executor.start(spec)
    await end_of(engine, spec)

    samples = await engine.executor.read_utilisation(spec, ended_at=None, limit=20)

    assert len(samples) <= 20
    assert [sample.at for sample in samples] == sorted(sample.at for sample in samples)
    assert {sample.slot for sample in samples} <= set(spec.slots)
    assert all(sample.at >= spec.launched_at for sample in samples)
    assert all(0 <= sample.utilisation <= 1 and sample.memory_used_bytes >= 0 for sample in samples)


async def test_runs_with_equal_specifications_are_different_runs(engine: EngineUnderTest) -> None:
    first = engine.spec(runs_for=LONG)
    second = replace(first, run_id=uuid4())
    await start(engine, first)
    await start(engine, second)

    await engine.executor.stop(first.run_id, GRACE)
    await end_of(engine, first)

    assert (await observe(engine, second)).state is RunState.RUNNING


async def start(engine: EngineUnderTest, spec: JobSpec) -> Observation:
    """Start a run and wait until its command has begun."""
    await engine.executor.start(spec)
    running = await wait_until(engine, spec.run_id, lambda seen: seen.state is not RunState.STARTING)
    deadline = time.monotonic() + HANG_SECONDS
    while not engine.beginnings(log := await whole_log(engine, spec)):
        assert time.monotonic() < deadline, f"the command does not begin; its log: {log!r}"
        await engine.let_time_pass()
    return running


async def end_of(engine: EngineUnderTest, spec: JobSpec) -> Observation:
    return await wait_until(engine, spec.run_id, lambda seen: seen.state is RunState.ENDED)


async def wait_until(engine: EngineUnderTest, run_id: UUID, condition: Callable[[Observation], bool]) -> Observation:
    deadline = time.monotonic() + HANG_SECONDS
    while (seen := (await engine.executor.poll([run_id])).get(run_id)) is None or not condition(seen):
        assert time.monotonic() < deadline, f"the run does not come so far, but to {seen}"
        await engine.let_time_pass()
    return seen


async def observe(engine: EngineUnderTest, spec: JobSpec) -> Observation:
    return (await engine.executor.poll([spec.run_id]))[spec.run_id]


async def whole_log(engine: EngineUnderTest, spec: JobSpec) -> bytes:
    return (await engine.executor.read_log(spec, ended_at=None, offset=0, limit=WHOLE)).data
