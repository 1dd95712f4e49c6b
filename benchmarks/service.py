"""An application under uvicorn with one worker, as `scripts/serve` runs it."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Service:
    """Where it listens, and which process it is."""

    port: int
    pid: int


@contextmanager
def serving(app: str, ready_at: str, settings: Mapping[str, str] | None = None) -> Iterator[Service]:
    """Run an application on loopback until the block ends; it has answered at `ready_at` before the block begins."""
    with TemporaryDirectory() as directory:
        log = Path(directory, "log")
        port = _free_port()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", app, f"--host={HOST}", f"--port={port}", "--no-access-log"],
                cwd=PROJECT,
                env={**os.environ, "DATA_DIR": directory, **(settings or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_ready(process, port, ready_at, log)
            yield Service(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def allow_many_connections() -> None:
    """Raise the limit of open files as far as it goes, for this process and those it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except (OSError, HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
    raise SystemExit(f"the service does not start:\n{tail}")
