"""A run's utilisation samples, in a file that stays small however long the run lasts.

Records of one size, oldest first, written by one process at a time. A moment is a record for each GPU of the run, all
with the same time. When the file holds `MOST_MOMENTS`, every other one is dropped, and from then on samples are taken
half as often: a chart of a month needs no more points than one of an hour.
"""

import math
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import IO

from app.domain.execution import GpuSlot, UtilisationSample
from app.executors.local.devices import Reading

SHORTEST_INTERVAL = timedelta(seconds=5)
MOST_MOMENTS = 4096
FILE_MODE = 0o600

_RECORD = struct.Struct("<qQfffB3x")
"""Microseconds since 1970, bytes of memory, utilisation, watts, °C, position in the run's GPUs. NaN: not told."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def interval_for(elapsed: timedelta) -> timedelta:
    """How far apart samples are taken of a run that is so old."""
    interval = SHORTEST_INTERVAL
    while elapsed > interval * MOST_MOMENTS:
        interval *= 2
    return interval


def append(path: Path, at: datetime, slots: Sequence[GpuSlot], readings: Mapping[GpuSlot, Reading]) -> None:
    """Add one moment. What a crash left of a record is overwritten."""
    moment = b"".join(_pack(at, position, readings[slot]) for position, slot in enumerate(slots) if slot in readings)
    with _open(path, os.O_RDWR | os.O_CREAT) as file:
        file.seek(os.fstat(file.fileno()).st_size // _RECORD.size * _RECORD.size)
        file.write(moment)
        file.truncate()
        size = file.tell()
    if size >= MOST_MOMENTS * len(slots) * _RECORD.size:
        _drop_every_other_moment(path)


def _pack(at: datetime, position: int, reading: Reading) -> bytes:
    return _RECORD.pack(
        (at - _EPOCH) // _MICROSECOND,
        reading.memory_used_bytes,
        reading.utilisation,
        math.nan if reading.power_watts is None else reading.power_watts,
        math.nan if reading.temperature_celsius is None else reading.temperature_celsius,
        position,
    )


def _drop_every_other_moment(path: Path) -> None:
    kept = [record for number, moment in enumerate(_moments(path)) if number % 2 == 0 for record in moment]
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with _open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
        file.write(b"".join(_RECORD.pack(*record) for record in kept))
    draft.rename(path)


def read(path: Path, slots: Sequence[GpuSlot], limit: int) -> Sequence[UtilisationSample]:
    """At most `limit` samples, evenly taken from all; all GPUs of a moment, or none."""
    moments = [moment for moment in _moments(path) if all(record[-1] < len(slots) for record in moment)]
    widest = max((len(moment) for moment in moments), default=1)
    return [_sample(record, slots) for moment in _evenly(moments, limit // widest) for record in moment]


def _evenly(moments: Sequence[list[tuple[float, ...]]], number: int) -> Iterator[list[tuple[float, ...]]]:
    """So many of them, the last one always, at equal distances in their order."""
    if number <= 0:
        return
    step = -(-len(moments) // number)
    for index in range((len(moments) - 1) % max(1, step), len(moments), max(1, step)):
        yield moments[index]


def _moments(path: Path) -> list[list[tuple[float, ...]]]:
    try:
        with _open(path, os.O_RDONLY) as file:
            content = file.read()
    except FileNotFoundError:
        return []
    whole = len(content) // _RECORD.size * _RECORD.size
    records = _RECORD.iter_unpack(content[:whole])
    return [list(moment) for _, moment in groupby(records, key=lambda record: record[0])]


def _sample(record: tuple[float, ...], slots: Sequence[GpuSlot]) -> UtilisationSample:
    microseconds, memory, utilisation, watts, celsius, position = record
    return UtilisationSample(
        at=_EPOCH + int(microseconds) * _MICROSECOND,
        slot=slots[int(position)],
        utilisation=min(1.0, max(0.0, utilisation)),
        memory_used_bytes=int(memory),
        power_watts=None if math.isnan(watts) else watts,
        temperature_celsius=None if math.isnan(celsius) else celsius,
    )


def _open(path: Path, flags: int) -> IO[bytes]:
    return os.fdopen(
        os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE),
        {os.O_RDONLY: "rb", os.O_WRONLY: "wb"}.get(flags & os.O_ACCMODE, "r+b"),
    )
