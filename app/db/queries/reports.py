"""Sums over many jobs, for those who answer for the hours."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_USAGE = text(
    """
    SELECT u.id AS user_id, u.full_name, u.email, q.starts_at, q.ends_at, q.limit_seconds, q.used_seconds,
           q.reserved_seconds,
           (SELECT count(*) FROM quota_entries e
            WHERE e.user_id = q.user_id AND e.quota_id = q.id AND e.kind = 'SETTLE') AS finished_jobs
    FROM user_quotas q JOIN users u ON u.id = q.user_id
    WHERE q.ends_at > :since AND q.starts_at < :until AND (CAST(:user_id AS bigint) IS NULL OR q.user_id = :user_id)
    ORDER BY q.starts_at DESC, q.used_seconds DESC, u.id
    """
)


async def usage(
    connection: AsyncConnection, *, since: datetime, until: datetime, user_id: int | None
) -> Sequence[Row[Any]]:
    """Each user's months that touch `[since, until)`: the newest month first, in it the heaviest user first."""
    parameters = {"since": since, "until": until, "user_id": user_id}
    return (await connection.execute(_USAGE, parameters)).all()
