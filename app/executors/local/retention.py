"""Deleting the directories of runs that ended long ago."""

import os
import subprocess
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

import structlog

from app.executors.local.run_directory import RunDirectory

log = structlog.get_logger("local")


def delete_old_runs(runs: Path, ended_before: datetime) -> int:
    """How many were deleted. A run whose end is not written down stays; nothing is followed out of its directory."""
    deleted = 0
    for path in runs.iterdir():
        if not _is_run(path):
            continue
        ended_at = _ended_at(RunDirectory(path))
        if ended_at is not None and ended_at < ended_before:
            try:
                _delete(path)
            except OSError as error:
                log.warning("an old run could not be deleted", run=path.name, problem=str(error))
            else:
                deleted += 1
    return deleted


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
