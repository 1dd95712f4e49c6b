"""`python -m app.dispatcher.check`, as a container's health check runs it."""

import re
import sys
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from app.db.engine import Database
from app.db.queries import lease

pytestmark = pytest.mark.anyio


REPOSITORY = Path(__file__).parents[2]


async def check(database_url: str, directory: Path) -> tuple[int | None, str]:
    """The exit code and what it wrote; run in a directory that holds no `.env`."""
    finished = await anyio.run_process(
        [sys.executable, "-m", "app.dispatcher.check"],
        env={"PYTHONPATH": str(REPOSITORY), "DATABASE_URL": database_url},
        cwd=directory,
        check=False,
    )
    return finished.returncode, finished.stderr.decode()


async def test_it_is_content_while_a_dispatcher_holds_the_lease(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    async with database.autocommit() as connection:
        await lease.acquire(connection, holder="test", ttl=timedelta(seconds=60))
    assert await check(database_url, tmp_path) == (0, "")


async def test_it_complains_when_the_lease_has_run_out(database: Database, database_url: str, tmp_path: Path) -> None:
    async with database.autocommit() as connection:
        await lease.acquire(connection, holder="test", ttl=timedelta(seconds=-1))
    code, complaint = await check(database_url, tmp_path)
    assert code == 1
    assert re.fullmatch(r"no dispatcher holds the lease; the last one renewed it \d+ s ago\n", complaint)


async def test_it_says_in_one_line_that_the_database_is_away(tmp_path: Path) -> None:
    code, complaint = await check("postgresql://nobody@127.0.0.1:1/nothing", tmp_path)
    assert code == 1
    assert complaint == "the lease cannot be read (CannotConnect): see that the database runs and is migrated\n"
