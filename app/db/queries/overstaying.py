"""Runs that go on though they should have ended."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.execution import OVERSTAYS_AFTER

OVERSTAYS = """
    (j.status = 'RUNNING'
     AND (j.launched_at IS NOT NULL
          AND greatest(make_interval(secs => j.measured_seconds), CAST(:now AS timestamptz) - j.started_at)
              > make_interval(secs => j.reserved_seconds::float8 / j.num_gpus) + CAST(:overstays_after AS interval)
          OR coalesce(CAST(:now AS timestamptz) - j.cancel_requested_at > CAST(:overstays_after AS interval), false)))
"""
"""A run that should have ended long ago, by its limit or because it was cancelled, and holds its GPUs.

The clock counts as well as the engine: one that is silent tells of no run that it goes on.
"""
_OVERSTAYING = text(
    f"""
    SELECT j.id, j.name, j.user_id, owner.full_name AS owner_full_name, owner.email AS owner_email
    FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE {OVERSTAYS} ORDER BY j.id
    """
)


def parameters(now: datetime) -> dict[str, Any]:
    """Of `OVERSTAYS`."""
    return {"now": now, "overstays_after": OVERSTAYS_AFTER}


async def overstaying(connection: AsyncConnection, *, now: datetime) -> Sequence[Row[Any]]:
    return (await connection.execute(_OVERSTAYING, parameters(now))).all()
