"""A test run that is killed leaves no process and no directory behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.executors.local.wrapper_runs import is_alive
from tests.surroundings import PROJECT
from tests.waiting import wait_until


def test_a_killed_run_leaves_nothing(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:cacheprovider", "tests/e2e/interrupted.py"]
    environment = {"PATH": os.environ["PATH"], "PYTEST_TELLS": str(told)}
    with (tmp_path / "output").open("wb") as output:
        run = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: told.exists() or run.poll() is not None, "the run has begun")
        assert told.exists(), (tmp_path / "output").read_text()
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()

    facts = json.loads(told.read_text(encoding="utf-8"))
    wait_until(lambda: not left_of(facts["pids"]), "all its processes have ended", seen=lambda: left_of(facts["pids"]))
    wait_until(lambda: not Path(facts["directory"]).exists(), f"{facts['directory']} is gone")


def left_of(pids: dict[str, int]) -> list[str]:
    return [name for name, pid in pids.items() if is_alive(pid)]
