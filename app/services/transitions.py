"""The only way a job's status changes."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import jobs
from app.db.queries.jobs import Move
from app.domain.identity import Actor
from app.domain.job_state import may_move


async def apply(
    connection: AsyncConnection, moves: Collection[Move], *, actor: Actor, now: datetime, term: int | None = None
) -> set[int]:
    """Move jobs along the state machine, with quota settlement, GPU release, counts and events in the same statement.

    The GPUs of a run that is LOST may still be in use: they are released, but quarantined.
    A move whose job is no longer where the caller saw it changes nothing. A dispatcher passes its lease `term`, and
    nothing moves once that term is over. Returns the ids of the jobs that moved.

    Raises:
        ValueError: the state machine has no such move, or two moves of one batch touch the same count.
    """
    for move in moves:
        if not may_move(move.from_status, move.to_status):
            raise ValueError(f"a job cannot go from {move.from_status} to {move.to_status}")
    if {move.from_status for move in moves} & {move.to_status for move in moves}:
        raise ValueError("one batch cannot move jobs into and out of the same status")
    return await jobs.move(connection, moves, actor=actor, now=now, term=term)
