"""Quota months as `[start, end)` instants: they begin at local midnight of the first day, in one calendar and zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from enum import StrEnum
from functools import lru_cache

import jdatetime

MONTHS_PER_YEAR = 12


class Calendar(StrEnum):
    GREGORIAN = "gregorian"
    JALALI = "jalali"


@dataclass(frozen=True, slots=True)
class Period:
    """One quota month. Both ends are in UTC; the end belongs to the next month."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class MonthRule:
    """How this installation cuts time into months."""

    calendar: Calendar
    zone: tzinfo

    def period_at(self, instant: datetime) -> Period:
        """The month that holds this instant."""
        year, month = self._month_of(instant)
        return Period(self._first_instant(year, month), self._first_instant(*_next_month(year, month)))

    def periods_since(self, instant: datetime, until: datetime) -> Iterator[Period]:
        """The months after `instant` (the end of an earlier one), up to the one that holds `until`, without a gap.

        Where the calendar or zone was changed in between, the first of them is cut to begin at `instant`.
        """
        begin = instant
        while begin <= until:
            period = self.period_at(begin)
            yield Period(begin, period.ends_at)
            begin = period.ends_at

    def periods_between(self, since: datetime, until: datetime) -> list[Period]:
        """The whole months that the span touches; at least the one that holds `since`."""
        first = self.period_at(since)
        return [first, *self.periods_since(first.ends_at, until)]

    def _month_of(self, instant: datetime) -> tuple[int, int]:
        local = instant.astimezone(self.zone)
        if self.calendar is Calendar.JALALI:
            day = jdatetime.date.fromgregorian(date=local.date())
            return day.year, day.month
        return local.year, local.month

    def _first_instant(self, year: int, month: int) -> datetime:
        """Local midnight. Where a clock change skips midnight, the instant of that change (PEP 495, fold=0)."""
        first = jdatetime.date(year, month, 1).togregorian() if self.calendar is Calendar.JALALI else None
        local_year, local_month, day = (first.year, first.month, first.day) if first else (year, month, 1)
        return datetime(local_year, local_month, day, tzinfo=self.zone).astimezone(UTC)


def jalali_month(instant: datetime, zone: tzinfo) -> str:
    """The Persian month of a local day, such as `1405-09`."""
    return jalali_day(instant, zone)[:7]


def jalali_day(instant: datetime, zone: tzinfo) -> str:
    """The local day by the Persian calendar, such as `1405-09-02`."""
    return _jalali(instant.astimezone(zone).date())


@lru_cache(maxsize=4096)
def _jalali(day: date) -> str:
    """Kept, because a long list has few different days."""
    jalali = jdatetime.date.fromgregorian(date=day)
    return f"{jalali.year:04}-{jalali.month:02}-{jalali.day:02}"


def _next_month(year: int, month: int) -> tuple[int, int]:
    return (year, month + 1) if month < MONTHS_PER_YEAR else (year + 1, 1)
