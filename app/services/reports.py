"""Reports: GPU-hours by user and month, and their CSV form."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any

import jdatetime
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import reports as queries
from app.domain.quota import hours_from_seconds

BYTE_ORDER_MARK = "\ufeff"
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r")
USAGE_COLUMNS = (
    "period_start", "period_end", "jalali_month", "user_id", "email", "full_name",
    "limit_hours", "used_hours", "reserved_hours", "finished_jobs",
)  # fmt: skip


async def usage(
    connection: AsyncConnection, *, since: datetime, until: datetime, user_id: int | None
) -> Sequence[Row[Any]]:
    """Each user's months that touch the span."""
    return await queries.usage(connection, since=since, until=until, user_id=user_id)


def jalali_month(instant: datetime, zone: tzinfo) -> str:
    """The Persian month in which a month of this installation begins, such as `1405-09`."""
    day = jdatetime.date.fromgregorian(date=instant.astimezone(zone).date())
    return f"{day.year:04}-{day.month:02}"


def usage_csv(rows: Iterable[Row[Any]], zone: tzinfo) -> str:
    """The report for a spreadsheet: UTF-8 with byte order mark, ISO dates, ASCII digits, no cell that is a formula."""
    text = io.StringIO()
    text.write(BYTE_ORDER_MARK)
    writer = csv.writer(text)
    writer.writerow(USAGE_COLUMNS)
    for row in rows:
        cells = (
            row.starts_at.astimezone(zone).date().isoformat(),
            row.ends_at.astimezone(zone).date().isoformat(),
            jalali_month(row.starts_at, zone),
            row.user_id,
            row.email,
            row.full_name or "",
            _hours(row.limit_seconds),
            _hours(row.used_seconds),
            _hours(row.reserved_seconds),
            row.finished_jobs,
        )
        writer.writerow([_harmless(cell) for cell in cells])
    return text.getvalue()


def _hours(seconds: int) -> str:
    return f"{hours_from_seconds(seconds):.4f}"


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_BEGINNINGS) else cell
