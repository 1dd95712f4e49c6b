"""The fleet, and which run holds which GPU."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.execution import GpuInfo, GpuSlot

OFFERED = (
    "g.retired_at IS NULL AND g.drained_at IS NULL AND NOT g.is_quarantined AND NOT g.is_contended "
    "AND NOT g.is_busy AND g.offline_reason IS NULL"
)
FREE = f"{OFFERED} AND NOT EXISTS (SELECT FROM gpu_allocations a WHERE a.gpu_id = g.id AND a.released_at IS NULL)"

# In the order in which `lock_type` locks them, so that the two never wait for each other.
_LOCK_FLEET = text("SELECT id FROM gpus WHERE retired_at IS NULL ORDER BY id FOR NO KEY UPDATE")
_SYNC = text(
    """
    WITH seen AS (
        SELECT * FROM jsonb_to_recordset(CAST(:gpus AS jsonb)) AS s
            (node text, gpu_index int, gpu_type text, uuid text, memory_bytes bigint, is_contended bool, is_busy bool,
             offline_reason text)
    ), retired AS (
        UPDATE gpus SET retired_at = :now
        WHERE retired_at IS NULL
          AND (executor <> :executor OR (node, gpu_index) NOT IN (SELECT node, gpu_index FROM seen))
    )
    INSERT INTO gpus (executor, node, gpu_index, gpu_type, uuid, memory_bytes, is_contended, is_busy, offline_reason,
                      last_seen_at)
    SELECT :executor, node, gpu_index, gpu_type, uuid, memory_bytes, is_contended, is_busy, offline_reason, :now
    FROM seen
    ON CONFLICT (executor, node, gpu_index) DO UPDATE
    SET gpu_type = excluded.gpu_type, uuid = excluded.uuid, memory_bytes = excluded.memory_bytes,
        is_contended = excluded.is_contended, is_busy = excluded.is_busy, offline_reason = excluded.offline_reason,
        last_seen_at = excluded.last_seen_at, retired_at = NULL
    """
)
_TYPES = text(
    f"""
    SELECT g.gpu_type AS name, count(*) AS total, count(*) FILTER (WHERE {FREE}) AS free,
           max(g.memory_bytes) AS memory_bytes
    FROM gpus g WHERE g.retired_at IS NULL GROUP BY g.gpu_type ORDER BY g.gpu_type
    """
)
_LOCK_TYPE = text("SELECT id FROM gpus WHERE gpu_type = :gpu_type AND retired_at IS NULL ORDER BY id FOR NO KEY UPDATE")
# One node that just fits is best; else the emptiest nodes together, so that as few as possible take part.
_PICK = text(
    f"""
    WITH free AS (
        SELECT g.id, g.node, g.gpu_index, g.uuid, count(*) OVER (PARTITION BY g.node) AS on_node
        FROM gpus g WHERE g.gpu_type = :gpu_type AND {FREE}
    )
    SELECT id, node, gpu_index, uuid FROM free
    ORDER BY on_node < :num_gpus, CASE WHEN on_node >= :num_gpus THEN on_node ELSE -on_node END, node, gpu_index
    LIMIT :num_gpus
    """
)
_ALLOCATE = text(
    """
    INSERT INTO gpu_allocations (gpu_id, job_id, run_id, allocated_at)
    SELECT unnest(CAST(:gpu_ids AS bigint[])), :job_id, :run_id, :now
    """
)
_HOLDERS = text(
    """
    SELECT DISTINCT a.job_id FROM gpu_allocations a JOIN gpus g ON g.id = a.gpu_id
    WHERE a.released_at IS NULL AND g.gpu_type = :gpu_type AND g.retired_at IS NULL ORDER BY a.job_id
    """
)
_SUPPLY = text(
    f"""
    SELECT (SELECT count(*) FROM gpus g WHERE g.gpu_type = :gpu_type AND {FREE}) AS free,
           (SELECT count(DISTINCT a.job_id) FROM gpus g JOIN gpu_allocations a ON a.gpu_id = g.id
            WHERE g.gpu_type = :gpu_type AND g.retired_at IS NULL AND a.released_at IS NULL) AS held_by
    """
)
# Where the engine places, no allocation is ours: a running job names its GPUs itself, as in `n1:0,1 n2:3`.
_FLEET = text(
    """
    WITH placed AS (
        SELECT DISTINCT ON (executor, node, gpu_index) j.id AS job_id, j.executor,
               split_part(part, ':', 1) AS node, CAST(named AS int) AS gpu_index
        FROM jobs j, string_to_table(j.placement, ' ') AS part, string_to_table(split_part(part, ':', 2), ',') AS named
        WHERE j.status = 'RUNNING' AND j.placement IS NOT NULL AND named ~ '^[0-9]{1,4}$'
        ORDER BY executor, node, gpu_index, j.id DESC
    )
    SELECT g.*, j.id AS job_id, j.name AS job_name, j.user_id AS job_user_id, holder.full_name AS job_owner_full_name,
           holder.email AS job_owner_email,
           drainer.full_name AS drained_by_full_name, drainer.email AS drained_by_email
    FROM gpus g
    LEFT JOIN gpu_allocations a ON a.gpu_id = g.id AND a.released_at IS NULL
    LEFT JOIN placed p ON p.executor = g.executor AND p.node = g.node AND p.gpu_index = g.gpu_index
    LEFT JOIN jobs j ON j.id = coalesce(a.job_id, p.job_id)
    LEFT JOIN users holder ON holder.id = j.user_id
    LEFT JOIN users drainer ON drainer.id = g.drained_by
    WHERE (g.retired_at IS NULL OR a.id IS NOT NULL) AND (CAST(:gpu_id AS bigint) IS NULL OR g.id = :gpu_id)
    ORDER BY g.node, g.gpu_index
    """
)
_DRAIN = text(
    """
    UPDATE gpus SET drained_at = coalesce(drained_at, :now), drain_reason = :reason, drained_by = :user_id
    WHERE id = :gpu_id AND retired_at IS NULL RETURNING id
    """
)
_RESUME = text(
    """
    UPDATE gpus SET drained_at = NULL, drain_reason = NULL, drained_by = NULL, is_quarantined = false
    WHERE id = :gpu_id AND retired_at IS NULL RETURNING id
    """
)

# While a GPU is quarantined nobody gets it, so the last one of its runs that was lost is its last one.
_QUARANTINED = """
    SELECT DISTINCT ON (g.id) g.id AS gpu_id, g.node, g.gpu_index, a.run_id
    FROM gpus g JOIN gpu_allocations a ON a.gpu_id = g.id JOIN jobs j ON j.id = a.job_id
    WHERE g.is_quarantined AND g.retired_at IS NULL AND g.executor = :executor
      AND j.reason = 'LOST' AND j.executor = :executor
    ORDER BY g.id, a.id DESC
"""
_LOST_RUNS = text(f"SELECT DISTINCT run_id FROM ({_QUARANTINED}) suspect")
_END_QUARANTINE = text(
    f"""
    WITH proved AS (
        SELECT gpu_id FROM ({_QUARANTINED}) suspect WHERE run_id = ANY(CAST(:run_ids AS uuid[]))
    )
    UPDATE gpus SET is_quarantined = false WHERE id IN (SELECT gpu_id FROM proved) AND is_quarantined
    RETURNING node, gpu_index
    """
)


async def sync_inventory(connection: AsyncConnection, *, executor: str, gpus: Sequence[GpuInfo], now: datetime) -> None:
    """Make the table equal to what the engine offers, within one transaction. A GPU that is gone is retired."""
    seen = [
        {
            "node": gpu.slot.node,
            "gpu_index": gpu.slot.index,
            "gpu_type": gpu.gpu_type,
            "uuid": gpu.slot.uuid,
            "memory_bytes": gpu.memory_bytes,
            "is_contended": gpu.contended,
            "is_busy": gpu.busy,
            "offline_reason": gpu.offline_reason,
        }
        for gpu in gpus
    ]
    await connection.execute(_LOCK_FLEET)
    await connection.execute(_SYNC, {"executor": executor, "gpus": json.dumps(seen), "now": now})


async def types(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Each GPU type with how many exist and how many could take a job now."""
    return (await connection.execute(_TYPES)).all()


async def lock_type(connection: AsyncConnection, gpu_type: str) -> None:
    """Let one transaction at a time hand out GPUs of this type; what it then reads as free stays free."""
    await connection.execute(_LOCK_TYPE, {"gpu_type": gpu_type})


async def pick_free(connection: AsyncConnection, *, gpu_type: str, num_gpus: int) -> Sequence[tuple[int, GpuSlot]]:
    """Up to `num_gpus` free GPUs with their ids. Fewer: that is all there are. Call `lock_type` first."""
    rows = await connection.execute(_PICK, {"gpu_type": gpu_type, "num_gpus": num_gpus})
    return [(row.id, GpuSlot(row.node, row.gpu_index, row.uuid)) for row in rows]


async def allocate(
    connection: AsyncConnection, *, gpu_ids: Sequence[int], job_id: int, run_id: UUID, now: datetime
) -> None:
    await connection.execute(_ALLOCATE, {"gpu_ids": list(gpu_ids), "job_id": job_id, "run_id": run_id, "now": now})


async def holders(connection: AsyncConnection, gpu_type: str) -> Sequence[int]:
    """The jobs that hold GPUs of this type."""
    return (await connection.execute(_HOLDERS, {"gpu_type": gpu_type})).scalars().all()


async def supply(connection: AsyncConnection, gpu_type: str) -> Row[Any]:
    """Of this type: how many GPUs are `free`, and by how many jobs others are `held_by`."""
    return (await connection.execute(_SUPPLY, {"gpu_type": gpu_type})).one()


async def fleet(connection: AsyncConnection, gpu_id: int | None = None) -> Sequence[Row[Any]]:
    """Every GPU with the job on it; or only one GPU."""
    return (await connection.execute(_FLEET, {"gpu_id": gpu_id})).all()


async def drain(connection: AsyncConnection, *, gpu_id: int, reason: str, user_id: int, now: datetime) -> bool:
    parameters = {"gpu_id": gpu_id, "reason": reason, "user_id": user_id, "now": now}
    return (await connection.execute(_DRAIN, parameters)).one_or_none() is not None


async def resume(connection: AsyncConnection, *, gpu_id: int) -> bool:
    return (await connection.execute(_RESUME, {"gpu_id": gpu_id})).one_or_none() is not None


async def lost_runs(connection: AsyncConnection, *, executor: str) -> Sequence[UUID]:
    """The lost runs of this engine because of which GPUs are quarantined."""
    return (await connection.execute(_LOST_RUNS, {"executor": executor})).scalars().all()


async def end_quarantine(
    connection: AsyncConnection, run_ids: Collection[UUID], *, executor: str
) -> Sequence[tuple[str, int]]:
    """Put the GPUs that lost runs had held back into service; one that was drained as well stays drained.

    Returns their nodes and indexes. Call `lease.fence` first.
    """
    await connection.execute(_LOCK_FLEET)
    rows = await connection.execute(_END_QUARANTINE, {"executor": executor, "run_ids": list(run_ids)})
    return [(row.node, row.gpu_index) for row in rows]
