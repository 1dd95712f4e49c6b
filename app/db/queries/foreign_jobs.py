"""Jobs that an engine runs or queues in the service's name though the service did not submit them."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.execution import NamedJob

_JUST_ENDED = timedelta(minutes=1)
"""A run that was settled while its engine was asked may still stand in the answer."""
_SYNC = text(
    """
    WITH present AS (
        SELECT named.* FROM jsonb_to_recordset(CAST(:jobs AS jsonb))
                   AS named (engine_job_id text, name text, run_id uuid, num_gpus int)
        WHERE NOT EXISTS (
            SELECT FROM jobs j
            WHERE j.run_id = named.run_id AND (j.finished_at IS NULL OR j.updated_at > :just_ended_since)
        )
    ), gone AS (
        UPDATE foreign_jobs SET gone_at = :now
        WHERE executor = :executor AND gone_at IS NULL AND engine_job_id NOT IN (SELECT engine_job_id FROM present)
    )
    INSERT INTO foreign_jobs AS known (executor, engine_job_id, name, num_gpus, seen_at)
    SELECT :executor, engine_job_id, name, num_gpus, :now FROM present
    ON CONFLICT (executor, engine_job_id) WHERE gone_at IS NULL DO UPDATE
    SET num_gpus = coalesce(excluded.num_gpus, known.num_gpus), name = coalesce(nullif(known.name, ''), excluded.name)
    RETURNING id, engine_job_id, name, num_gpus, cancelled_at, xmax = 0 AS is_new
    """
)
_CANCELLED = text("UPDATE foreign_jobs SET cancelled_at = :now WHERE id = :id AND cancelled_at IS NULL RETURNING id")
_PRESENT = text(
    """
    SELECT id, executor, engine_job_id, name, num_gpus, seen_at, cancelled_at
    FROM foreign_jobs WHERE gone_at IS NULL ORDER BY id
    """
)


async def sync(
    connection: AsyncConnection, jobs: Collection[NamedJob], *, executor: str, now: datetime
) -> Sequence[Row[Any]]:
    """Keep which of the engine's jobs carry no run of ours, and return them; `is_new`: seen for the first time."""
    parameters = {
        "executor": executor,
        "jobs": json.dumps([asdict(job) for job in jobs], default=str),
        "just_ended_since": now - _JUST_ENDED,
        "now": now,
    }
    return (await connection.execute(_SYNC, parameters)).all()


async def note_cancelled(connection: AsyncConnection, foreign_job_id: int, *, now: datetime) -> bool:
    """False: it was noted before."""
    return (await connection.execute(_CANCELLED, {"id": foreign_job_id, "now": now})).one_or_none() is not None


async def present(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Those that were there when their engine was last asked, oldest first."""
    return (await connection.execute(_PRESENT)).all()
