"""A test that never ends, for `test_interrupted_run.py` to interrupt. By its name, nobody else collects it."""

import json
import os
import signal
from pathlib import Path

from app.db.embedded import EmbeddedPostgres
from tests.e2e.deployment import postmaster_of
from tests.e2e.processes import start_process
from tests.surroundings import present_run


def test_that_never_ends(server_url: str, own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """It tells the process ids of what it started, and where."""
    shared_server = EmbeddedPostgres(present_run().directory / "postgresql")
    facts = {"RUNS": str(tmp_path), "SIMULATED_FLEET": "node1=A100x1"}
    pids = {
        "this process": os.getpid(),
        "the run's PostgreSQL": postmaster_of(shared_server),
        "a test's own PostgreSQL": postmaster_of(own_server),
        "a forked process": start_process(server_url, tmp_path, "tests.e2e.lasting_engine", **facts).pid,
        "an exec'd process": start_process(server_url, tmp_path, "http.server", "0", forked=False).pid,
    }
    told = Path(os.environ["PYTEST_TELLS"])
    draft = told.with_suffix(".draft")
    draft.write_text(json.dumps({"pids": pids, "directory": str(present_run().directory)}), encoding="utf-8")
    draft.rename(told)
    while True:
        signal.pause()
