"""What engines have told of themselves."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.execution import EXACT, TimeKeeping

_NOTE = text(
    """
    INSERT INTO engines (name, limit_step_seconds, ending_seconds, seen_at) VALUES (:name, :step, :ending, :now)
    ON CONFLICT (name) DO UPDATE
    SET limit_step_seconds = excluded.limit_step_seconds, ending_seconds = excluded.ending_seconds,
        seen_at = excluded.seen_at
    """
)
_TIME_KEEPING = text("SELECT limit_step_seconds, ending_seconds FROM engines WHERE name = :name")


async def note(connection: AsyncConnection, name: str, keeping: TimeKeeping, *, now: datetime) -> None:
    parameters = {"name": name, "step": keeping.step_seconds, "ending": keeping.ending_seconds, "now": now}
    await connection.execute(_NOTE, parameters)


async def time_keeping(connection: AsyncConnection, name: str) -> TimeKeeping:
    """As its dispatcher has last told; exact until the first one has looked at the engine."""
    row = (await connection.execute(_TIME_KEEPING, {"name": name})).one_or_none()
    return EXACT if row is None else TimeKeeping(row.limit_step_seconds, row.ending_seconds)
