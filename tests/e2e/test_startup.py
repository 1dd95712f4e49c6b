"""`uvicorn app.main:app` as operators run it: how it starts, refuses to start, and stops."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from app.main import app_or_exit
from tests.conftest import SECRET
from tests.e2e.processes import free_port, run_module
from tests.waiting import HANG_SECONDS, wait_until

ROOT = Path(__file__).resolve().parents[2]
LOGIN = {"username": "sara@example.org", "password": "quiet-River-71-lantern"}


def environment(**settings: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "BCRYPT_COST": "4", **settings}


def start_and_fail(directory: Path, port: int = 0, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run the service where it cannot start, outside the project, so that no `.env` of a developer is read."""
    arguments = ("uvicorn", "app.main:app", "--port", str(port))
    result = run_module(*arguments, directory=directory, environment=environment(**settings))
    assert result.returncode != 0
    assert "Traceback" not in result.stdout + result.stderr
    return result


@contextmanager
def running_service(directory: Path, port: int, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)],
            cwd=directory,
            env=environment(**settings),
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_it_answers(process, port)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    def answers() -> bool:
        assert process.poll() is None, "the service ended"
        try:
            return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    wait_until(answers, "the service answers")


def test_production_without_a_secret_does_not_start(tmp_path: Path) -> None:
    refused = start_and_fail(tmp_path, ENVIRONMENT="production")
    assert refused.stderr.splitlines() == [
        "gpu-task-manager cannot start: JWT_SECRET_KEY is not set: put the output of `openssl rand -base64 48` into it"
    ]


def test_a_misspelt_engine_is_told_which_ones_there_are(tmp_path: Path) -> None:
    refused = start_and_fail(tmp_path, EXECUTOR="lokal")
    assert refused.stderr.splitlines() == [
        "gpu-task-manager cannot start: EXECUTOR: Input should be 'simulated', 'local' or 'slurm'"
    ]


def test_a_database_that_refuses_ends_the_start_with_one_line(tmp_path: Path, server_url: str) -> None:
    nowhere = (
        server_url.replace("/postgres", "/gtm_nowhere", 1) if "/postgres?" in server_url else server_url + "_nowhere"
    )
    refused = start_and_fail(tmp_path, DATABASE_URL=nowhere, JWT_SECRET_KEY=SECRET)
    errors = [line for line in refused.stderr.splitlines() if '"level": "error"' in line]
    assert "createdb" in errors[0]
    assert "startup failed" in errors[1]
    assert len(errors) == 2


def test_a_service_stops_at_once_though_streams_are_open_and_a_second_one_finds_its_port_taken(
    tmp_path: Path, fresh_database_url: str
) -> None:
    port = free_port()
    settings = {"DATABASE_URL": fresh_database_url, "JWT_SECRET_KEY": SECRET}
    with running_service(tmp_path, port, **settings) as service:
        base = f"http://127.0.0.1:{port}/api/v1"
        account = {"email": LOGIN["username"], "password": LOGIN["password"]}
        assert httpx2.post(f"{base}/auth/register", json=account).status_code == httpx2.codes.CREATED
        token = httpx2.post(f"{base}/auth/login", data=LOGIN).json()["access_token"]

        second = start_and_fail(tmp_path, port, **settings)
        assert "address already in use" in second.stderr

        with httpx2.stream("GET", f"{base}/events", headers={"Authorization": f"Bearer {token}"}) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: reset"
            service.send_signal(signal.SIGTERM)
            assert service.wait(timeout=HANG_SECONDS) in (0, -signal.SIGTERM)
            assert list(lines)[-1] == ""
    log = (tmp_path / "service.log").read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert '"level": "error"' not in log
    assert "Application shutdown complete" in log


@pytest.mark.parametrize("name", ["JWT_SECRET_KEY", "BCRYPT_COST", "EXECUTOR"])
def test_an_unusable_setting_is_named_and_not_repeated(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "c4n4ry")
    with pytest.raises(SystemExit) as ended:
        app_or_exit()
    assert name in str(ended.value)
    assert "c4n4ry" not in str(ended.value)
