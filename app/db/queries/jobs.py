"""Jobs: submitted, read, listed, moved through their states, and handed to an engine."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.domain.execution import EndReason
from app.domain.identity import Actor
from app.domain.job_request import JobFilter
from app.domain.job_state import FINAL, JobStatus
from app.models.job import NAME_WORDS

JobRow = Row[Any]

_COLUMNS = """
    j.*, owner.full_name AS owner_full_name, owner.email AS owner_email,
    decider.full_name AS decider_full_name, decider.email AS decider_email,
    CASE WHEN j.started_at IS NOT NULL THEN (
        SELECT jsonb_agg(jsonb_build_object('node', g.node, 'index', g.gpu_index) ORDER BY g.node, g.gpu_index)
        FROM gpu_allocations a JOIN gpus g ON g.id = a.gpu_id WHERE a.job_id = j.id
    ) END AS gpus,
    (SELECT coalesce(-sum(e.used_delta), 0)::bigint FROM quota_entries e WHERE e.job_id = j.id AND e.kind = 'REFUND')
        AS refunded_seconds
"""
_OUTLINE = """
    j.id, j.name, j.status, j.reason, j.gpu_type, j.num_gpus, j.time_limit_seconds, j.reserved_seconds,
    j.charged_seconds, j.created_at, j.decided_at, j.started_at, j.finished_at, j.decision_note,
    owner.full_name AS owner_full_name, owner.email AS owner_email, decider.email AS decider_email
"""
_FOUND = f"({NAME_WORDS} @@ to_tsquery('simple', :words) OR id = :number)"
ROWS_NEARBY = 2000
"""So many names are looked through in a few milliseconds."""

_PEOPLE = "JOIN users owner ON owner.id = j.user_id LEFT JOIN users decider ON decider.id = j.decided_by"

# One statement, so that one round trip reserves the quota, makes the job, and says why: it inserts all or nothing.
_SUBMIT = text(
    """
    WITH fleet AS (
        SELECT count(*) AS total FROM gpus WHERE gpu_type = :gpu_type AND retired_at IS NULL
    ), quota AS (
        UPDATE user_quotas SET reserved_seconds = reserved_seconds + :reserved_seconds, updated_at = :now
        WHERE user_id = :user_id AND starts_at <= :now AND ends_at > :now
          AND reserved_seconds + used_seconds + :reserved_seconds <= limit_seconds
          AND (SELECT total FROM fleet) >= :num_gpus
        RETURNING id
    ), job AS (
        INSERT INTO jobs (user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, data_location,
                          is_sensitive, justification, reserved_seconds, created_at, updated_at)
        SELECT :user_id, id, :name, :gpu_type, :num_gpus, :time_limit_seconds, :command, :data_location,
               :is_sensitive, :justification, :reserved_seconds, :now, :now
        FROM quota
        RETURNING *
    ), event AS (
        INSERT INTO job_events (job_id, user_id, seq, to_status, actor_user_id, created_at)
        SELECT id, user_id, 1, 'PENDING', user_id, :now FROM job
    ), entry AS (
        INSERT INTO quota_entries (quota_id, user_id, job_id, kind, reserved_delta, actor_user_id, created_at)
        SELECT quota_id, user_id, id, 'RESERVE', reserved_seconds, user_id, :now FROM job
    ), counted AS (
        INSERT INTO job_counts AS c (user_id, status, jobs) SELECT user_id, 'PENDING', 1 FROM job
        ON CONFLICT (user_id, status) DO UPDATE SET jobs = c.jobs + 1
    ), key AS (
        INSERT INTO idempotency_keys (user_id, key, body_sha256, job_id, created_at)
        SELECT user_id, :key, :body_sha256, id, :now FROM job WHERE CAST(:key AS text) IS NOT NULL
    )
    SELECT job.*, CAST(NULL AS jsonb) AS gpus, 0 AS refunded_seconds, CAST(NULL AS text) AS decider_full_name,
           CAST(NULL AS text) AS decider_email
    FROM job
    """
)
_GET = text(
    f"""
    SELECT {_COLUMNS} FROM jobs j {_PEOPLE}
    WHERE j.id = :job_id AND (CAST(:user_id AS bigint) IS NULL OR j.user_id = :user_id)
    """
)
_LOCK = text("SELECT * FROM jobs WHERE id = :job_id FOR NO KEY UPDATE")
# Two statements, because one that serves both cannot use the index.
_COUNTS = text("SELECT status, sum(jobs)::bigint AS jobs FROM job_counts GROUP BY status")
_COUNTS_OF_USER = text("SELECT status, jobs FROM job_counts WHERE user_id = :user_id")
_PENDING_AHEAD = text(
    "SELECT count(*) FROM (SELECT FROM jobs WHERE status = 'PENDING' AND id < :job_id LIMIT :limit) ahead"
)
_APPROVED_AHEAD = text(
    """
    SELECT count(*) FROM (
        SELECT FROM jobs
        WHERE status = 'APPROVED' AND gpu_type = :gpu_type AND run_id IS NULL
          AND (decided_at, id) < (:decided_at, :job_id)
        LIMIT :limit
    ) ahead
    """
)
_KEY = text("SELECT job_id, body_sha256, created_at FROM idempotency_keys WHERE user_id = :user_id AND key = :key")
_FORGET_KEYS = text("DELETE FROM idempotency_keys WHERE created_at <= :until")

# The locks are taken in one order everywhere: job, quota month, GPU, counts (in the order of a job's life), event.
# Jobs, months and GPUs are locked by statements of their own. A statement that locks a row and then changes it looks
# for the row as it was when it began: if others have changed it since, two of them can wait for each other.
_LOCK_MOVING = text(
    """
    WITH lease AS (
        SELECT 1 FROM dispatcher_lease WHERE term = :term AND expires_at > clock_timestamp() FOR SHARE
    )
    SELECT id FROM jobs
    WHERE id = ANY(CAST(:job_ids AS bigint[])) AND (CAST(:term AS bigint) IS NULL OR EXISTS (SELECT FROM lease))
    ORDER BY id FOR NO KEY UPDATE
    """
)
_LOCK_MONTHS = text(
    """
    SELECT id FROM user_quotas WHERE id IN (SELECT quota_id FROM jobs WHERE id = ANY(CAST(:job_ids AS bigint[])))
    ORDER BY id FOR NO KEY UPDATE
    """
)
_LOCK_GPUS = text(
    """
    SELECT id FROM gpus
    WHERE id IN (SELECT gpu_id FROM gpu_allocations
                 WHERE job_id = ANY(CAST(:job_ids AS bigint[])) AND released_at IS NULL)
    ORDER BY id FOR NO KEY UPDATE
    """
)
# The conditions that look at an earlier step's rows make PostgreSQL finish that step first.
_TRANSITION = text(
    """
    WITH move AS (
        SELECT * FROM jsonb_to_recordset(CAST(:moves AS jsonb)) AS m (
            job_id bigint, from_status text, to_status text, run_id uuid, executor text, reason text, note text,
            started_at timestamptz, ended_at timestamptz, error_message text, exit_code int, exit_signal int,
            charged_seconds bigint, refunded_seconds bigint, approved_digest text)
    ), changed AS (
        UPDATE jobs j SET
            status = m.to_status,
            event_seq = j.event_seq + 1,
            updated_at = :now,
            wait_reason = NULL,
            decided_at = CASE WHEN m.to_status IN ('APPROVED', 'REJECTED') THEN greatest(:now, j.created_at)
                              ELSE j.decided_at END,
            decided_by = CASE WHEN m.to_status IN ('APPROVED', 'REJECTED') THEN :actor_user_id ELSE j.decided_by END,
            decision_note = CASE WHEN m.to_status IN ('APPROVED', 'REJECTED') THEN m.note ELSE j.decision_note END,
            approved_digest = coalesce(decode(m.approved_digest, 'hex'), j.approved_digest),
            run_id = coalesce(j.run_id, m.run_id),
            executor = coalesce(j.executor, m.executor),
            started_at = CASE WHEN m.to_status = 'RUNNING'
                              THEN greatest(least(m.started_at, :now), j.decided_at, j.dispatched_at)
                              ELSE j.started_at END,
            finished_at = CASE WHEN m.to_status = ANY(:final)
                               THEN greatest(least(m.ended_at, :now), j.created_at, j.decided_at, j.started_at) END,
            reason = m.reason,
            error_message = m.error_message,
            exit_code = m.exit_code,
            exit_signal = m.exit_signal,
            progress = CASE WHEN m.to_status = 'COMPLETED' THEN 1 ELSE j.progress END,
            charged_seconds = coalesce(m.charged_seconds, 0)
        FROM move m
        WHERE j.id = m.job_id AND j.status = m.from_status
          AND (j.run_id IS NULL OR m.run_id IS NULL OR j.run_id = m.run_id)
        RETURNING j.id, j.user_id, j.quota_id, j.event_seq, m.from_status, j.status, j.reason, m.note,
                  j.reserved_seconds, j.charged_seconds, coalesce(m.refunded_seconds, 0) AS refunded_seconds,
                  j.started_at, j.finished_at, m.run_id
    ), settled AS (
        UPDATE user_quotas q
        SET reserved_seconds = q.reserved_seconds - s.reserved, used_seconds = q.used_seconds + s.charged,
            updated_at = :now
        FROM (
            SELECT quota_id, sum(reserved_seconds)::bigint AS reserved,
                   sum(charged_seconds - refunded_seconds)::bigint AS charged
            FROM changed WHERE finished_at IS NOT NULL GROUP BY quota_id
        ) s
        WHERE q.id = s.quota_id
    ), quarantined AS (
        UPDATE gpus SET is_quarantined = true WHERE id IN (
            SELECT a.gpu_id FROM gpu_allocations a JOIN changed c ON c.id = a.job_id
            WHERE c.reason = 'LOST' AND a.released_at IS NULL
        )
    ), released AS (
        UPDATE gpu_allocations a SET released_at = greatest(:now, a.allocated_at)
        FROM changed c WHERE a.job_id = c.id AND c.finished_at IS NOT NULL AND a.released_at IS NULL
    ), fewer AS (
        UPDATE job_counts c SET jobs = c.jobs - d.jobs
        FROM (SELECT user_id, from_status, count(*) AS jobs FROM changed GROUP BY 1, 2) d
        WHERE c.user_id = d.user_id AND c.status = d.from_status
        RETURNING c.user_id
    ), more AS (
        INSERT INTO job_counts AS c (user_id, status, jobs)
        SELECT user_id, status, count(*) FROM changed WHERE (SELECT count(*) FROM fewer) >= 0 GROUP BY 1, 2
        ON CONFLICT (user_id, status) DO UPDATE SET jobs = c.jobs + excluded.jobs
    ), entries AS (
        INSERT INTO quota_entries
            (quota_id, user_id, job_id, kind, reserved_delta, used_delta, actor_user_id, actor_process, created_at)
        SELECT quota_id, user_id, id, kind, reserved_delta, used_delta, :actor_user_id, :actor_process, :now
        FROM changed, LATERAL (VALUES
            (CASE WHEN started_at IS NULL THEN 'RELEASE' ELSE 'SETTLE' END, -reserved_seconds, charged_seconds),
            ('REFUND', 0, -refunded_seconds)
        ) AS entry (kind, reserved_delta, used_delta)
        WHERE finished_at IS NOT NULL AND (kind <> 'REFUND' OR refunded_seconds > 0)
    ), events AS (
        INSERT INTO job_events
            (job_id, user_id, seq, from_status, to_status, reason, note, actor_user_id, actor_process, created_at)
        SELECT id, user_id, event_seq, from_status, status, reason, note, :actor_user_id, :actor_process, :now
        FROM changed
    )
    SELECT id FROM changed
    """
)
# What is noted about a job without moving it: a hand-over to an engine's queue, or a request to stop its run.
_DISPATCH = text(
    """
    WITH noted AS (
        UPDATE jobs SET run_id = :run_id, executor = :executor, dispatched_at = :now, event_seq = event_seq + 1,
                        updated_at = :now, wait_reason = NULL
        WHERE id = :job_id AND status = 'APPROVED' AND run_id IS NULL
        RETURNING id, user_id, event_seq, status
    ), event AS (
        INSERT INTO job_events
            (job_id, user_id, seq, kind, from_status, to_status, actor_user_id, actor_process, created_at)
        SELECT id, user_id, event_seq, 'DISPATCHED', status, status, :actor_user_id, :actor_process, :now FROM noted
    )
    SELECT id FROM noted
    """
)
_REQUEST_CANCEL = text(
    """
    WITH noted AS (
        UPDATE jobs SET cancel_requested_at = :now, cancel_requested_by = :user_id, cancel_reason = :reason,
                        event_seq = event_seq + 1, updated_at = :now
        WHERE id = :job_id AND run_id IS NOT NULL AND finished_at IS NULL AND cancel_requested_at IS NULL
        RETURNING id, user_id, event_seq, status
    ), event AS (
        INSERT INTO job_events
            (job_id, user_id, seq, kind, from_status, to_status, note, actor_user_id, created_at)
        SELECT id, user_id, event_seq, 'CANCEL_REQUESTED', status, status, :reason, :user_id, :now FROM noted
    )
    SELECT id FROM noted
    """
)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a person asks for, in the units of the database."""

    user_id: int
    name: str
    gpu_type: str
    num_gpus: int
    time_limit_seconds: int
    reserved_seconds: int
    command: str
    data_location: str | None
    is_sensitive: bool
    justification: str | None


@dataclass(frozen=True, slots=True)
class Move:
    """One job's step to another status. It happens only if the job is still in `from_status` and of this run.

    What an engine says of moments (`started_at`, `ended_at`) counts as far as it lies between what is known before and
    now; without it, now does.
    """

    job_id: int
    from_status: JobStatus
    to_status: JobStatus
    run_id: UUID | None = None
    executor: str | None = None
    reason: EndReason | None = None
    note: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error_message: str | None = None
    exit_code: int | None = None
    exit_signal: int | None = None
    charged_seconds: int | None = None
    refunded_seconds: int | None = None
    approved_digest: bytes | None = None
    """Of the request that is approved; nothing else is ever launched."""


async def submit(
    connection: AsyncConnection, job: NewJob, *, key: str | None, body_sha256: bytes | None, now: datetime
) -> JobRow | None:
    """Reserve the quota and make the job. None: the month, its quota or the fleet does not allow it.

    Raises:
        sqlalchemy.exc.IntegrityError: this idempotency key was used before.
    """
    parameters: dict[str, Any] = {
        "user_id": job.user_id,
        "name": job.name,
        "gpu_type": job.gpu_type,
        "num_gpus": job.num_gpus,
        "time_limit_seconds": job.time_limit_seconds,
        "reserved_seconds": job.reserved_seconds,
        "command": job.command,
        "data_location": job.data_location,
        "is_sensitive": job.is_sensitive,
        "justification": job.justification,
        "key": key,
        "body_sha256": body_sha256,
        "now": now,
    }
    return (await connection.execute(_SUBMIT, parameters)).one_or_none()


async def get(connection: AsyncConnection, job_id: int, *, visible_to: int | None) -> JobRow | None:
    """One job; with `visible_to`, only if it belongs to that user."""
    return (await connection.execute(_GET, {"job_id": job_id, "user_id": visible_to})).one_or_none()


async def lock(connection: AsyncConnection, job_id: int) -> JobRow | None:
    """The job's row, kept from changing until the transaction ends."""
    return (await connection.execute(_LOCK, {"job_id": job_id})).one_or_none()


async def page(connection: AsyncConnection, filters: JobFilter, *, cursor: int | None, limit: int) -> Sequence[JobRow]:
    """One page in the order of ids."""
    return await _read_page(connection, _COLUMNS, filters, cursor=cursor, limit=limit)


async def outlines(
    connection: AsyncConnection, filters: JobFilter, *, cursor: int | None, limit: int
) -> Sequence[JobRow]:
    """The same page without what may be long (the command, the justification) and without the GPUs."""
    return await _read_page(connection, _OUTLINE, filters, cursor=cursor, limit=limit)


async def id_at(connection: AsyncConnection, filters: JobFilter, *, cursor: int | None, place: int) -> int | None:
    """The id of the row at this place after the cursor, from 1 on. None: no row follows it, if there is one at all."""
    ids_of = _found_everywhere if _searches(filters) else _listed
    ids, parameters = ids_of(filters, cursor=cursor, limit=place + 1)
    statement = f"SELECT id FROM ({ids}) page ORDER BY id {_direction(filters)} OFFSET :before"
    found = (await connection.execute(text(statement), {**parameters, "before": place - 1})).scalars().all()
    return found[0] if len(found) > 1 else None


async def counts(connection: AsyncConnection, *, user_id: int | None) -> Mapping[JobStatus, int]:
    """How many jobs stand in each status, a user's own or everybody's."""
    if user_id is None:
        rows = await connection.execute(_COUNTS)
    else:
        rows = await connection.execute(_COUNTS_OF_USER, {"user_id": user_id})
    found = {row.status: row.jobs for row in rows}
    return {status: found.get(status, 0) for status in JobStatus}


async def pending_ahead(connection: AsyncConnection, job_id: int, *, limit: int) -> int:
    """How many jobs that were submitted earlier wait for their decision: at most `limit`."""
    parameters = {"job_id": job_id, "limit": limit}
    return int((await connection.execute(_PENDING_AHEAD, parameters)).scalar_one())


async def approved_ahead(
    connection: AsyncConnection, job_id: int, *, gpu_type: str, decided_at: datetime, limit: int
) -> int:
    """How many jobs that were approved earlier wait for GPUs of this type: at most `limit`."""
    parameters = {"job_id": job_id, "gpu_type": gpu_type, "decided_at": decided_at, "limit": limit}
    return int((await connection.execute(_APPROVED_AHEAD, parameters)).scalar_one())


async def idempotency_key(connection: AsyncConnection, *, user_id: int, key: str) -> Row[Any] | None:
    return (await connection.execute(_KEY, {"user_id": user_id, "key": key})).one_or_none()


async def forget_idempotency_keys(connection: AsyncConnection, *, until: datetime) -> None:
    await connection.execute(_FORGET_KEYS, {"until": until})


async def move(
    connection: AsyncConnection, moves: Collection[Move], *, actor: Actor, now: datetime, term: int | None
) -> set[int]:
    """Compare-and-set the status of these jobs, with quota, GPUs, counts and events, within one transaction.

    A job that is no longer in its `from_status`, or not of its `run_id`, is left alone; with `term`, all are unless the
    lease is held in that term. Returns the ids of those that moved.
    """
    locked = await connection.execute(_LOCK_MOVING, {"job_ids": [move.job_id for move in moves], "term": term})
    job_ids = list(locked.scalars())
    if not job_ids:
        return set()
    if any(move.to_status in FINAL for move in moves):
        await connection.execute(_LOCK_MONTHS, {"job_ids": job_ids})
    if any(move.reason is EndReason.LOST for move in moves):
        await connection.execute(_LOCK_GPUS, {"job_ids": job_ids})
    parameters = {
        "moves": json.dumps([_as_json(move) for move in moves]),
        "actor_user_id": actor.user_id,
        "actor_process": actor.process,
        "final": sorted(FINAL),
        "now": now,
    }
    return set((await connection.execute(_TRANSITION, parameters)).scalars())


async def dispatch(
    connection: AsyncConnection, *, job_id: int, run_id: UUID, executor: str, actor: Actor, now: datetime
) -> bool:
    """Note that an approved job is handed to an engine that queues by itself."""
    parameters = {
        "job_id": job_id,
        "run_id": run_id,
        "executor": executor,
        "actor_user_id": actor.user_id,
        "actor_process": actor.process,
        "now": now,
    }
    return (await connection.execute(_DISPATCH, parameters)).one_or_none() is not None


async def request_cancel(
    connection: AsyncConnection, *, job_id: int, user_id: int, reason: str | None, now: datetime
) -> bool:
    """Note that somebody wants a job's run stopped. False: there is no run, it has ended, or was asked to already."""
    parameters = {"job_id": job_id, "user_id": user_id, "reason": reason, "now": now}
    return (await connection.execute(_REQUEST_CANCEL, parameters)).one_or_none() is not None


async def _read_page(
    connection: AsyncConnection, columns: str, filters: JobFilter, *, cursor: int | None, limit: int
) -> Sequence[JobRow]:
    """A word that many jobs have is found at once among the next ones, a rare one by its index.

    PostgreSQL cannot tell the two apart: it would read the whole table for a word that there is not.
    """
    rows: Sequence[JobRow] = ()
    for ids_of in (_found_nearby, _found_everywhere) if _searches(filters) else (_listed,):
        ids, parameters = ids_of(filters, cursor=cursor, limit=limit)
        statement = f"""
            SELECT {columns}
            FROM ({ids}) page
            JOIN jobs j ON j.id = page.id {_PEOPLE} ORDER BY j.id {_direction(filters)}
        """
        rows = (await connection.execute(text(statement), parameters)).all()
        if len(rows) == limit:
            break
    return rows


def _listed(filters: JobFilter, *, cursor: int | None, limit: int, columns: str = "id") -> tuple[str, dict[str, Any]]:
    """The ids of a page, whatever words are sought. Each status is read from its own index range, so a rare one is as
    fast as any. The jobs of a GPU type stand in the index by status, so they are read like a list of all statuses.
    """
    direction = _direction(filters)
    conditions, parameters = _conditions(filters, cursor)
    parameters["limit"] = limit
    branches = []
    for number, status in enumerate(filters.statuses or (tuple(JobStatus) if filters.gpu_type else (None,))):
        wanted = [*conditions, f"status = :status_{number}"] if status else conditions
        parameters |= {f"status_{number}": status} if status else {}
        branches.append(f"SELECT {columns} FROM jobs {_where(wanted)} ORDER BY id {direction} LIMIT :limit")
    if len(branches) == 1:
        return branches[0], parameters
    together = " UNION ALL ".join(f"({branch})" for branch in branches)
    return f"{together} ORDER BY id {direction} LIMIT :limit", parameters


def _found_nearby(filters: JobFilter, *, cursor: int | None, limit: int) -> tuple[str, dict[str, Any]]:
    """The ids of those among the next jobs of the list that the search finds."""
    nearby, parameters = _listed(filters, cursor=cursor, limit=ROWS_NEARBY, columns="id, name")
    ids = f"SELECT id FROM ({nearby}) nearby WHERE {_FOUND} ORDER BY id {_direction(filters)} LIMIT :found_limit"
    return ids, parameters | _sought(filters) | {"found_limit": limit}


def _found_everywhere(filters: JobFilter, *, cursor: int | None, limit: int) -> tuple[str, dict[str, Any]]:
    """The ids of a page of those that the search finds. `OFFSET 0` leaves no index to choose but that of the words."""
    conditions, parameters = _conditions(filters, cursor)
    if filters.statuses:
        conditions.append("status = ANY(:statuses)")
        parameters["statuses"] = list(filters.statuses)
    found = f"SELECT id FROM jobs {_where([*conditions, _FOUND])} OFFSET 0"
    ids = f"SELECT id FROM ({found}) found ORDER BY id {_direction(filters)} LIMIT :limit"
    return ids, parameters | _sought(filters) | {"limit": limit}


def _direction(filters: JobFilter) -> str:
    return "ASC" if filters.oldest_first else "DESC"


def _conditions(filters: JobFilter, cursor: int | None) -> tuple[list[str], dict[str, Any]]:
    """All but statuses and words."""
    conditions: list[str] = []
    parameters: dict[str, Any] = {}
    if filters.user_id is not None:
        conditions.append("user_id = :user_id")
        parameters["user_id"] = filters.user_id
    if filters.gpu_type is not None:
        conditions.append("gpu_type = :gpu_type")
        parameters["gpu_type"] = filters.gpu_type
    if cursor is not None:
        conditions.append(f"id {'>' if filters.oldest_first else '<'} :cursor")
        parameters["cursor"] = cursor
    return conditions, parameters


def _where(conditions: Sequence[str]) -> str:
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _searches(filters: JobFilter) -> bool:
    return filters.search is not None and filters.search.strip() != ""


def _sought(filters: JobFilter) -> dict[str, Any]:
    search = filters.search or ""
    return {"words": _prefix_query(search), "number": int(search) if re.fullmatch(r"\d{1,18}", search) else -1}


def _prefix_query(search: str) -> str:
    """Every word must begin a word of the name."""
    return " & ".join(f"{word}:*" for word in re.findall(r"[^\W_]+", search))


def _as_json(move: Move) -> dict[str, Any]:
    return {name: _json_value(getattr(move, name)) for name in Move.__slots__}


def _json_value(value: object) -> int | str | None:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, int | None) else str(value)
