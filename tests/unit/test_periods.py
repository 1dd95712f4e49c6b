"""Quota months in both calendars and several zones, across leap years and clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import jdatetime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.periods import Calendar, MonthRule

ZONES = ("UTC", "Asia/Tehran", "Europe/Berlin", "America/St_Johns", "Pacific/Apia", "Asia/Beirut")
RULES = [MonthRule(calendar, ZoneInfo(zone)) for calendar in Calendar for zone in ZONES]
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2032, 12, 31, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)

rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.calendar}-{rule.zone}")


@rules
def test_each_month_end_from_2024_to_2032_belongs_to_the_next_month(rule: MonthRule) -> None:
    period = rule.period_at(FIRST)
    while period.ends_at < LAST:
        following = rule.period_at(period.ends_at)
        assert following.starts_at == period.ends_at, f"a gap or overlap at {period.ends_at}"
        assert rule.period_at(period.ends_at - INSTANT) == period, f"{period.ends_at} is not where the month ends"
        period = following


@rules
def test_each_month_begins_at_local_midnight_of_its_first_day(rule: MonthRule) -> None:
    period = rule.period_at(FIRST)
    while period.ends_at < LAST:
        local = period.starts_at.astimezone(rule.zone)
        day = jdatetime.date.fromgregorian(date=local.date()).day if rule.calendar is Calendar.JALALI else local.day
        assert day == 1
        assert local.hour == local.minute == 0, f"{local} is not midnight"
        period = rule.period_at(period.ends_at)


@pytest.mark.parametrize(
    ("moment", "first_day"),
    [
        ("2025-03-20T12:00", "2025-02-19"),  # 30 Esfand 1403: a leap year
        ("2025-03-21T12:00", "2025-03-21"),  # 1 Farvardin 1404
        ("2026-03-21T12:00", "2026-03-21"),  # 1 Farvardin 1405
        ("2026-09-23T12:00", "2026-09-23"),  # 1 Mehr 1405
        ("2027-03-21T12:00", "2027-03-21"),  # 1 Farvardin 1406
        ("2030-03-20T12:00", "2030-02-19"),  # 30 Esfand 1408: a leap year
    ],
)
def test_jalali_months_begin_on_the_known_days(moment: str, first_day: str) -> None:
    rule = MonthRule(Calendar.JALALI, ZoneInfo("Asia/Tehran"))
    period = rule.period_at(datetime.fromisoformat(moment).replace(tzinfo=rule.zone))
    assert period.starts_at.astimezone(rule.zone).date().isoformat() == first_day


@given(
    rule=st.sampled_from(RULES),
    begin=st.datetimes(FIRST.replace(tzinfo=None), LAST.replace(tzinfo=None)),
    days=st.integers(min_value=0, max_value=500),
)
def test_months_added_later_leave_no_gap(rule: MonthRule, begin: datetime, days: int) -> None:
    start = begin.replace(tzinfo=UTC)
    until = start + timedelta(days=days)
    months = list(rule.periods_since(start, until))
    assert months[0].starts_at == start
    assert all(earlier.ends_at == later.starts_at for earlier, later in pairwise(months))
    assert months[-1].starts_at <= until < months[-1].ends_at


def test_months_are_continuous_when_the_calendar_changes() -> None:
    gregorian, jalali = (MonthRule(calendar, ZoneInfo("Asia/Tehran")) for calendar in Calendar)
    last = gregorian.period_at(datetime(2026, 11, 15, tzinfo=UTC))
    first = next(jalali.periods_since(last.ends_at, datetime(2027, 2, 1, tzinfo=UTC)))
    assert first.starts_at == last.ends_at
    assert first.ends_at == jalali.period_at(last.ends_at).ends_at
