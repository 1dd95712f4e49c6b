"""Run directories with a real wrapper, without the executor that makes them otherwise."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.executors.local import log, processes, wrapper
from tests.surroundings import present_run
from tests.waiting import HANG_SECONDS, wait_until

NOBODY = pwd.getpwnam("nobody")
CGROUP_PARENT = f"gtm-tests-{os.getpid()}"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user or mount")
needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


class WrapperRun:
    """One run directory, and what its wrapper makes of it."""

    def __init__(self, runs: Path, command: str, **changes: Any) -> None:
        self.id = uuid4()
        self.path = runs / str(self.id)
        self.work = self.path / "work"
        self.work.mkdir(parents=True)
        self.path.chmod(0o711)
        self.work.chmod(0o777)
        spec = {
            "run_id": str(self.id),
            "command": command,
            "env": {"PATH": os.defpath, "GTM_RUN_ID": str(self.id)},
            "cwd": str(self.work),
            "time_limit_seconds": 60,
            "kill_grace_seconds": 5,
            "log_limit_bytes": 2**20,
            "cgroup_parent": CGROUP_PARENT,
            "hidden_paths": [str(runs)],
            "writable_paths": [str(self.work)],
        }
        self.write("spec.json", json.dumps(spec | changes))

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")
        (self.path / name).chmod(0o600)

    def start(self, *, pass_fds: tuple[int, ...] = (), **environment: str) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-I", "-S", "-E", wrapper.__file__, str(self.path)]
        groups = [0, NOBODY.pw_gid + 1] if os.geteuid() == 0 else None  # which no job may have
        return subprocess.Popen(argv, env=environment, cwd="/", extra_groups=groups, pass_fds=pass_fds)

    def launch(self, **environment: str) -> int:
        """Start the wrapper, and wait until it has taken the run or said that it did not."""
        return self.start(**environment).wait(HANG_SECONDS)

    def evidence(self) -> Mapping[str, Any]:
        """How the run ended, once it has."""
        wait_until((self.path / "evidence.json").exists)
        return self.read("evidence.json")

    def read(self, name: str) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = json.loads((self.path / name).read_bytes())
        return fields

    @property
    def wrapper(self) -> int:
        return int(self.read("started")["pid"])

    @property
    def child(self) -> int:
        """The first process of the command, which runs by then."""
        wait_until(lambda: (self.path / "child.json").exists() and (self.path / "child.json").stat().st_size)
        pid = int(self.read("child.json")["pid"])
        wait_until(lambda: processes.run_of(pid) == self.id or not is_alive(pid))
        return pid

    def stop(self, grace_seconds: float) -> None:
        self.write("stop", json.dumps({"grace_seconds": grace_seconds}))
        os.kill(self.wrapper, signal.SIGTERM)

    def printed(self) -> bytes:
        """All of the log that can be read."""
        data, offset = b"", 0
        while (chunk := log.read(self.path, offset=offset, limit=65_536, complete=False)).data:
            data += chunk.data
            offset = chunk.next_offset
        return data

    def waits_for(self, text: bytes) -> None:
        wait_until(lambda: text in self.printed())

    def end(self) -> None:
        """Leave nothing of it."""
        if (self.path / "started").exists():
            if not (self.path / "evidence.json").exists() and is_alive(self.wrapper):
                self.stop(grace_seconds=0)
            wait_until(lambda: not is_alive(self.wrapper))
        assert processes.kill_leftovers(self.path, patience_seconds=HANG_SECONDS)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


MakeRun = Callable[..., WrapperRun]


@contextmanager
def made_runs(directory: Path | None = None) -> Iterator[MakeRun]:
    """Makes runs and starts them, unless `launch=False`; at the end, nothing is left of them."""
    place = Path(tempfile.mkdtemp(prefix="gtm-wrapper-", dir=directory or present_run().in_memory))
    place.chmod(0o711)
    runs = []

    def make(command: str, *, launch: bool = True, **changes: Any) -> WrapperRun:
        runs.append(run := WrapperRun(place, command, **changes))
        if launch:
            assert run.launch() == wrapper.TAKEN
        return run

    try:
        yield make
    finally:
        for run in runs:
            run.end()
        shutil.rmtree(place)
        for _, base in wrapper.cgroup_bases():
            wrapper.remove_cgroup(f"{base}/{CGROUP_PARENT}")
