"""From a job's row to what an engine is told, and the reading of a run's log and utilisation."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.queries import runs
from app.domain.errors import LogOutOfReach
from app.domain.execution import GpuSlot, JobSpec, LogChunk, LogUnavailable, RunReader, UtilisationSample
from app.domain.identity import Caller
from app.services import jobs
from app.services.events import EventFeed

STREAMED_BYTES = 65_536
LINE_SOUGHT_BYTES = 65_536
FOLLOW_INTERVAL_SECONDS = 1.0
INSIDE_A_CHARACTER = bytes(range(0x80, 0xC0))
"""What a character of UTF-8 goes on with, three bytes at most."""


@dataclass(frozen=True, slots=True)
class RunOfJob:
    """A job's run as the engine knows it, and what is recorded of it; `spec` is None while the job has none."""

    spec: JobSpec | None
    ended_at: datetime | None
    progress: float = 0.0
    """The greatest that the dispatcher has seen and recorded."""


def spec_of(row: Row[Any]) -> JobSpec:
    """What the engine is told about this run. Equal for every call, so that a repeated start is the same start."""
    return JobSpec(
        run_id=row.run_id,
        job_id=row.id,
        name=row.name,
        owner_email=row.owner_email,
        command=row.command,
        gpu_type=row.gpu_type,
        num_gpus=row.num_gpus,
        time_limit=timedelta(seconds=row.time_limit_seconds),
        launched_at=row.dispatched_at or row.started_at,
        slots=tuple(GpuSlot(node, index, uuid) for node, index, uuid in row.slots or ()),
        data_location=row.data_location,
    )


async def find(connection: AsyncConnection, caller: Caller, job_id: int) -> RunOfJob:
    """The run of a job that this caller may see.

    Raises:
        NotFound: unknown, or another person's.
    """
    job = await jobs.read(connection, caller, job_id)
    spec = None if job.run_id is None else spec_of(await runs.one(connection, job_id))
    return RunOfJob(spec, ended_at=job.finished_at, progress=job.progress or 0.0)


async def read_log(reader: RunReader, run: RunOfJob, *, offset: int, limit: int) -> LogChunk:
    """A part of the log. Hold no database connection here: a file or a network may be slow.

    Raises:
        LogOutOfReach: the engine cannot read it from here.
    """
    if run.spec is None:
        return LogChunk(offset=offset, data=b"", size=0, complete=run.ended_at is not None)
    try:
        return await reader.read_log(run.spec, ended_at=run.ended_at, progress=run.progress, offset=offset, limit=limit)
    except LogUnavailable as unavailable:
        raise LogOutOfReach(where=unavailable.where) from unavailable


async def find_tail(reader: RunReader, run: RunOfJob, tail: int) -> int:
    """Where the last `tail` bytes begin, or rather the first whole line in them.

    Where no line begins within `LINE_SOUGHT_BYTES`, or none but the end of the log, it is the first whole character.
    """
    before = (await read_log(reader, run, offset=0, limit=1)).size - tail - 1
    if before < 0:
        return 0
    chunk = await read_log(reader, run, offset=before, limit=min(tail + 1, LINE_SOUGHT_BYTES))
    line_break = chunk.data.find(b"\n", 0, -1)
    if line_break >= 0:
        return chunk.offset + line_break + 1
    begin = max(before + 1, chunk.offset)
    first_bytes = chunk.data[begin - chunk.offset :][:3]
    return begin + len(first_bytes) - len(first_bytes.lstrip(INSIDE_A_CHARACTER))


async def download_log(reader: RunReader, run: RunOfJob) -> AsyncIterator[bytes]:
    """What is kept of the log as long as it is now, piece by piece."""
    return _pieces(reader, run, await read_log(reader, run, offset=0, limit=STREAMED_BYTES))


async def _pieces(reader: RunReader, run: RunOfJob, first: LogChunk) -> AsyncIterator[bytes]:
    """From the first one to the size it tells; less if the log is lost meanwhile."""
    chunk = first
    while chunk.data:
        yield chunk.data
        left = first.size - chunk.next_offset
        if left <= 0:
            return
        try:
            chunk = await read_log(reader, run, offset=chunk.next_offset, limit=min(STREAMED_BYTES, left))
        except LogOutOfReach:
            return


async def follow_log(
    database: Database, feed: EventFeed, reader: RunReader, caller: Caller, job_id: int, *, offset: int
) -> AsyncIterator[bytes]:
    """The log from `offset` on, as it grows, until the job has ended or nobody may or can read it any longer.

    Where bytes were left out it ends, too: whoever counts what comes would not notice. The next read tells its offset.
    A log can be complete a moment before the job is settled; whoever reads the job afterwards should find it final.
    """
    with feed.subscribe(caller) as subscription:
        run = await _find_anew(database, caller, job_id)
        while not subscription.is_closed:
            try:
                chunk = await read_log(reader, run, offset=offset, limit=STREAMED_BYTES)
            except LogOutOfReach:
                return
            if chunk.data and chunk.offset != offset:
                return
            if chunk.data:
                offset = chunk.next_offset
                yield chunk.data
            elif chunk.complete and run.ended_at is not None:
                return
            await subscription.wait(0 if chunk.data else FOLLOW_INTERVAL_SECONDS)
            if not chunk.data:
                run = await _look_again(database, caller, job_id, run)


async def read_utilisation(reader: RunReader, run: RunOfJob, *, limit: int) -> Sequence[UtilisationSample]:
    """What the run's GPUs did, oldest first, thinned to `limit` samples."""
    if run.spec is None:
        return []
    return await reader.read_utilisation(run.spec, ended_at=run.ended_at, limit=limit)


async def _look_again(database: Database, caller: Caller, job_id: int, run: RunOfJob) -> RunOfJob:
    """What is recorded of the run by now; what was, while the database is away."""
    try:
        return await _find_anew(database, caller, job_id)
    except (DBAPIError, PoolTimeout, OSError, TimeoutError):
        return run


async def _find_anew(database: Database, caller: Caller, job_id: int) -> RunOfJob:
    async with database.autocommit() as connection:
        return await find(connection, caller, job_id)
