"""Keeps runs from filling the disk: how much one may leave in its folder, and how much room there has to be left."""

import os
import stat
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import structlog

from app.executors.local.processes import leftovers
from app.executors.local.run_directory import RunDirectory

INTERVAL_SECONDS = 15.0
INTERVAL_WHILE_LOW_SECONDS = 2.0
SHARE_OF_TIME = 0.05
"""At most this share of the time is spent on looking through folders, however many files are in them."""
PATIENCE_SECONDS = 60.0
PATHS_AT_ONCE = 256
MEBIBYTE, GIBIBYTE = 2**20, 2**30
BLOCK_BYTES = 512
"""What `st_blocks` counts in, whatever the file system does."""

log = structlog.get_logger("local")


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """None: no limit."""

    run_folder_bytes: int | None = None
    free_bytes: int | None = None
    """How much has to be free on the disk of the runs."""


def free_bytes(directory: Path) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def used_bytes(paths: Collection[Path]) -> dict[Path, int]:
    """What these folders take on their disk. One that cannot be looked through in good time is left out.

    By a program: a job can put directories in directories, more than Python can call, and more files than it can list.
    """
    used = {}
    remaining = list(paths)
    while remaining:
        batch, remaining = remaining[:PATHS_AT_ONCE], remaining[PATHS_AT_ONCE:]
        try:
            ended = subprocess.run(
                ["du", "--summarize", "--one-file-system", "--block-size=1", "--null", "--", *map(str, batch)],
                env={"PATH": os.defpath, "LANG": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.warning("folders of runs could not be measured in time", folders=len(batch))
            continue
        for line in filter(None, ended.stdout.decode().split("\0")):
            size, _, path = line.partition("\t")
            used[Path(path)] = int(size)
    return used


def deleted_bytes(run: Path) -> int:
    """What a run holds open of files on its disk that have no name any more, which no look through folders finds."""
    disk, held = run.stat().st_dev, {}
    for process in leftovers(run):
        for kind in ("fd", "map_files"):
            with suppress(OSError):
                for entry in os.scandir(f"/proc/{process.pid}/{kind}"):
                    with suppress(OSError):
                        found = entry.stat()
                        if stat.S_ISREG(found.st_mode) and found.st_nlink == 0 and found.st_dev == disk:
                            held[found.st_ino] = found.st_blocks * BLOCK_BYTES
    return sum(held.values())


class DiskWatch:
    """Remembers how large the folders of running runs were when it looked last, and so which one grows."""

    def __init__(
        self,
        runs: Path,
        limits: DiskLimits,
        *,
        free: Callable[[Path], int] = free_bytes,
        used: Callable[[Collection[Path]], Mapping[Path, int]] = used_bytes,
        deleted: Callable[[Path], int] = deleted_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._limits = limits
        self._free = free
        self._used = used
        self._deleted = deleted
        self._clock = clock
        self._sizes: dict[UUID, int] = {}
        self._ending: set[UUID] = set()
        self._due_at = 0.0
        self._due_while_low_at = 0.0

    def shortage(self) -> str | None:
        """Why nothing can be started now, in a sentence; None: there is room."""
        floor = self._limits.free_bytes
        if floor is None or self._free(self._runs) >= floor:
            return None
        return f"The disk of the runs has less than {_amount(floor)} left."

    def look(self, running: Collection[UUID]) -> Mapping[UUID, str]:
        """The runs that have to end now, each with the reason in a sentence. It can be slow; too soon, it does nothing.

        One that takes more than it may ends for that; of the others, while there is too little room, the one that grew
        most since the last look, if that was a moment ago. Those that did not grow are not to blame. One that cannot be
        measured in time is taken to be as large as it was.
        """
        low = self.shortage()
        now = self._clock()
        is_needed = low is not None or self._limits.run_folder_bytes is not None
        if not is_needed or now < (self._due_while_low_at if low else self._due_at):
            return {}
        before = self._sizes if now <= self._due_at + INTERVAL_SECONDS else {}
        self._sizes = {run_id: before[run_id] for run_id in running if run_id in before} | self._measure(running, now)
        self._ending &= set(running)
        ends = {run_id: self._too_large() for run_id, size in self._sizes.items() if self._is_too_large(size)}
        if low and not ends and not self._ending and before:
            growth = {run_id: size - before.get(run_id, 0) for run_id, size in self._sizes.items()}
            most = max(growth, key=growth.__getitem__, default=None)
            if most is not None and growth[most] > 0:
                ends = {most: f"{low} This run was ended because it filled it fastest."}
        ends = {run_id: why for run_id, why in ends.items() if run_id not in self._ending}
        self._ending |= set(ends)
        return ends

    def _measure(self, running: Collection[UUID], now: float) -> dict[UUID, int]:
        folders = {RunDirectory(self._runs / str(run_id)).work: run_id for run_id in running}
        used = self._used(folders)
        sizes = {folders[work]: size + self._deleted(work.parent) for work, size in used.items()}
        rest = (self._clock() - now) / SHARE_OF_TIME
        self._due_at = now + max(INTERVAL_SECONDS, rest)
        self._due_while_low_at = now + max(INTERVAL_WHILE_LOW_SECONDS, rest)
        return sizes

    def _is_too_large(self, size: int) -> bool:
        return self._limits.run_folder_bytes is not None and size > self._limits.run_folder_bytes

    def _too_large(self) -> str:
        return f"The run left more than {_amount(self._limits.run_folder_bytes or 0)} in its folder."


def _amount(size: int) -> str:
    return f"{size / GIBIBYTE:.3g} GiB" if size >= GIBIBYTE else f"{size / MEBIBYTE:.3g} MiB"
