"""The embedded PostgreSQL is killed while the service runs: it comes back by itself, with all that was committed."""

import os
import signal
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.db import bootstrap
from app.db.bootstrap import open_database
from app.db.engine import CannotConnect, Database
from tests.waiting import eventually

pytestmark = pytest.mark.anyio


async def count_marks(database: Database) -> int:
    async with database.autocommit() as connection:
        count: int = (
            await connection.execute(text("SELECT count(*) FROM login_failures WHERE subject = 'kept'"))
        ).scalar_one()
        return count


async def start_of(database: Database) -> datetime:
    """When the server that answers was started."""
    async with database.autocommit() as connection:
        moment: datetime = (await connection.execute(text("SELECT pg_postmaster_start_time()"))).scalar_one()
    return moment


async def test_a_killed_server_comes_back_with_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "REVIVAL_INTERVAL_SECONDS", 0.05)
    async with open_database(Settings(_env_file=None, data_dir=tmp_path)) as database:
        async with database.transaction() as connection:
            await connection.execute(text("INSERT INTO login_failures (subject, failed_at) VALUES ('kept', now())"))
        pid_file = tmp_path / "postgres" / "postmaster.pid"
        postmaster = int(pid_file.read_text(encoding="utf-8").split("\n")[0])
        started_at = await start_of(database)
        os.kill(postmaster, signal.SIGKILL)

        async def is_back() -> bool:
            """An old connection may answer for a moment after its server was killed."""
            try:
                return await start_of(database) != started_at
            except CannotConnect:
                return False
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                return False

        await eventually(is_back)
        assert await count_marks(database) == 1
    assert not pid_file.exists()
