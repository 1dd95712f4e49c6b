"""What the metrics show of the database: one statement, read at each scrape."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import overstaying
from app.db.queries.overstaying import OVERSTAYS

_SNAPSHOT = text(
    f"""
    SELECT 'jobs' AS name, status AS label, NULL AS state, sum(jobs)::float8 AS value FROM job_counts GROUP BY status
    UNION ALL
    (SELECT 'oldest', status, NULL, extract(epoch FROM CAST(:now AS timestamptz) - created_at)::float8
     FROM jobs WHERE status = 'PENDING' ORDER BY id LIMIT 1)
    UNION ALL
    (SELECT 'oldest', status, NULL, extract(epoch FROM CAST(:now AS timestamptz) - decided_at)::float8
     FROM jobs WHERE status = 'APPROVED' ORDER BY decided_at, id LIMIT 1)
    UNION ALL
    SELECT 'quota', side.label, NULL, coalesce(sum(side.seconds), 0)::float8
    FROM user_quotas AS quota
    CROSS JOIN LATERAL (VALUES
        ('limit', quota.limit_seconds), ('reserved', quota.reserved_seconds), ('used', quota.used_seconds)
    ) AS side (label, seconds)
    WHERE quota.starts_at <= :now AND quota.ends_at > :now
    GROUP BY side.label
    UNION ALL
    SELECT 'gpus', gpu.gpu_type,
           CASE WHEN held.gpu_id IS NOT NULL THEN 'allocated' WHEN gpu.is_quarantined THEN 'quarantined'
                WHEN gpu.drained_at IS NOT NULL THEN 'drained' WHEN gpu.is_contended THEN 'contended' ELSE 'free' END,
           count(*)::float8
    FROM gpus AS gpu
    LEFT JOIN gpu_allocations AS held ON held.gpu_id = gpu.id AND held.released_at IS NULL
    WHERE gpu.retired_at IS NULL
    GROUP BY 2, 3
    UNION ALL
    SELECT 'overstaying', NULL, NULL, count(*)::float8 FROM jobs j WHERE {OVERSTAYS}
    UNION ALL
    SELECT 'foreign', NULL, NULL, count(*)::float8 FROM foreign_jobs WHERE gone_at IS NULL
    UNION ALL
    SELECT 'lease', NULL, NULL, extract(epoch FROM clock_timestamp() - renewed_at)::float8 FROM dispatcher_lease
    """
)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number.

    `jobs` by status, `oldest` age by status, `quota` by side, `gpus` by type and state, how many are `overstaying`
    or `foreign`, `lease` age.
    """

    name: str
    label: str | None
    state: str | None
    value: float


async def snapshot(connection: AsyncConnection, *, now: datetime) -> list[Measure]:
    rows = await connection.execute(_SNAPSHOT, overstaying.parameters(now))
    return [Measure(*row) for row in rows]
