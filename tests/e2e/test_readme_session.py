"""The first session of the README, pasted into bash as a newcomer does it."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.documents import ROOT, blocks, read, session
from tests.waiting import HANG_SECONDS, wait_until

STATED_URL = "http://localhost:8000"
STATED_PYTHON = ".venv/bin/python"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of the service and of the session: an empty data directory, and an hour that passes in a second."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "DATA_DIR": str(tmp_path / "data"),
        "SIMULATION_SPEEDUP": "3600",
        "DISPATCHER_TICK_SECONDS": "0.1",
        "BCRYPT_COST": "4",
        "LOG_FORMAT": "console",
    }


@pytest.fixture
def url(tmp_path: Path, environment: dict[str, str]) -> Iterator[str]:
    """Where a service answers that has just been started for the first time."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    log = tmp_path / "service.log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app.main:app", f"--port={port}"],
            env=environment,
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until_ready(service, f"http://localhost:{port}", log)
        yield f"http://localhost:{port}"
    finally:
        service.terminate()
        service.wait(timeout=HANG_SECONDS)


def wait_until_ready(service: subprocess.Popen[bytes], url: str, log: Path) -> None:
    def is_ready() -> bool:
        assert service.poll() is None, log.read_text(encoding="utf-8")
        try:
            return httpx2.get(f"{url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    wait_until(is_ready, "the service is ready", seen=lambda: log.read_text(encoding="utf-8"))


def test_the_first_session_ends_with_a_completed_job_and_a_settled_quota(
    url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    readme = read("README.md")
    text = session(readme)
    assert STATED_URL in text
    assert STATED_PYTHON in text
    text = text.replace(STATED_URL, url).replace(STATED_PYTHON, sys.executable)

    # By standard input, because a command that reads there would swallow the rest of a pasted text.
    shell = ["bash", "-e", "-u", "-o", "pipefail", "-s"]
    done = subprocess.run(
        shell,
        input=text,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    printed = done.stdout.splitlines()
    assert [line for line in printed if line in ("APPROVED", "RUNNING")] == ["APPROVED", "RUNNING"]
    assert '"status": "COMPLETED"' in done.stdout
    assert "reza@example.com is an admin" in printed
    (settled,) = blocks(readme, "json")
    assert done.stdout.rstrip().removesuffix("}").rstrip().endswith(settled.strip())
