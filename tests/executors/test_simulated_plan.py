from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.execution import EndReason
from app.executors.simulated.plan import plan_run
from tests.executors.engines import make_spec

HOUR = timedelta(hours=1)
TIME_LIMITS = st.timedeltas(timedelta(milliseconds=1), timedelta(hours=720))
COMMANDS = st.sampled_from(
    [
        "python train.py",
        "sleep 20",
        "#SIM fault=hang",
        "#SIM fault=hang duration=200%",
        "#SIM fault=slow-start duration=95%",
        "#SIM fault=launch-failure duration=200%",
        "#SIM fault=node-loss",
        "#SIM fault=lost duration=1s",
        "#SIM duration=0s",
        "#SIM duration=999999h lines=1000000",
        "#SIM exit=3 duration=100%",
    ]
)


@given(st.uuids(), TIME_LIMITS, COMMANDS, st.floats(0, 1))
def test_a_plan_is_always_the_same_and_keeps_the_time_limit(
    run_id: UUID, limit: timedelta, command: str, failure_rate: float
) -> None:
    plan = plan_run(make_spec(command, run_id=run_id, time_limit=limit), failure_rate)

    assert plan == plan_run(make_spec(command, run_id=run_id, time_limit=limit), failure_rate)
    if plan.end.reason is not EndReason.LAUNCH_FAILURE:
        assert timedelta(0) <= plan.starts_after <= plan.ends_after <= max(limit, timedelta(milliseconds=1))
    assert (plan.end.reason is EndReason.TIME_LIMIT) <= (plan.ends_after == limit)
    assert plan.work > timedelta(0)


@given(st.uuids(), COMMANDS, st.lists(st.floats(0, 1), min_size=2))
def test_progress_only_grows_and_is_whole_only_when_all_work_is_done(
    run_id: UUID, command: str, shares: list[float]
) -> None:
    plan = plan_run(make_spec(command, run_id=run_id), failure_rate=0.5)
    progress = [plan.progress(plan.ends_after * share) for share in sorted(shares)]

    assert progress == sorted(progress)
    assert all(0 <= part <= 1 for part in progress)
    assert plan.progress(plan.ends_after) == 1 or plan.end.reason is not EndReason.EXITED


def test_without_a_failure_rate_every_run_ends_well_within_its_limit() -> None:
    plans = [plan_run(make_spec(run_id=UUID(int=number)), failure_rate=0) for number in range(500)]

    assert {plan.end.reason for plan in plans} == {EndReason.EXITED}
    assert all(0.3 * HOUR <= plan.ends_after < HOUR for plan in plans)
    assert len({plan.ends_after for plan in plans}) > 490


def test_the_failure_rate_is_the_share_of_runs_that_do_not_end_well() -> None:
    plans = [plan_run(make_spec(run_id=UUID(int=number)), failure_rate=0.25) for number in range(4000)]
    reasons = Counter(plan.end.reason for plan in plans)

    assert 0.22 < 1 - reasons[EndReason.EXITED] / 4000 < 0.28
    assert set(reasons) == {
        EndReason.EXITED,
        EndReason.NONZERO_EXIT,
        EndReason.TIME_LIMIT,
        EndReason.OUT_OF_MEMORY,
        EndReason.SIGNALLED,
    }
    assert reasons.most_common(2)[1][0] is EndReason.NONZERO_EXIT


def test_a_command_that_says_how_it_behaves_is_not_subject_to_chance() -> None:
    for command in ("sleep 5", "python train.py #SIM duration=10%", "python train.py #SIM"):
        plans = [plan_run(make_spec(command, run_id=UUID(int=number)), failure_rate=1) for number in range(50)]
        assert {plan.end.reason for plan in plans} == {EndReason.EXITED}


@pytest.mark.parametrize(
    ("directive", "reason", "exit_code", "signal", "ends_after"),
    [
        ("exit=7 duration=50%", EndReason.NONZERO_EXIT, 7, None, HOUR / 2),
        ("exit=0 duration=100%", EndReason.EXITED, 0, None, HOUR),
        ("duration=101%", EndReason.TIME_LIMIT, None, 15, HOUR),
        ("duration=2h fault=ignore-term", EndReason.TIME_LIMIT, None, 9, HOUR),
        ("signal=11 duration=5m", EndReason.SIGNALLED, None, 11, HOUR / 12),
        ("fault=oom duration=5m", EndReason.OUT_OF_MEMORY, None, 9, HOUR / 12),
        ("fault=node-loss duration=5m", EndReason.NODE_FAILURE, None, None, HOUR / 12),
        ("fault=lost duration=5m", EndReason.LOST, None, None, HOUR / 12),
        ("fault=hang duration=5m", EndReason.TIME_LIMIT, None, 15, HOUR),
        ("fault=slow-start duration=5m", EndReason.EXITED, 0, None, HOUR / 12 + timedelta(minutes=2)),
    ],
)
def test_a_run_ends_as_its_command_asks(
    directive: str, reason: EndReason, exit_code: int | None, signal: int | None, ends_after: timedelta
) -> None:
    plan = plan_run(make_spec(f"python train.py #SIM {directive}"), failure_rate=1)

    assert (plan.end.reason, plan.end.exit_code, plan.end.signal) == (reason, exit_code, signal)
    assert plan.ends_after == ends_after


def test_a_hanging_run_makes_no_more_progress() -> None:
    plan = plan_run(make_spec("python train.py #SIM fault=hang duration=10m"), failure_rate=0)

    assert 0 < plan.progress(timedelta(minutes=5)) < plan.progress(timedelta(minutes=10)) < 1
    assert plan.progress(timedelta(minutes=10)) == plan.progress(HOUR)
