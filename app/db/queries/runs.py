"""What the dispatcher reads and notes about runs. Everything it writes carries the term of its lease."""

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_HELD = "EXISTS (SELECT FROM dispatcher_lease WHERE term = :term AND expires_at > clock_timestamp())"
_RUN = """
    j.id, j.user_id, j.run_id, j.name, j.gpu_type, j.num_gpus, j.time_limit_seconds, j.reserved_seconds, j.command,
    j.data_location, j.status, j.started_at, j.dispatched_at, j.launched_at, j.finished_at, j.cancel_requested_at,
    j.cancel_requested_by, j.cancel_reason, owner.email AS owner_email,
    (SELECT jsonb_agg(jsonb_build_array(g.node, g.gpu_index, g.uuid) ORDER BY g.node, g.gpu_index)
     FROM gpu_allocations a JOIN gpus g ON g.id = a.gpu_id WHERE a.job_id = j.id) AS slots
"""
_ONE = text(f"SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id WHERE j.id = :job_id")
_LIVE = text(
    f"""
    SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE j.launched_at IS NOT NULL AND j.status IN ('APPROVED', 'RUNNING')
    """
)
_TO_LAUNCH = text(
    f"""
    SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE j.run_id IS NOT NULL AND j.launched_at IS NULL AND j.finished_at IS NULL ORDER BY j.id LIMIT :limit
    """
)
_TO_STOP = text(
    """
    SELECT id, run_id, user_id, cancel_requested_by, cancel_requested_at FROM jobs
    WHERE cancel_requested_at IS NOT NULL AND finished_at IS NULL
    """
)
_LAUNCHED = text(
    f"""
    UPDATE jobs SET launched_at = :now
    WHERE run_id = ANY(CAST(:run_ids AS uuid[])) AND launched_at IS NULL AND finished_at IS NULL AND {_HELD}
    """
)
_REPORT = text(
    f"""
    UPDATE jobs j SET progress = r.progress, queue_reason = r.queue_reason, expected_start_at = r.expected_start_at,
                      placement = coalesce(r.placement, j.placement),
                      engine_job_id = coalesce(r.engine_job_id, j.engine_job_id), updated_at = :now
    FROM jsonb_to_recordset(CAST(:reports AS jsonb))
         AS r (run_id uuid, progress float8, queue_reason text, expected_start_at timestamptz, placement text,
               engine_job_id text)
    WHERE j.run_id = r.run_id AND j.finished_at IS NULL AND {_HELD}
    """
)
# A month that nobody has opened yet will inherit the limit of the latest one.
_QUEUE = text(
    """
    SELECT j.id, j.user_id, j.gpu_type, j.num_gpus, j.reserved_seconds, j.decided_at, j.wait_reason,
           q.ends_at <= :now AND present.room_seconds < j.reserved_seconds AS lacks_quota
    FROM jobs j
    JOIN user_quotas q ON q.id = j.quota_id
    CROSS JOIN LATERAL (
        SELECT m.limit_seconds - CASE WHEN m.ends_at > :now THEN m.reserved_seconds + m.used_seconds ELSE 0 END
                   AS room_seconds
        FROM user_quotas m WHERE m.user_id = j.user_id ORDER BY m.starts_at DESC LIMIT 1
    ) present
    WHERE j.status = 'APPROVED' AND j.run_id IS NULL ORDER BY j.decided_at, j.id LIMIT :limit
    """
)
_EXPLAIN = text(
    f"""
    UPDATE jobs j SET wait_reason = e.wait_reason
    FROM jsonb_to_recordset(CAST(:reasons AS jsonb)) AS e (job_id bigint, wait_reason text)
    WHERE j.id = e.job_id AND j.status = 'APPROVED' AND {_HELD}
    """
)


async def one(connection: AsyncConnection, job_id: int) -> Row[Any]:
    """What is needed to run, or to read the log of, this job."""
    return (await connection.execute(_ONE, {"job_id": job_id})).one()


async def live(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every run that an engine was told to start and that has not ended."""
    return (await connection.execute(_LIVE)).all()


async def to_launch(connection: AsyncConnection, *, limit: int) -> Sequence[Row[Any]]:
    """Runs that were decided on but that no engine has confirmed."""
    return (await connection.execute(_TO_LAUNCH, {"limit": limit})).all()


async def to_stop(connection: AsyncConnection) -> Sequence[Row[Any]]:
    return (await connection.execute(_TO_STOP)).all()


async def note_launched(connection: AsyncConnection, run_ids: Collection[UUID], *, term: int, now: datetime) -> None:
    await connection.execute(_LAUNCHED, {"run_ids": list(run_ids), "term": term, "now": now})


async def note_reports(
    connection: AsyncConnection, reports: Sequence[Mapping[str, Any]], *, term: int, now: datetime
) -> None:
    """Keep what engines say of runs that are not settled; the keys are the columns of `_REPORT`."""
    await connection.execute(_REPORT, {"reports": json.dumps(reports), "term": term, "now": now})


async def queue(connection: AsyncConnection, *, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Approved jobs that wait to be started, in the order of their approval."""
    return (await connection.execute(_QUEUE, {"now": now, "limit": limit})).all()


async def explain(connection: AsyncConnection, reasons: Mapping[int, str], *, term: int) -> None:
    """Keep why each of these jobs waits."""
    rows = [{"job_id": job_id, "wait_reason": reason} for job_id, reason in reasons.items()]
    await connection.execute(_EXPLAIN, {"reasons": json.dumps(rows), "term": term})
