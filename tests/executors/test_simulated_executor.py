from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.execution import EndReason, JobSpec, LaunchError, Observation, RunState
from app.executors.simulated.executor import END_KEPT_FOR, SimulatedExecutor
from app.executors.simulated.timeline import Timeline
from tests.executors.engines import FLEET, LAUNCHED_AT, MovableClock, make_simulated_executor, make_spec

pytestmark = pytest.mark.anyio

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
SPEEDUPS = st.floats(0.01, 1_000_000)
SPECS = st.builds(
    lambda run_id, command, limit: make_spec(command, run_id=run_id, time_limit=limit),
    st.uuids(),
    st.sampled_from(
        [
            "python train.py",
            "sleep 20",
            "#SIM fault=slow-start",
            "#SIM fault=slow-start fault=ignore-term",
            "#SIM fault=hang",
            "#SIM fault=lost",
            "#SIM exit=3",
            "#SIM duration=0s",
        ]
    ),
    st.timedeltas(timedelta(milliseconds=1), timedelta(hours=720)),
)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
def executor(clock: MovableClock) -> SimulatedExecutor:
    return make_simulated_executor(clock)


async def observe(executor: SimulatedExecutor, spec: JobSpec) -> Observation | None:
    return (await executor.poll([spec.run_id])).get(spec.run_id)


@given(SPECS, SPEEDUPS, st.lists(st.floats(0, 1.5), min_size=2))
@settings(deadline=None)
async def test_elapsed_only_grows_and_never_exceeds_the_limit(
    spec: JobSpec, speedup: float, shares: list[float]
) -> None:
    clock = MovableClock()
    executor = make_simulated_executor(clock, speedup=speedup, failure_rate=0.5)
    await executor.start(spec)

    elapsed = []
    for share in sorted(shares):
        clock.now = LAUNCHED_AT + spec.time_limit / speedup * share
        if (seen := await observe(executor, spec)) is not None:
            elapsed.append(seen.elapsed)

    assert elapsed == sorted(elapsed)
    assert all(timedelta(0) <= span <= max(spec.time_limit, timedelta(milliseconds=1)) for span in elapsed)


@given(SPECS, SPEEDUPS, st.floats(0, 1), st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
async def test_nothing_but_time_and_progress_moves_before_the_next_poll_is_due(
    spec: JobSpec, speedup: float, moment: float, share: float
) -> None:
    clock = MovableClock(LAUNCHED_AT + spec.time_limit / speedup * moment)
    executor = make_simulated_executor(clock, speedup=speedup, failure_rate=0.5)
    await executor.start(spec)

    first = await observe(executor, spec)
    due_at = clock.now + HOUR if first is None else first.unchanged_until or clock.now + HOUR
    assert due_at > clock.now
    clock.now = min(clock.now + (due_at - clock.now) * share, due_at - timedelta(microseconds=1))
    second = await observe(executor, spec)

    assert without_time(second) == without_time(first)


def without_time(seen: Observation | None) -> Observation | None:
    return seen and replace(seen, elapsed=timedelta(0), progress=None, unchanged_until=None)


@given(
    SPECS,
    SPEEDUPS,
    st.lists(st.tuples(st.floats(0, 1.2), st.floats(-0.1, 0.1)), max_size=6),
    st.floats(0, 1.2),
    st.floats(-0.1, 0.1),
    st.booleans(),
)
@example(make_spec("python train.py #SIM duration=100%"), 360.0, [(0.5, 0.0)], 0.5, -0.1, False)
@settings(deadline=None)
async def test_what_was_shown_of_a_log_is_never_taken_back(
    spec: JobSpec,
    speedup: float,
    polls: list[tuple[float, float]],
    stopped: float,
    skew: float,
    restarts: bool,
) -> None:
    """Whenever it is stopped, and whatever the clocks of two dispatchers and of the reader say."""
    limit = spec.time_limit / speedup
    clock, clock_of_reader = MovableClock(), MovableClock()
    executor = make_simulated_executor(clock, speedup=speedup, failure_rate=0.5)
    reader = make_simulated_executor(clock_of_reader, speedup=speedup, failure_rate=0.5)
    await executor.adopt([spec])

    async def last_kilobyte(size: int, progress: float, ended_at: datetime | None = None) -> bytes:
        """Of the first `size` bytes: what stands before it follows from the same formula."""
        begin = max(0, size - 1024)
        return (
            await reader.read_log(spec, ended_at=ended_at, progress=progress, offset=begin, limit=size - begin)
        ).data

    recorded, shown = 0.0, []
    for moment, ahead in sorted(poll for poll in polls if poll[0] <= stopped):
        clock.now = LAUNCHED_AT + limit * moment
        clock_of_reader.now = clock.now + limit * ahead
        seen = await observe(executor, spec)
        if seen is not None and seen.state is not RunState.ENDED:
            recorded = max(recorded, seen.progress or 0.0)
        size = (await reader.read_log(spec, ended_at=None, progress=recorded, offset=0, limit=0)).size
        shown.append((size, await last_kilobyte(size, recorded)))
    clock.now = LAUNCHED_AT + limit * (stopped + skew)
    if restarts:
        executor = make_simulated_executor(clock, speedup=speedup, failure_rate=0.5)
        await executor.adopt([spec])
    await executor.stop(spec.run_id, timedelta(seconds=30))
    clock.advance(timedelta(seconds=30))
    end = await observe(executor, spec)
    ended_at = clock.now if end is None else end.ended_at
    whole = await reader.read_log(spec, ended_at=ended_at, progress=recorded, offset=0, limit=0)

    assert whole.complete
    assert all(size <= whole.size for size, _ in shown)
    assert [end for _, end in shown] == [await last_kilobyte(size, recorded, ended_at) for size, _ in shown]


@given(SPECS, SPEEDUPS, st.floats(0, 1.5))
@settings(deadline=None)
async def test_a_restart_changes_nothing(spec: JobSpec, speedup: float, moment: float) -> None:
    clock = MovableClock()
    old = make_simulated_executor(clock, speedup=speedup, failure_rate=0.5)
    await old.start(spec)
    clock.now = LAUNCHED_AT + spec.time_limit / speedup * moment
    new = make_simulated_executor(clock, speedup=speedup, failure_rate=0.5)
    await new.adopt([spec])

    assert await old.poll([spec.run_id]) == await new.poll([spec.run_id])
    assert await old.read_utilisation(spec, ended_at=None, limit=50) == await new.read_utilisation(
        spec, ended_at=None, limit=50
    )


@given(st.timedeltas(timedelta(0), timedelta(hours=720)), SPEEDUPS)
def test_a_moment_is_the_one_at_which_its_time_has_passed(elapsed: timedelta, speedup: float) -> None:
    timeline = Timeline(LAUNCHED_AT, speedup)

    assert timeline.elapsed(timeline.moment(elapsed), at_most=elapsed) == elapsed
    assert timeline.elapsed(datetime.max.replace(tzinfo=LAUNCHED_AT.tzinfo), at_most=elapsed) == elapsed
    assert timeline.elapsed(LAUNCHED_AT - HOUR, at_most=elapsed) == timedelta(0)


async def test_an_hour_of_a_job_takes_ten_seconds(clock: MovableClock, executor: SimulatedExecutor) -> None:
    spec = make_spec("#SIM duration=1h", time_limit=2 * HOUR)
    await executor.start(spec)

    clock.advance(9 * SECOND)
    running = await observe(executor, spec)
    clock.advance(SECOND)
    ended = await observe(executor, spec)

    assert running is not None
    assert ended is not None
    assert (running.state, running.elapsed, running.progress) == (RunState.RUNNING, HOUR * 0.9, 0.9)
    assert running.unchanged_until is not None
    assert running.unchanged_until <= LAUNCHED_AT + 10 * SECOND
    assert (ended.state, ended.elapsed, ended.progress, ended.reason) == (RunState.ENDED, HOUR, 1.0, EndReason.EXITED)


async def test_a_dispatcher_that_follows_the_promises_polls_seldom_and_meets_the_end(
    clock: MovableClock, executor: SimulatedExecutor
) -> None:
    spec = make_spec("#SIM duration=10h", time_limit=10 * HOUR)
    await executor.start(spec)

    polls = 1
    while (seen := await observe(executor, spec)) is not None and seen.unchanged_until is not None:
        clock.now = seen.unchanged_until
        polls += 1

    assert seen is not None
    assert seen.state is RunState.ENDED
    assert clock.now == LAUNCHED_AT + 100 * SECOND
    assert polls <= 53


async def test_ten_thousand_running_runs_ask_for_200_polls_a_second(
    clock: MovableClock, executor: SimulatedExecutor
) -> None:
    specs = [make_spec("#SIM duration=700h", run_id=UUID(int=n), time_limit=720 * HOUR) for n in range(10_000)]
    await executor.adopt(specs)

    seen = await executor.poll([spec.run_id for spec in specs])
    due = sorted(run.unchanged_until - clock.now for run in seen.values() if run.unchanged_until)

    assert due[-1] <= 50 * SECOND
    assert all(150 < sum(SECOND * n <= wait < SECOND * (n + 1) for wait in due) < 260 for n in range(50))


async def test_a_slow_start_holds_the_gpus_before_the_run_starts(
    clock: MovableClock, executor: SimulatedExecutor
) -> None:
    spec = make_spec("#SIM fault=slow-start duration=30m")
    await executor.start(spec)

    clock.advance(SECOND / 5)
    starting = await observe(executor, spec)
    assert starting is not None
    assert (starting.state, starting.started_at, starting.progress) == (RunState.STARTING, None, None)
    assert starting.elapsed == 72 * SECOND
    assert starting.unchanged_until is not None

    clock.now = starting.unchanged_until
    running = await observe(executor, spec)
    assert running is not None
    assert (running.state, running.started_at) == (RunState.RUNNING, starting.unchanged_until)


async def test_a_run_stopped_while_it_starts_never_started(clock: MovableClock, executor: SimulatedExecutor) -> None:
    spec = make_spec("#SIM fault=slow-start")
    await executor.start(spec)

    clock.advance(SECOND / 10)
    await executor.stop(spec.run_id, SECOND)

    assert await observe(executor, spec) == Observation(
        RunState.ENDED,
        elapsed=SECOND * 36,
        progress=0.0,
        reason=EndReason.SIGNALLED,
        ended_at=clock.now,
        signal=15,
    )


async def test_a_clock_behind_the_launch_shows_a_run_that_has_just_started(
    clock: MovableClock, executor: SimulatedExecutor
) -> None:
    spec = make_spec(launched_at=clock.now + SECOND)
    await executor.start(spec)

    seen = await observe(executor, spec)

    assert seen is not None
    assert (seen.state, seen.elapsed, seen.progress) == (RunState.RUNNING, timedelta(0), 0.0)


async def test_a_lost_run_is_no_longer_known(clock: MovableClock, executor: SimulatedExecutor) -> None:
    spec = make_spec("#SIM fault=lost duration=36m")
    await executor.start(spec)
    assert await observe(executor, spec) is not None

    clock.advance(6 * SECOND)

    assert await observe(executor, spec) is None
    log = await executor.read_log(spec, ended_at=None, offset=0, limit=2**20)
    assert not log.complete
    assert (await executor.read_log(spec, ended_at=clock.now, offset=log.size, limit=1)).complete


@pytest.mark.parametrize("command", ["#SIM fault=launch-failure", "#SIM fault=launch-failure duration=200%"])
async def test_a_launch_failure_leaves_nothing_behind(
    clock: MovableClock, executor: SimulatedExecutor, command: str
) -> None:
    spec = make_spec(command)

    with pytest.raises(LaunchError):
        await executor.start(spec)
    await executor.adopt([spec])

    assert await observe(executor, spec) is None
    log = await executor.read_log(spec, ended_at=clock.now, offset=0, limit=100)
    assert (log.data, log.size, log.complete) == (b"", 0, True)
    assert await executor.read_utilisation(spec, ended_at=clock.now, limit=100) == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (make_spec(slots=[FLEET[0].slot]), "needs 2 GPUs and was given 1"),
        (make_spec(slots=[FLEET[0].slot, replace(FLEET[1].slot, index=9)]), "has no GPU GPU-.+ at node1:9"),
        (make_spec(slots=[FLEET[0].slot, replace(FLEET[1].slot, uuid="GPU-x")]), "has no GPU GPU-x at node1:1"),
    ],
)
async def test_a_run_on_gpus_that_do_not_exist_is_refused(
    executor: SimulatedExecutor, spec: JobSpec, problem: str
) -> None:
    with pytest.raises(LaunchError, match=problem):
        await executor.start(spec)


@pytest.mark.parametrize(("speedup", "waits"), [(360.0, SECOND / 36), (1.0, 10 * SECOND), (0.5, 10 * SECOND)])
async def test_the_grace_of_a_stop_is_simulated_but_never_longer_than_asked(
    clock: MovableClock, speedup: float, waits: timedelta
) -> None:
    executor = make_simulated_executor(clock, speedup=speedup)
    spec = make_spec("#SIM fault=ignore-term duration=1h")
    await executor.start(spec)
    clock.advance(SECOND)

    await executor.stop(spec.run_id, 10 * SECOND)
    seen = await observe(executor, spec)

    assert seen is not None
    assert seen.unchanged_until is not None
    clock.now += waits - timedelta(microseconds=2)
    assert (await executor.poll([spec.run_id]))[spec.run_id].state is RunState.RUNNING
    clock.now += timedelta(microseconds=4)
    assert (await executor.poll([spec.run_id]))[spec.run_id].signal == 9


async def test_a_second_stop_can_only_bring_the_end_forward(clock: MovableClock) -> None:
    executor = make_simulated_executor(clock, speedup=1)
    spec = make_spec("#SIM fault=ignore-term duration=1h")
    await executor.start(spec)

    await executor.stop(spec.run_id, 10 * SECOND)
    await executor.stop(spec.run_id, 60 * SECOND)
    await executor.stop(spec.run_id, 5 * SECOND)
    clock.advance(5 * SECOND)

    seen = await observe(executor, spec)
    assert seen is not None
    assert (seen.state, seen.elapsed) == (RunState.ENDED, 5 * SECOND)


async def test_a_run_that_would_end_within_its_grace_ends_by_itself(clock: MovableClock) -> None:
    executor = make_simulated_executor(clock, speedup=1)
    spec = make_spec("#SIM fault=ignore-term duration=3s")
    await executor.start(spec)

    await executor.stop(spec.run_id, 10 * SECOND)
    clock.advance(HOUR)

    seen = await observe(executor, spec)
    assert seen is not None
    assert (seen.reason, seen.exit_code, seen.elapsed) == (EndReason.EXITED, 0, 3 * SECOND)


async def test_an_end_is_kept_as_long_as_somebody_asks_for_it(clock: MovableClock, executor: SimulatedExecutor) -> None:
    specs = [make_spec(f"#SIM exit=3 duration={minutes}m") for minutes in (10, 20, 30)]
    for spec in specs:
        await executor.start(spec)
    clock.advance(HOUR)

    for spec in specs:
        for _ in range(3):
            assert await observe(executor, spec) is not None
            clock.advance(END_KEPT_FOR - SECOND)
        assert set(await executor.poll([spec.run_id for spec in specs])) == {spec.run_id}
        await executor.adopt(specs)


async def test_adoption_brings_a_forgotten_end_back(clock: MovableClock, executor: SimulatedExecutor) -> None:
    spec = make_spec("#SIM exit=3")
    await executor.start(spec)
    clock.advance(HOUR)
    told = await observe(executor, spec)
    clock.advance(END_KEPT_FOR)
    await executor.poll([])
    assert await observe(executor, spec) is None

    await executor.adopt([spec])

    assert await observe(executor, spec) == told


async def test_utilisation_shows_a_run_that_works(clock: MovableClock, executor: SimulatedExecutor) -> None:
    spec = make_spec("#SIM duration=1h")
    clock.advance(5 * SECOND)

    samples = await executor.read_utilisation(spec, ended_at=None, limit=1000)

    assert len(samples) == 2 * 181
    assert [sample.slot for sample in samples[:4]] == [*spec.slots, *spec.slots]
    assert (samples[0].at, samples[0].utilisation) == (LAUNCHED_AT, 0.0)
    assert samples[-1].at == clock.now
    plateau = [sample.utilisation for sample in samples[100:]]
    assert sorted(plateau)[len(plateau) // 2] > 0.75
    assert min(plateau) < 0.4
    assert all(
        0.5 * FLEET[0].memory_bytes < sample.memory_used_bytes < FLEET[0].memory_bytes for sample in samples[20:]
    )
    assert all(sample.power_watts is not None and 40 < sample.power_watts < 400 for sample in samples)
    assert all(sample.temperature_celsius is not None and 30 < sample.temperature_celsius < 80 for sample in samples)


async def test_a_hanging_run_leaves_its_gpus_idle_with_full_memory(
    clock: MovableClock, executor: SimulatedExecutor
) -> None:
    spec = make_spec("#SIM fault=hang duration=10m")
    clock.advance(5 * SECOND)

    last = (await executor.read_utilisation(spec, ended_at=None, limit=1000))[-1]

    assert last.utilisation == 0
    assert last.memory_used_bytes > FLEET[0].memory_bytes / 2


async def test_a_command_that_sleeps_uses_no_gpu(clock: MovableClock, executor: SimulatedExecutor) -> None:
    samples = await executor.read_utilisation(make_spec("sleep 600"), ended_at=clock.now + HOUR, limit=1000)

    assert {sample.utilisation for sample in samples} == {0.0}


@given(st.uuids(), st.floats(0, 1), st.integers(0, 200), st.integers(1, 8))
@settings(deadline=None)
async def test_utilisation_is_thinned_evenly_and_fairly(run_id: UUID, share: float, limit: int, num_gpus: int) -> None:
    clock = MovableClock(LAUNCHED_AT + 10 * SECOND * share)
    executor = make_simulated_executor(clock)
    spec = make_spec("#SIM duration=1h", run_id=run_id, num_gpus=num_gpus)

    samples = await executor.read_utilisation(spec, ended_at=None, limit=limit)
    everything = await executor.read_utilisation(spec, ended_at=None, limit=10**6)

    assert len(samples) <= limit
    assert set(samples) <= set(everything)
    if limit >= num_gpus:
        moments = sorted({sample.at for sample in samples})
        assert len(samples) == len(moments) * num_gpus
        assert len(samples) > min(limit, len(everything)) / 2 - num_gpus
        gaps = {later - earlier for earlier, later in pairwise(moments)}
        assert max(gaps, default=timedelta(0)) - min(gaps, default=timedelta(0)) <= timedelta(microseconds=1)


async def test_an_unknown_run_is_absent(executor: SimulatedExecutor) -> None:
    assert await executor.poll([uuid4()]) == {}
