"""A job's log, byte for byte: as it is, its end, or as it grows, over broken connections and restarts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gtm.errors import CommandError, ExitCode
from gtm.service import Service

LARGEST_PART = 1_048_576
BYTES_OF_A_LINE = 120
SILENCE_SECONDS = 60.0
"""A connection may have died without a word. To ask again after a silence costs nothing: the place is known."""
IDLE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class LogPart:
    """Bytes `[offset, next_offset)` of a log that has `size` now; `is_last`: nothing comes after them, ever."""

    data: bytes
    offset: int
    next_offset: int
    size: int
    is_last: bool


def read_part(service: Service, job_id: int, **where: Any) -> LogPart:
    """A part from `offset`, or the last `tail` bytes, `limit` bytes at most."""
    answer = service.request("GET", _path(job_id), params={"limit": LARGEST_PART, **where}, repeat=True)
    return LogPart(
        data=answer.content,
        offset=int(answer.headers["X-Log-Offset"]),
        next_offset=int(answer.headers["X-Log-Next-Offset"]),
        size=int(answer.headers["X-Log-Size"]),
        is_last=answer.headers["X-Log-Complete"] == "true",
    )


def read_all(service: Service, job_id: int) -> Iterator[LogPart]:
    """The log as long as it is now."""
    part = read_part(service, job_id, offset=0)
    yield part
    while part.data and part.next_offset < part.size:
        part = read_part(service, job_id, offset=part.next_offset)
        yield part


def read_last_lines(service: Service, job_id: int, lines: int) -> LogPart:
    """The last `lines` lines, or as many of them as fit into a mebibyte."""
    wanted = min(LARGEST_PART, max(1, lines * BYTES_OF_A_LINE))
    part = read_part(service, job_id, tail=wanted)
    if part.offset > 0 and part.data.count(b"\n") < lines and wanted < LARGEST_PART:
        part = read_part(service, job_id, tail=LARGEST_PART)
    last = last_lines(part.data, lines)
    return replace(part, data=last, offset=part.next_offset - len(last))


def last_lines(data: bytes, lines: int) -> bytes:
    """What a carriage return overwrites belongs to its line: progress bars are one line each."""
    begin = len(data) - data.endswith(b"\n")
    for _ in range(lines):
        begin = data.rfind(b"\n", 0, begin)
        if begin < 0:
            return data
    return data[begin + 1 :] if lines else b""


def follow(service: Service, job_id: int, offset: int, *, skipped: Callable[[int], None]) -> Iterator[bytes]:
    """The log from `offset` on as it grows, until the job has ended. `skipped` is told of bytes that were not kept.

    A stream that ends says nothing about the log: after each, one read tells what is missing and whether that was all.
    """
    while True:
        began_at = offset
        for data in _stream(service, job_id, offset):
            offset += len(data)
            yield data
        part = read_part(service, job_id, offset=offset)
        if part.data and part.offset != offset:
            skipped(part.offset - offset)
        if part.data:
            offset = part.next_offset
            yield part.data
        if part.is_last:
            return
        if offset == began_at:
            service.waiting.sleep(IDLE_PAUSE_SECONDS)


def _stream(service: Service, job_id: int, offset: int) -> Iterator[bytes]:
    """What one connection brings, however it ends."""
    try:
        parameters = {"follow": "true", "offset": offset}
        with service.stream(_path(job_id), parameters, silence_seconds=SILENCE_SECONDS) as answer:
            if int(answer.headers["X-Log-Offset"]) == offset:
                yield from answer.iter_bytes()
    except CommandError as failure:
        if failure.exit_code != ExitCode.UNREACHABLE:
            raise


def _path(job_id: int) -> str:
    return f"/jobs/{job_id}/log"
