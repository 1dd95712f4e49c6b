"""A span of days in an address: `from` the first, `to` the last, as they begin and end in this installation's zone."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated

from fastapi import Depends, Query

from app.api.deps import AppSettings

EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)
First = Annotated[date | None, Query(alias="from", ge=EARLIEST, le=LATEST, description="The first day.")]
Last = Annotated[date | None, Query(alias="to", ge=EARLIEST, le=LATEST, description="The last day.")]


@dataclass(frozen=True, slots=True)
class Days:
    """The instants `[since, until)`; None where the address names no such day."""

    since: datetime | None
    until: datetime | None


async def get_days(settings: AppSettings, first: First = None, last: Last = None) -> Days:
    return Days(
        since=None if first is None else beginning_of(first, settings.zone),
        until=None if last is None else beginning_of(last + timedelta(days=1), settings.zone),
    )


def beginning_of(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)


DaySpan = Annotated[Days, Depends(get_days)]
