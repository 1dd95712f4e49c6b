"""Long lists as files for spreadsheets.

A file is read in batches, so that no connection waits for a client that reads slowly. The first batch and the place
where a following file would begin are read before the answer begins, so that a refusal still is one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import Clock
from app.db.engine import Database
from app.db.queries import audit, events, jobs, quotas
from app.db.queries.audit import AuditFilter
from app.domain.errors import NotAuthenticated
from app.domain.identity import Caller
from app.domain.job_request import JobFilter
from app.schemas import spreadsheet
from app.schemas.exports import Sheet

ROWS_IN_A_BATCH = 500
ROWS_IN_A_FILE = 100_000
LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Listing:
    """A list that can be read from any place on.

    `read(connection, last_id, limit)` gives rows after one, `id_at(connection, last_id, place)` the id of a row that
    others follow.
    """

    read: Callable[[AsyncConnection, int | None, int], Awaitable[Sequence[Row[Any]]]]
    id_at: Callable[[AsyncConnection, int | None, int], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Export:
    """A file that is about to be sent. `last_id` is its last row if others follow it, in another file."""

    chunks: AsyncIterator[bytes]
    last_id: int | None


def list_jobs(filters: JobFilter) -> Listing:
    return Listing(
        read=lambda connection, last_id, limit: jobs.outlines(connection, filters, cursor=last_id, limit=limit),
        id_at=lambda connection, last_id, place: jobs.id_at(connection, filters, cursor=last_id, place=place),
    )


def list_audit_entries(chosen: AuditFilter) -> Listing:
    return Listing(
        read=lambda connection, last_id, limit: audit.page(connection, chosen, last_id=last_id, limit=limit),
        id_at=lambda connection, last_id, place: audit.id_at(connection, chosen, last_id=last_id, place=place),
    )


def list_quota_entries(user_id: int) -> Listing:
    return Listing(
        read=lambda connection, last_id, limit: quotas.entries(
            connection, user_id=user_id, before=last_id or LARGEST_ID, limit=limit
        ),
        id_at=lambda connection, last_id, place: quotas.entry_id_at(
            connection, user_id=user_id, before=last_id or LARGEST_ID, place=place
        ),
    )


async def begin(
    database: Database,
    caller: Caller,
    listing: Listing,
    *,
    last_id: int | None,
    sheet: Sheet,
    zone: tzinfo,
    clock: Clock,
) -> Export:
    """A file of at most `ROWS_IN_A_FILE` rows after `last_id`, with times of this zone."""
    async with database.autocommit() as connection:
        first = await listing.read(connection, last_id, ROWS_IN_A_BATCH)
        last = await listing.id_at(connection, last_id, ROWS_IN_A_FILE) if len(first) == ROWS_IN_A_BATCH else None
    batches = _batches(database, caller, listing, first, clock)
    return Export(_encoded(sheet, zone, batches), last)


async def _encoded(sheet: Sheet, zone: tzinfo, batches: AsyncIterator[Sequence[Row[Any]]]) -> AsyncIterator[bytes]:
    yield spreadsheet.table(sheet.columns, ()).encode()
    async for rows in batches:
        yield spreadsheet.lines(sheet.cells(row, zone) for row in rows).encode()


async def _batches(
    database: Database, caller: Caller, listing: Listing, rows: Sequence[Row[Any]], clock: Clock
) -> AsyncIterator[Sequence[Row[Any]]]:
    """Up to the end of the list or of the file.

    Raises:
        NotAuthenticated: the caller has lost the right to read on. The client sees the file break off.
    """
    left = ROWS_IN_A_FILE
    while rows:
        yield rows
        left -= len(rows)
        if len(rows) < ROWS_IN_A_BATCH or left == 0:
            return
        async with database.autocommit() as connection:
            if not await _may_still_read(connection, caller, clock):
                raise NotAuthenticated
            rows = await listing.read(connection, rows[-1].id, min(ROWS_IN_A_BATCH, left))


async def _may_still_read(connection: AsyncConnection, caller: Caller, clock: Clock) -> bool:
    """Whether the session or token lives, and the caller's rights are those with which the file was begun."""
    credentials = await events.live_credentials(connection, {caller.credential_id}, now=clock())
    return [(row.token_version, row.is_admin) for row in credentials] == [(caller.token_version, caller.is_admin)]
