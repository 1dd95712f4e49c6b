"""Real processes of the service, started on a loopback port and killed without a warning.

They are forked from one process that has imported the service, which saves each of them seconds of imports. Each has
a process id, signals, an environment and files of its own, as if it had been started by `python -m …`;
`start_process(…, forked=False)` starts it so.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from urllib.parse import urlsplit

from tests.conftest import SECRET
from tests.e2e.forked import Files, become_module
from tests.surroundings import PROJECT, present_run
from tests.waiting import HANG_SECONDS, wait_until

__all__ = ["PROJECT", "Process", "answers", "free_port", "run_module", "said_in", "start_process", "wait_until"]

IMPORTED = ["app.main", "app.dispatcher.__main__", "app.manage.__main__", "uvicorn.__main__", "uvloop", "httptools"]

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
        self.wait()

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
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
        files = Files(Path(os.devnull), output, output)
        return Process(_fork(arguments, environment, present_run().working_directory, files), output)
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


def run_module(
    *arguments: str, directory: Path, environment: Mapping[str, str], stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """`python -m …` in a directory, from its beginning to its end, in a forked process."""
    with tempfile.TemporaryDirectory() as place:
        files = Files(Path(place, "stdin"), Path(place, "stdout"), Path(place, "stderr"))
        files.stdin.write_text(stdin, encoding="utf-8", newline="")
        process = Process(_fork(arguments, environment, directory, files), files.stderr)
        process.wait()
        assert process.exit_code is not None
        printed = [file.read_text(encoding="utf-8") for file in (files.stdout, files.stderr)]
        return subprocess.CompletedProcess(arguments, process.exit_code, *printed)


def _fork(arguments: Sequence[str], environment: Mapping[str, str], directory: Path, files: Files) -> ForkServerProcess:
    process = _context.Process(target=become_module, args=(arguments, environment, directory, files), daemon=True)
    process.start()
    return process


def said_in(data_dir: Path) -> str:
    """The end of what the processes of a directory wrote."""
    return "".join(path.read_text(encoding="utf-8") for path in sorted(data_dir.glob("*.log")))[-4000:]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def answers(base_url: str) -> bool:
    """Whether the service says how it is. `http.client` loads no certificates, which would take a tenth of a second."""
    url = urlsplit(base_url)
    with closing(HTTPConnection(url.hostname or "", url.port, timeout=HANG_SECONDS)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status in (200, 503)
        except (OSError, HTTPException):
            return False
