"""Reading the log that the run wrapper keeps: a row of files, each named by the position of its first byte."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from app.domain.execution import LogChunk, LogUnavailable

PREFIX = "log."
LOSS_NOTE = re.compile(rb"\n\[\d+ bytes of output were lost here: ")
"""How the wrapper tells what the disk did not take; it stands before the first byte that was taken again."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """One file: bytes `[start, end)` of the output. `gap` bytes before it are in none."""

    start: int
    end: int
    gap: int
    path: Path


def read(directory: Path, *, offset: int, limit: int, complete: bool) -> LogChunk:
    """A part of what a run printed, as far as it is kept without a gap.

    Bytes which were left out, because of the log's limit or because the disk was full, are skipped. A line that says so
    takes the place of the last of them, so that every byte that is kept stands at its true position. A part that begins
    later than asked ends no later than asked, unless it begins behind that.
    `complete` says that the run is over, although there may be no evidence of its end.

    Raises:
        LogUnavailable: it cannot be read; or the run is over, and there is no such directory.
    """
    try:
        while True:
            has_evidence, printed = _end_of_run(directory)  # asked first: then the files hold all there will be
            segments = _segments(directory)
            try:
                start, data = _read(segments, offset, limit)
            except FileNotFoundError:
                continue  # the oldest one had to go meanwhile
            size = max(printed, segments[-1].end if segments else 0)
            return LogChunk(start if data else max(offset, size), data, size, complete or has_evidence)
    except FileNotFoundError as error:
        if complete:
            raise LogUnavailable(str(directory)) from error
        return LogChunk(offset, b"", size=0, complete=False)
    except OSError as error:
        raise LogUnavailable(str(directory)) from error


def _end_of_run(directory: Path) -> tuple[bool, int]:
    """Whether the wrapper has told how the run ended, and how many bytes had been printed then."""
    try:
        return True, int(json.loads(_bytes_of(directory / "evidence.json", 0, 65_536))["log_bytes"])
    except FileNotFoundError:
        return False, 0
    except (ValueError, KeyError, TypeError):
        return True, 0


def _segments(directory: Path) -> Sequence[_Segment]:
    """Those that are there now. A segment grows until the next one begins, so all are listed before any is measured."""
    with os.scandir(directory) as entries:
        starts = [
            (entry.name.removeprefix(PREFIX), Path(entry.path)) for entry in entries if entry.name.startswith(PREFIX)
        ]
    found: list[_Segment] = []
    end = 0
    for start, path in sorted((int(start), path) for start, path in starts if start.isdecimal()):
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if S_ISREG(status.st_mode) and status.st_size:
            found.append(_Segment(start, start + status.st_size, start - end, path))
            end = start + status.st_size
    return found


def _read(segments: Sequence[_Segment], offset: int, limit: int) -> tuple[int, bytes]:
    """Where the first gapless part from `offset` on begins, and its first `limit` bytes."""
    start, data = offset, b""
    for segment in segments:
        position = start + len(data)
        if segment.end <= position:
            continue
        if segment.start > position:
            if data:
                break
            note = _note(segment)
            start = max(offset, segment.start - len(note))
            if start < offset + limit:
                limit -= start - offset
            data = note[len(note) - (segment.start - start) :][:limit]
            position = segment.start
        most = min(segment.end - position, limit - len(data))
        if most > 0:
            part = _bytes_of(segment.path, position - segment.start, most)
            data += part
            if len(part) < most:
                break
        if len(data) >= limit:
            break
    return start, data


def _note(segment: _Segment) -> bytes:
    note = f"\n[{segment.gap} bytes of output are left out here]\n".encode()
    says_so_itself = LOSS_NOTE.match(_bytes_of(segment.path, 0, 64))
    return b"" if says_so_itself or segment.gap < len(note) else note


def _bytes_of(path: Path, offset: int, most: int) -> bytes:
    """Part of a regular file; a job that could put a link in its place would be reading with our eyes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, most, offset) if S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
