"""What the dispatcher reads and notes about runs. Everything it writes carries the term of its lease."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# The term's lease cannot go to anybody else until the statement that looks at this is committed.
_FENCE = "lease AS (SELECT 1 FROM dispatcher_lease WHERE term = :term AND expires_at > clock_timestamp() FOR SHARE)"
_HELD = "EXISTS (SELECT FROM lease)"
_RUN = """
    j.id, j.user_id, j.run_id, j.executor, j.name, j.gpu_type, j.num_gpus, j.time_limit_seconds, j.reserved_seconds,
    j.command, j.data_location, j.is_sensitive, j.justification, j.approved_digest,
    j.status, j.started_at, j.dispatched_at, j.launched_at, j.finished_at, j.unknown_since,
    j.cancel_requested_at, j.cancel_requested_by, j.cancel_reason, j.measured_seconds, owner.email AS owner_email,
    (SELECT jsonb_agg(jsonb_build_array(g.node, g.gpu_index, g.uuid) ORDER BY g.node, g.gpu_index)
     FROM gpu_allocations a JOIN gpus g ON g.id = a.gpu_id WHERE a.job_id = j.id) AS slots
"""
_ONE = text(f"SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id WHERE j.id = :job_id")
_LIVE = text(
    f"""
    SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE j.launched_at IS NOT NULL AND j.status IN ('APPROVED', 'RUNNING') AND j.executor = :engine
    """
)
_OF_OTHER_ENGINES = text(
    f"""
    SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE j.run_id IS NOT NULL AND j.status IN ('APPROVED', 'RUNNING') AND j.executor <> :engine
    """
)
_TO_LAUNCH = text(
    f"""
    SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE j.run_id IS NOT NULL AND j.launched_at IS NULL AND j.finished_at IS NULL AND j.cancel_requested_at IS NULL
      AND j.executor = :engine
    ORDER BY j.id LIMIT :limit
    """
)
_TO_STOP = text(
    f"""
    SELECT {_RUN} FROM jobs j JOIN users owner ON owner.id = j.user_id
    WHERE j.cancel_requested_at IS NOT NULL AND j.finished_at IS NULL AND j.executor = :engine
    """
)
_LAUNCHED = text(
    f"""
    WITH {_FENCE}
    UPDATE jobs SET launched_at = :now
    WHERE run_id = :run_id AND launched_at IS NULL AND finished_at IS NULL AND {_HELD}
    """
)
_REPORT = text(
    f"""
    WITH {_FENCE}
    UPDATE jobs j SET progress = greatest(j.progress, r.progress), queue_reason = r.queue_reason,
                      expected_start_at = r.expected_start_at, placement = coalesce(r.placement, j.placement),
                      engine_job_id = coalesce(r.engine_job_id, j.engine_job_id), unknown_since = NULL,
                      measured_seconds = greatest(j.measured_seconds, r.measured_seconds), updated_at = :now
    FROM jsonb_to_recordset(CAST(:reports AS jsonb))
         AS r (run_id uuid, progress float8, queue_reason text, expected_start_at timestamptz, placement text,
               engine_job_id text, measured_seconds bigint)
    WHERE j.run_id = r.run_id AND j.finished_at IS NULL AND {_HELD}
    """
)
_UNKNOWN = text(
    f"""
    WITH {_FENCE}
    UPDATE jobs SET unknown_since = :now
    WHERE run_id = ANY(CAST(:run_ids AS uuid[])) AND unknown_since IS NULL AND finished_at IS NULL AND {_HELD}
    """
)
# A month that nobody has opened yet will inherit the limit of the latest one.
_LACKS_QUOTA = """
    (q.ends_at <= :now AND j.reserved_seconds > (
        SELECT m.limit_seconds - CASE WHEN m.ends_at > :now THEN m.reserved_seconds + m.used_seconds ELSE 0 END
        FROM user_quotas m WHERE m.user_id = j.user_id ORDER BY m.starts_at DESC LIMIT 1
    ))
"""
_WAITING = """
    jobs j JOIN user_quotas q ON q.id = j.quota_id WHERE j.status = 'APPROVED' AND j.run_id IS NULL
"""
_QUEUE = text(
    f"""
    SELECT j.id, j.gpu_type, j.num_gpus, j.decided_at, j.wait_reason, {_LACKS_QUOTA} AS lacks_quota
    FROM {_WAITING} AND (j.gpu_type, j.decided_at, j.id) > (:gpu_type, :decided_at, :job_id)
    ORDER BY j.gpu_type, j.decided_at, j.id LIMIT :limit
    """
)
# Each of the first that have starved takes a GPU or more, or is the one that nobody may pass. The limit stands in the
# text, so that the planner knows how few are wanted and walks along the index.
_CANDIDATES = f"""
    SELECT candidate.*
    FROM jsonb_to_recordset(CAST(:free AS jsonb)) AS free (gpu_type text, gpus int)
    CROSS JOIN LATERAL (
        (SELECT j.id, j.gpu_type, j.num_gpus, j.decided_at
         FROM {_WAITING} AND j.gpu_type = free.gpu_type AND j.decided_at < :starved_since AND NOT {_LACKS_QUOTA}
         ORDER BY j.decided_at, j.id LIMIT {{limit}} + 1)
        UNION
        (SELECT j.id, j.gpu_type, j.num_gpus, j.decided_at
         FROM {_WAITING} AND j.gpu_type = free.gpu_type AND j.num_gpus <= free.gpus AND NOT {_LACKS_QUOTA}
         ORDER BY j.decided_at, j.id LIMIT {{limit}})
    ) candidate
    ORDER BY candidate.decided_at, candidate.id
"""
_EXPLAIN = text(
    f"""
    WITH {_FENCE}
    UPDATE jobs j SET wait_reason = e.wait_reason
    FROM jsonb_to_recordset(CAST(:reasons AS jsonb)) AS e (job_id bigint, wait_reason text)
    WHERE j.id = e.job_id AND j.status = 'APPROVED' AND j.run_id IS NULL AND {_HELD}
    """
)


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """A place in the queue of approved jobs, which goes by GPU type, and within it by approval."""

    gpu_type: str
    decided_at: datetime
    job_id: int


HEAD_OF_QUEUE = QueuePlace("", datetime.min.replace(tzinfo=UTC), 0)


async def one(connection: AsyncConnection, job_id: int) -> Row[Any]:
    """What is needed to run, or to read the log of, this job."""
    return (await connection.execute(_ONE, {"job_id": job_id})).one()


async def live(connection: AsyncConnection, *, engine: str) -> Sequence[Row[Any]]:
    """Every run that this engine was told to start and that has not ended."""
    return (await connection.execute(_LIVE, {"engine": engine})).all()


async def of_other_engines(connection: AsyncConnection, *, engine: str) -> Sequence[Row[Any]]:
    """Every run that has not ended and that is none of this engine's, launched or not."""
    return (await connection.execute(_OF_OTHER_ENGINES, {"engine": engine})).all()


async def to_launch(connection: AsyncConnection, *, engine: str, limit: int) -> Sequence[Row[Any]]:
    """Runs that were decided on but that this engine has not confirmed."""
    return (await connection.execute(_TO_LAUNCH, {"engine": engine, "limit": limit})).all()


async def to_stop(connection: AsyncConnection, *, engine: str) -> Sequence[Row[Any]]:
    """Runs that somebody cancelled, launched or not."""
    return (await connection.execute(_TO_STOP, {"engine": engine})).all()


async def note_launched(connection: AsyncConnection, run_id: UUID, *, term: int, now: datetime) -> None:
    await connection.execute(_LAUNCHED, {"run_id": run_id, "term": term, "now": now})


async def note_reports(
    connection: AsyncConnection, reports: Sequence[Mapping[str, Any]], *, term: int, now: datetime
) -> None:
    """Keep what engines say of runs that are not settled; the keys are the columns of `_REPORT`.

    Progress and the measured time only grow, whatever the clock of the next dispatcher says: readers have been shown
    the log up to there, and the time was held.
    """
    await connection.execute(_REPORT, {"reports": json.dumps(reports), "term": term, "now": now})


async def note_unknown(connection: AsyncConnection, run_ids: Collection[UUID], *, term: int, now: datetime) -> None:
    """Keep since when the engine has not known these runs, until it reports of them again."""
    await connection.execute(_UNKNOWN, {"run_ids": list(run_ids), "term": term, "now": now})


async def queue(connection: AsyncConnection, *, after: QueuePlace, now: datetime, limit: int) -> Sequence[Row[Any]]:
    """Approved jobs that wait to be started, and whether their quota would let them."""
    return (await connection.execute(_QUEUE, {**asdict(after), "now": now, "limit": limit})).all()


async def candidates(
    connection: AsyncConnection, free: Mapping[str, int], *, starved_since: datetime, now: datetime, limit: int
) -> Sequence[Row[Any]]:
    """In the order of approval, those waiting jobs which decide what starts next on the `free` GPUs of each type.

    That are the first ones that fit and have quota, and the first ones that have waited since before `starved_since`,
    at most `limit` of each, and a type. What else waits, however long the queue, is not even read.
    """
    rows = [{"gpu_type": gpu_type, "gpus": gpus} for gpu_type, gpus in free.items() if gpus > 0]
    if not rows:
        return ()
    parameters = {"free": json.dumps(rows), "starved_since": starved_since, "now": now}
    return (await connection.execute(text(_CANDIDATES.format(limit=limit)), parameters)).all()


async def explain(connection: AsyncConnection, reasons: Mapping[int, str], *, term: int) -> None:
    """Keep why each of these jobs waits."""
    rows = [{"job_id": job_id, "wait_reason": reason} for job_id, reason in reasons.items()]
    await connection.execute(_EXPLAIN, {"reasons": json.dumps(rows), "term": term})
