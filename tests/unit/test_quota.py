"""GPU-second arithmetic."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.execution import EXACT, TimeKeeping
from app.domain.quota import QuotaBalance, charge, hours_from_seconds, reservation, seconds_from_hours


@pytest.mark.parametrize(
    ("hours", "seconds"), [(0.1, 360), (1, 3600), (2.5, 9000), (1 / 3, 1200), (720, 2_592_000), (0.0001, 0)]
)
def test_hours_become_the_nearest_second(hours: float, seconds: int) -> None:
    assert seconds_from_hours(hours) == seconds


@given(st.integers(min_value=0, max_value=10**10))
def test_seconds_survive_the_way_to_hours_and_back(seconds: int) -> None:
    assert seconds_from_hours(hours_from_seconds(seconds)) == seconds


@given(
    num_gpus=st.integers(min_value=1, max_value=64),
    time_limit=st.integers(min_value=1, max_value=2_592_000),
    elapsed=st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=90)),
)
def test_a_charge_never_leaves_the_reservation(num_gpus: int, time_limit: int, elapsed: timedelta) -> None:
    reserved = reservation(num_gpus, time_limit, EXACT)
    assert 0 <= charge(reserved, num_gpus, elapsed) <= reserved


@pytest.mark.parametrize(("time_limit", "longest"), [(1, 60 + 45), (60, 60 + 45), (61, 120 + 45), (3600, 3600 + 45)])
def test_the_longest_that_a_run_can_hold_is_reserved(time_limit: int, longest: int) -> None:
    keeping = TimeKeeping(step_seconds=60, ending_seconds=45)
    assert reservation(3, time_limit, keeping) == 3 * longest


def test_a_begun_second_counts_whole_on_every_gpu() -> None:
    assert charge(reservation(4, 3600, EXACT), 4, timedelta(seconds=10, microseconds=1)) == 44


def test_a_clock_that_went_backwards_costs_nothing() -> None:
    assert charge(3600, 1, timedelta(seconds=-5)) == 0


def test_available_is_what_is_neither_reserved_nor_used() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    balance = QuotaBalance(now, now, limit_seconds=100, reserved_seconds=30, used_seconds=25)
    assert balance.available_seconds == 45
