"""Deleting the directories of runs that ended long ago."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path
from uuid import UUID

import structlog

from app.executors.local.disk import used_bytes
from app.executors.local.run_directory import RunDirectory

SETTLED_AFTER = timedelta(hours=1)
"""How long a run is kept though it takes too much room: the dispatcher has to read how it ended."""

log = structlog.get_logger("local")


def delete_old_runs(runs: Path, now: datetime, *, keep: timedelta, keep_bytes: int | None = None) -> int:
    """How many were deleted: those that ended longer ago, and the oldest of the rest, if they take too much.

    A run whose end is not written down stays; nothing is followed out of its directory.
    """
    ended = {path: at for path in runs.iterdir() if _is_run(path) and (at := _ended_at(RunDirectory(path))) is not None}
    old = [path for path, at in ended.items() if at < now - keep]
    newest_first = sorted(ended.keys() - old, key=ended.__getitem__, reverse=True)
    if keep_bytes is not None:
        old += [path for path in _beyond(keep_bytes, newest_first) if ended[path] < now - SETTLED_AFTER]
    return sum(_is_deleted(path) for path in old)


def _beyond(keep_bytes: int, newest_first: Sequence[Path]) -> Sequence[Path]:
    """Those behind the newest ones that fit. One that cannot be measured counts as nothing."""
    used = used_bytes(newest_first)
    sums = accumulate(used.get(path, 0) for path in newest_first)
    return [path for path, total in zip(newest_first, sums, strict=True) if total > keep_bytes]


def _is_deleted(path: Path) -> bool:
    try:
        _delete(path)
    except OSError as error:
        log.warning("an old run could not be deleted", run=path.name, problem=str(error))
        return False
    return True


def _delete(path: Path) -> None:
    """By a program that no job can stop: with directories in directories, more than Python can call or keep open.

    Where a job ran as ourselves and closed its directories, they have to be opened first.
    """
    if os.geteuid() != 0:
        _run("chmod", "-R", "u+rwx", "--", str(path))
    _run("rm", "-rf", "--", str(path))


def _run(*argv: str) -> None:
    """Raises:
    OSError: it did not do all of it.
    """
    ended = subprocess.run(
        argv,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if ended.returncode:
        complaints = ended.stderr.decode(errors="replace").splitlines()
        raise OSError(complaints[0] if complaints else f"{argv[0]} ended with {ended.returncode}")


def _is_run(path: Path) -> bool:
    with suppress(ValueError):
        return str(UUID(path.name)) == path.name and path.is_dir() and not path.is_symlink()
    return False


def _ended_at(directory: RunDirectory) -> datetime | None:
    """None: not proved, or processes of it may be left."""
    evidence, verdict = directory.evidence(), directory.verdict()
    if evidence is not None and (not evidence["survivors"] or (verdict is not None and verdict["gone"])):
        return directory.written_at("evidence.json")
    if verdict is not None and verdict["gone"]:
        return directory.written_at("verdict.json")
    if not directory.is_described() and not directory.has_begun() and not directory.is_held():
        return directory.written_at(".")  # refused, or stopped before it came
    return None
