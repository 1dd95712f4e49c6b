"""Real processes of the service, started on a loopback port and killed without a warning."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tests.conftest import SECRET

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 30


@dataclass(eq=False)
class Process:
    """One process of ours. `output` collects what it wrote."""

    popen: subprocess.Popen[bytes]
    output: Path

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(PATIENCE_SECONDS)

    def died_by_itself(self) -> bool:
        return self.popen.poll() is not None

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
            self.popen.wait(PATIENCE_SECONDS)


def start_process(database_url: str, data_dir: Path, *arguments: str, **environment: str) -> Process:
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
    output = data_dir / f"{arguments[0]}-{time.monotonic_ns()}.log"
    with output.open("wb") as file:
        popen = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], **settings},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    return Process(popen, output)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {patience_seconds} s"
        time.sleep(0.02)


def answers(base_url: str) -> bool:
    try:
        return httpx2.get(f"{base_url}/readyz", timeout=2).status_code in (200, 503)
    except httpx2.HTTPError:
        return False
