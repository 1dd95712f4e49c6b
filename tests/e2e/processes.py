"""Real processes of the service, started on a loopback port and killed without a warning.

They are forked from one process that has imported the service, which saves each of them seconds of imports. Each has
a process id, signals, an environment and files of its own, as if it had been started by `python -m …`;
`start_process(…, forked=False)` starts it so.
"""

import ctypes
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import httpx2

from tests.conftest import SECRET
from tests.surroundings import PROJECT
from tests.waiting import HANG_SECONDS, wait_until

__all__ = ["PROJECT", "Process", "answers", "free_port", "said_in", "start_process", "wait_until"]

IMPORTED = ["app.main", "app.dispatcher.__main__", "uvicorn.__main__", "uvloop", "httptools", "asyncpg.pgproto.pgproto"]
PR_SET_PDEATHSIG = 1

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(IMPORTED)


@dataclass(eq=False)
class Process:
    """One process of ours. `output` collects what it wrote."""

    handle: "ForkServerProcess | subprocess.Popen[bytes]"
    output: Path

    @property
    def pid(self) -> int:
        assert self.handle.pid is not None
        return self.handle.pid

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal that ended it; None while it lives."""
        return self.handle.poll() if isinstance(self.handle, subprocess.Popen) else self.handle.exitcode

    def died_by_itself(self) -> bool:
        return self.exit_code is not None

    def signal(self, number: int) -> None:
        if self.exit_code is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        self._wait()

    def _wait(self) -> None:
        if isinstance(self.handle, subprocess.Popen):
            self.handle.wait(HANG_SECONDS)
        else:
            self.handle.join(HANG_SECONDS)
            assert self.exit_code is not None, f"it does not end: {self.output.read_text(encoding='utf-8')[-4000:]}"


def start_process(
    database_url: str, data_dir: Path, *arguments: str, forked: bool = True, **environment: str
) -> Process:
    """`python -m …` with the settings of a fast, quiet service."""
    settings = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(data_dir),
        "JWT_SECRET_KEY": SECRET,
        "BCRYPT_COST": "4",
        "MIGRATE_ON_START": "false",
        "DISPATCHER_TICK_SECONDS": "0.05",
        "SIMULATION_SPEEDUP": "7200",
        "LOG_LEVEL": "WARNING",
        **environment,
    }
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"], **settings}
    output = data_dir / f"{arguments[0]}-{time.monotonic_ns()}.log"
    if forked and "LD_LIBRARY_PATH" not in settings:  # which a process reads only when it begins
        process = _context.Process(target=_run_module, args=(arguments, environment, output), daemon=True)
        process.start()
        return Process(process, output)
    with output.open("wb") as file:
        popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Process(popen, output)


def _run_module(arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
    """In the new process: become what `python -m` makes of it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    with output.open("wb") as file, open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def said_in(data_dir: Path) -> str:
    """The end of what the processes of a directory wrote."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(data_dir.glob("*.log")))[-4000:]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(base_url: str) -> bool:
    try:
        return httpx2.get(f"{base_url}/readyz", timeout=HANG_SECONDS).status_code in (200, 503)
    except httpx2.HTTPError:
        return False
