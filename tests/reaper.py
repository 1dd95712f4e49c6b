"""End what an interrupted test run has left: servers, browsers, jobs.

`python reaper.py RUN_DIRECTORY`. Each process of a run that executes tests has a reaper of its own, which waits at a
pipe for that process to end, however it ends. The reaper of the last one then kills every process that belongs to
the run, and removes its directories. A process belongs to the run if it has the run's mark in its environment, or
if it works in one of the run's directories. Lines on standard input name further directories.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - whose directory in it has the run's name
PASSES = 50
"""A process that is about to start another one is killed in one pass, and its child in the next."""


def main(run_directory: str) -> None:
    run = Path(run_directory)
    mark = f"GTM_TEST_RUN={run.name.removeprefix('gtm-test-')}".encode()
    lock = os.open(run / "reapers.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_SH)
    own = {run, IN_MEMORY / run.name}
    watched = own | {Path(line.rstrip("\n")) for line in sys.stdin}
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return  # another process of the run goes on
    for _ in range(PASSES):
        if not (left := processes_of(mark, watched)):
            break
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    for directory in own:
        unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)


def unmount_below(directory: Path) -> None:
    mounted = (Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines())
    for place in [place for place in mounted if place.is_relative_to(directory)]:
        subprocess.run(["/bin/umount", "--lazy", place], check=False)


def processes_of(mark: bytes, directories: Collection[Path]) -> list[int]:
    found = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in found if pid != os.getpid() and belongs(pid, mark, directories)]


def belongs(pid: int, mark: bytes, directories: Collection[Path]) -> bool:
    """False also for a zombie, and for a process of somebody who is none of our business."""
    process = Path(f"/proc/{pid}")
    with suppress(OSError):
        if mark in (process / "environ").read_bytes().split(b"\0"):
            return True
    with suppress(OSError):
        works_in = (process / "cwd").readlink()
        return any(works_in.is_relative_to(directory) for directory in directories)
    return False


if __name__ == "__main__":
    main(sys.argv[1])
