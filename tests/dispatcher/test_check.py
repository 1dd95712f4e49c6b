"""`python -m app.dispatcher.check`, as a container's health check runs it."""

import re
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from app.db.engine import Database
from app.db.queries import lease
from app.dispatcher import check

pytestmark = pytest.mark.anyio


REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def asked_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Awaitable[str | None]]:
    """What is wrong by the answer of this process, asked of one database in a directory that holds no `.env`."""

    def asked_of(database_url: str) -> Awaitable[str | None]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DATABASE_URL", database_url)
        return check.main()

    return asked_of


async def check_process(database_url: str, directory: Path) -> tuple[int | None, str]:
    """The exit code and what it wrote; run in a directory that holds no `.env`."""
    finished = await anyio.run_process(
        [sys.executable, "-m", "app.dispatcher.check"],
        env={"PYTHONPATH": str(REPOSITORY), "DATABASE_URL": database_url},
        cwd=directory,
        check=False,
    )
    return finished.returncode, finished.stderr.decode()


async def test_it_is_content_while_a_dispatcher_holds_the_lease(
    database: Database, database_url: str, asked_of: Callable[[str], Awaitable[str | None]]
) -> None:
    async with database.autocommit() as connection:
        await lease.acquire(connection, holder="test", ttl=timedelta(seconds=60))
    assert await asked_of(database_url) is None


async def test_it_complains_when_the_lease_has_run_out(database: Database, database_url: str, tmp_path: Path) -> None:
    async with database.autocommit() as connection:
        await lease.acquire(connection, holder="test", ttl=timedelta(seconds=-1))
    code, complaint = await check_process(database_url, tmp_path)
    assert code == 1
    assert re.fullmatch(r"no dispatcher holds the lease; the last one renewed it \d+ s ago\n", complaint)


async def test_it_says_in_one_line_that_the_database_is_away(asked_of: Callable[[str], Awaitable[str | None]]) -> None:
    complaint = await asked_of("postgresql://nobody@127.0.0.1:1/nothing")
    assert complaint == "the lease cannot be read (CannotConnect): see that the database runs and is migrated"
