"""Which part of a job's log is wanted, and how."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError
from pydantic import Field

from app.schemas.text import FoldedInt

LARGEST_LOG_READ = 1_048_576

Offset = Annotated[FoldedInt, Field(ge=0, le=2**62)]
Tail = Annotated[FoldedInt, Field(ge=1, le=LARGEST_LOG_READ)]


@dataclass(frozen=True, slots=True)
class LogQuery:
    """From `offset`, or the last `tail` bytes; `limit` bytes of it, all that follows, or the whole log as a file."""

    offset: int
    tail: int | None
    limit: int
    follow: bool
    download: bool


async def get_log_query(
    offset: Annotated[Offset | None, Query(description="The first byte wanted; 0 if it is left out.")] = None,
    tail: Annotated[
        Tail | None,
        Query(description="Begin that many bytes before the end, or up to a line later, to begin with a whole line."),
    ] = None,
    limit: Annotated[FoldedInt, Query(ge=1, le=LARGEST_LOG_READ, description="Bytes at most.")] = 65_536,
    follow: Annotated[bool, Query(description="Keep sending what the job prints until it ends.")] = False,
    download: Annotated[bool, Query(description="The whole log so far, as a file.")] = False,
) -> LogQuery:
    if tail is not None and offset is not None:
        raise RequestValidationError([{"type": "tail_with_offset", "loc": ("query", "tail")}])
    if download and (follow or tail is not None or offset is not None):
        raise RequestValidationError([{"type": "download_of_a_part", "loc": ("query", "download")}])
    return LogQuery(offset or 0, tail, limit, follow, download)


LogPart = Annotated[LogQuery, Depends(get_log_query)]
