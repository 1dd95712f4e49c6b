"""Places for runs of the local engine, and their end."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from signal import SIGTERM

from app.executors.local.account import JobUser, OneUser
from app.executors.local.processes import signal_process
from app.executors.local.run_directory import RunDirectory
from tests.waiting import wait_until


@contextmanager
def runs_directory() -> Iterator[Path]:
    """A place that other users can reach, which pytest's own ones are not. What runs there at the end is ended."""
    directory = Path(tempfile.mkdtemp(prefix="gtm-runs-"))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        end_all(directory)
        shutil.rmtree(directory)


def end_all(runs: Path) -> None:
    directories = [RunDirectory(path.parent) for path in runs.rglob("spec.json")]
    for directory in directories:
        directory.ask_to_stop(timedelta(0))
        if (started := directory.started()) is not None and directory.is_held():
            signal_process(started.pid, started.start_ticks, started.boot_id, SIGTERM)
    wait_until(lambda: not any(directory.is_held() for directory in directories), f"the runs in {runs} have ended")


def one_user() -> OneUser:
    return OneUser(other_user())


def other_user() -> JobUser | None:
    """Whom jobs of the tests run as: nobody, where the tests run as root; otherwise as the tests themselves."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return JobUser(entry.pw_name, entry.pw_uid, entry.pw_gid, (entry.pw_gid,))
