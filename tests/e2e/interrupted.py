"""A test that never ends, for `test_interrupted_run.py` to interrupt. By its name, nobody else collects it."""

import asyncio
import json
import os
import signal
from pathlib import Path

from sqlalchemy import text

from app.db.embedded import EmbeddedPostgres
from app.db.engine import Database
from tests.e2e.deployment import postmaster_of
from tests.e2e.processes import start_process
from tests.surroundings import present_run
from tests.waiting import wait_until


def test_that_never_ends(fresh_database_url: str, own_server: EmbeddedPostgres, tmp_path: Path) -> None:
    """It tells the process ids of what it started, and where."""
    shared_server = EmbeddedPostgres(present_run().directory / "postgresql")
    facts = {"RUNS": str(tmp_path), "SIMULATED_FLEET": "node1=A100x1"}
    started_dispatcher = start_process(fresh_database_url, tmp_path, "tests.e2e.lasting_engine", **facts)
    wait_until(lambda: dispatches(fresh_database_url), "the dispatcher works")
    pids = {
        "this process": os.getpid(),
        "the run's PostgreSQL": postmaster_of(shared_server),
        "a test's own PostgreSQL": postmaster_of(own_server),
        "a forked process": started_dispatcher.pid,
        "an exec'd process": start_process(fresh_database_url, tmp_path, "http.server", "0", forked=False).pid,
    }
    assert not started_dispatcher.died_by_itself()
    told = Path(os.environ["PYTEST_TELLS"])
    draft = told.with_suffix(".draft")
    draft.write_text(json.dumps({"pids": pids, "directory": str(present_run().directory)}), encoding="utf-8")
    draft.rename(told)
    while True:
        signal.pause()


def dispatches(url: str) -> bool:
    async def is_held() -> bool:
        database = Database(url, pool_size=1)
        try:
            async with database.autocommit() as connection:
                found = await connection.execute(text("SELECT expires_at > clock_timestamp() FROM dispatcher_lease"))
                return bool(found.scalar_one())
        finally:
            await database.dispose()

    return asyncio.run(is_held())
