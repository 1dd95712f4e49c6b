"""What happened, in an order that never skips: by transaction, and only up to the oldest one still open.

A sequence number alone would not do: a transaction may commit after a later number has been read already.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_POSITION = text("SELECT pg_snapshot_xmin(pg_current_snapshot()) AS xid")
_SINCE = text(
    """
    SELECT * FROM (
        SELECT e.xid, e.id, e.user_id, e.job_id, e.seq, e.kind, e.from_status, e.to_status, e.reason,
               e.created_at
        FROM job_events e
        WHERE (e.xid, e.id) > (:xid, :id) AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
          AND (CAST(:user_id AS bigint) IS NULL OR e.user_id = :user_id)
          AND e.created_at > :oldest
        ORDER BY e.xid, e.id LIMIT :limit
    ) job_event
    UNION ALL
    SELECT * FROM (
        SELECT q.xid, q.id, q.user_id, NULL::bigint, NULL::int, q.kind, NULL::text, NULL::text, NULL::text,
               q.created_at
        FROM quota_entries q
        WHERE (q.xid, q.id) > (:xid, :id) AND q.xid < pg_snapshot_xmin(pg_current_snapshot())
          AND q.kind IN ('LIMIT', 'ADJUST', 'REFUND')
          AND (CAST(:user_id AS bigint) IS NULL OR q.user_id = :user_id)
          AND q.created_at > :oldest
        ORDER BY q.xid, q.id LIMIT :limit
    ) quota_event
    """
)
_OUTLIVED = text(
    """
    SELECT EXISTS (SELECT FROM job_events WHERE (xid, id) > (:xid, :id) AND created_at <= :oldest
                   AND xid < pg_snapshot_xmin(pg_current_snapshot()))
    """
)
_OF_JOB = text(
    """
    SELECT e.id, e.seq, e.kind, e.from_status, e.to_status, e.reason, e.note, e.created_at, e.actor_process,
           actor.id AS actor_id, actor.full_name AS actor_full_name, actor.email AS actor_email
    FROM job_events e LEFT JOIN users actor ON actor.id = e.actor_user_id
    WHERE e.job_id = :job_id ORDER BY e.seq
    """
)
_LAST_OF_JOB = text(
    """
    SELECT e.to_status, e.created_at, e.actor_user_id, e.actor_process,
           coalesce(actor.full_name, actor.email) AS actor_name
    FROM job_events e LEFT JOIN users actor ON actor.id = e.actor_user_id
    WHERE e.job_id = :job_id AND e.kind = 'TRANSITION' ORDER BY e.seq DESC LIMIT 1
    """
)
_STARTER = text(
    """
    SELECT actor_user_id FROM job_events
    WHERE job_id = :job_id AND (kind = 'DISPATCHED' OR (kind = 'TRANSITION' AND to_status = 'RUNNING'))
    ORDER BY seq LIMIT 1
    """
)
_LIVE_CREDENTIALS = text(
    """
    SELECT s.id, u.token_version, u.is_admin FROM sessions s JOIN users u ON u.id = s.user_id
    WHERE s.id = ANY(CAST(:ids AS uuid[])) AND s.revoked_at IS NULL AND s.expires_at > :now AND u.is_active
    UNION ALL
    SELECT t.id, u.token_version, u.is_admin AND 'admin' = ANY(t.scopes)
    FROM personal_access_tokens t JOIN users u ON u.id = t.user_id
    WHERE t.id = ANY(CAST(:ids AS uuid[])) AND t.revoked_at IS NULL AND t.expires_at > :now AND u.is_active
    """
)


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the stream of events: everything up to and with this transaction and number has been seen."""

    xid: int
    id: int

    def __str__(self) -> str:
        return f"{self.xid}-{self.id}"

    @classmethod
    def parse(cls, value: str) -> Self | None:
        """Read a client's `Last-Event-ID`. None: it is not one of ours."""
        xid, _, number = value.partition("-")
        if not (xid.isascii() and xid.isdecimal() and number.isascii() and number.isdecimal()):
            return None
        cursor = cls(int(xid), int(number))
        return cursor if cursor.xid < 2**64 and cursor.id < 2**63 else None


async def position(connection: AsyncConnection) -> Cursor:
    """The end of the stream now."""
    return Cursor((await connection.execute(_POSITION)).scalar_one() - 1, 2**63 - 1)


async def since(
    connection: AsyncConnection, cursor: Cursor, *, user_id: int | None, oldest: datetime, limit: int
) -> Sequence[Row[Any]]:
    """Events after the cursor, oldest first, none younger than the oldest open transaction; of one user, or of all."""
    parameters = {"xid": cursor.xid, "id": cursor.id, "user_id": user_id, "oldest": oldest, "limit": limit}
    rows = (await connection.execute(_SINCE, parameters)).all()
    return sorted(rows, key=lambda row: (row.xid, row.id))[:limit]


async def within_window(connection: AsyncConnection, cursor: Cursor, *, oldest: datetime) -> bool:
    """Did everything after this cursor happen after `oldest`? Only then can it be replayed without a hole."""
    parameters = {"xid": cursor.xid, "id": cursor.id, "oldest": oldest}
    return not (await connection.execute(_OUTLIVED, parameters)).scalar_one()


async def of_job(connection: AsyncConnection, job_id: int) -> Sequence[Row[Any]]:
    """The job's whole history, oldest first."""
    return (await connection.execute(_OF_JOB, {"job_id": job_id})).all()


async def last_transition(connection: AsyncConnection, job_id: int) -> Row[Any]:
    """The job's latest step and who made it."""
    return (await connection.execute(_LAST_OF_JOB, {"job_id": job_id})).one()


async def starter(connection: AsyncConnection, job_id: int) -> int | None:
    """The person who decided that the job runs. None: nobody has, or the dispatcher did."""
    return (await connection.execute(_STARTER, {"job_id": job_id})).scalar_one_or_none()


async def live_credentials(connection: AsyncConnection, ids: Collection[UUID], *, now: datetime) -> Sequence[Row[Any]]:
    """Those of these sessions and personal tokens that may still read, with the token version and role behind them."""
    return (await connection.execute(_LIVE_CREDENTIALS, {"ids": list(ids), "now": now})).all()
