"""Sums over many jobs, for those who answer for the hours."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.periods import Period

# The ledger is read once, not once for each month: that would be hundreds of times for every entry.
_USAGE = text(
    """
    SELECT u.id AS user_id, u.full_name, u.email, q.starts_at, q.ends_at, q.limit_seconds, q.used_seconds,
           q.reserved_seconds, coalesce(finished.jobs, 0) AS finished_jobs
    FROM user_quotas q
    JOIN users u ON u.id = q.user_id
    LEFT JOIN (
        SELECT quota_id, count(*) AS jobs FROM quota_entries
        WHERE kind = 'SETTLE' AND (CAST(:user_id AS bigint) IS NULL OR user_id = :user_id) GROUP BY quota_id
    ) finished ON finished.quota_id = q.id
    WHERE q.ends_at > :since AND q.starts_at < :until AND (CAST(:user_id AS bigint) IS NULL OR q.user_id = :user_id)
    ORDER BY q.starts_at DESC, q.used_seconds DESC, u.id
    """
)
_TAKE_TIME = text(
    "SELECT set_config('statement_timeout', '20000', true), set_config('work_mem', '64MB', true)",
)
# Carried by the BRIN index on `created_at`: it reads the part of the table in which the span's jobs lie.
_WAITS = """
    count(*) AS jobs,
    count(decided_at) FILTER (WHERE status <> 'REJECTED') AS approved,
    count(*) FILTER (WHERE status = 'REJECTED') AS rejected,
    count(started_at) AS started,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM decided_at - created_at)::float8)
        AS decision_seconds,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - decided_at)::float8)
        AS start_seconds,
    percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - created_at)::float8)
        AS total_seconds
"""
_WAITING_BY_MONTH = text(
    f"""
    SELECT width_bucket(created_at, CAST(:starts AS timestamptz[])) AS place, {_WAITS}
    FROM jobs WHERE created_at >= :since AND created_at < :until GROUP BY place ORDER BY place DESC
    """
)
_WAITING_BY_GPU_TYPE = text(
    f"""
    SELECT gpu_type, {_WAITS}
    FROM jobs WHERE created_at >= :since AND created_at < :until GROUP BY gpu_type ORDER BY gpu_type
    """
)


async def usage(
    connection: AsyncConnection, *, since: datetime, until: datetime, user_id: int | None
) -> Sequence[Row[Any]]:
    """Each user's months that touch `[since, until)`: the newest month first, in it the heaviest user first."""
    parameters = {"since": since, "until": until, "user_id": user_id}
    return (await connection.execute(_USAGE, parameters)).all()


async def take_time(connection: AsyncConnection) -> None:
    """Until the end of this transaction a statement may take 20 seconds, and sort in memory: a report is read rarely,
    and looks at every job of a year.
    """
    await connection.execute(_TAKE_TIME)


async def waiting_by_month(
    connection: AsyncConnection, *, since: datetime, until: datetime, months: Sequence[Period]
) -> Sequence[Row[Any]]:
    """How long the jobs submitted in `[since, until)` waited: `place` numbers the month among these, from 1 on."""
    parameters = {"since": since, "until": until, "starts": [month.starts_at for month in months]}
    return (await connection.execute(_WAITING_BY_MONTH, parameters)).all()


async def waiting_by_gpu_type(connection: AsyncConnection, *, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """How long the jobs submitted in `[since, until)` waited, by `gpu_type`."""
    return (await connection.execute(_WAITING_BY_GPU_TYPE, {"since": since, "until": until})).all()
