"""Reports: GPU-hours by user and month, and how long jobs waited."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import reports as queries
from app.domain.periods import MonthRule, Period


async def usage(
    connection: AsyncConnection, *, since: datetime, until: datetime, user_id: int | None
) -> Sequence[Row[Any]]:
    """Each user's months that touch the span."""
    return await queries.usage(connection, since=since, until=until, user_id=user_id)


async def waiting_by_month(
    connection: AsyncConnection, *, since: datetime, until: datetime, rule: MonthRule
) -> Sequence[tuple[Period, Row[Any]]]:
    """How long the jobs submitted in the span waited, newest month first. Months without jobs are left out."""
    await queries.take_time(connection)
    months = rule.periods_between(since, until)
    rows = await queries.waiting_by_month(connection, since=since, until=until, months=months)
    return [(months[row.place - 1], row) for row in rows]


async def waiting_by_gpu_type(connection: AsyncConnection, *, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """How long the jobs submitted in the span waited, by GPU type."""
    await queries.take_time(connection)
    return await queries.waiting_by_gpu_type(connection, since=since, until=until)
