"""The PostgreSQL to measure on, and pgbench, which shows what it can do at most."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncpg
from sqlalchemy import URL, make_url

from app.db.embedded import EmbeddedPostgres
from app.db.embedded_account import Account
from app.db.engine import normalise_url
from app.db.migrations import upgrade_to_head
from benchmarks.processes import cpu_seconds

DATA = Path(__file__).parent / "data"
PGBENCH_CLIENTS = 16
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class BenchDatabase:
    """One database with our schema, and nothing in it that was not put there for measuring."""

    url: URL

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=False)

    def execute(self, statements: str) -> None:
        async def work() -> None:
            async with self._connection() as connection:
                await connection.execute(statements)

        asyncio.run(work())

    def fetch(self, statement: str, *values: Any) -> Sequence[asyncpg.Record]:
        return asyncio.run(self.query(statement, *values))

    async def query(self, statement: str, *values: Any) -> Sequence[asyncpg.Record]:
        async with self._connection() as connection:
            return await connection.fetch(statement, *values)

    async def server_cpu_seconds(self) -> float:
        """Time on a core that the processes of this database's connections have used; 0 if they run elsewhere."""
        if not (self.url.host is None or self.url.host in LOOPBACK):
            return 0.0
        backends = await self.query("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        seconds = 0.0
        for backend in backends:
            with suppress(FileNotFoundError):  # it has ended since
                seconds += cpu_seconds(backend["pid"])
        return seconds

    def pgbench(self, script: str, seconds: float) -> float:
        """How many times per second 16 clients get through this script."""
        with TemporaryDirectory() as directory:
            path = Path(directory, "script.sql")
            path.write_text(script, encoding="utf-8")
            done = Account.mine().run(
                "pgbench",
                "--no-vacuum",
                "--protocol=prepared",
                f"--client={PGBENCH_CLIENTS}",
                f"--time={max(1, round(seconds))}",
                f"--file={path}",
                environment=_libpq_environment(self.url),
            )
        rate = re.search(r"^tps = ([0-9.]+) ", done.stdout, re.MULTILINE)
        failed = re.search(r"^number of failed transactions: 0 ", done.stdout, re.MULTILINE)
        if done.returncode != 0 or rate is None or failed is None:
            raise SystemExit(f"pgbench failed: {done.stderr}{done.stdout}")
        return float(rate[1])

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url.set(drivername="postgresql").render_as_string(hide_password=False))
        try:
            yield connection
        finally:
            await connection.close()


@contextmanager
def server() -> Iterator[URL]:
    """The server that BENCH_DATABASE_URL names, or an embedded one with the settings that `scripts/serve` gives it."""
    if given := os.environ.get("BENCH_DATABASE_URL"):
        yield make_url(normalise_url(given))
        return
    DATA.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=DATA) as directory, EmbeddedPostgres(Path(directory)) as url:
        yield make_url(url)


@contextmanager
def new_database(server_url: URL, purpose: str) -> Iterator[BenchDatabase]:
    """A database that lives as long as the block."""
    name = f"bench_{purpose}_{os.getpid()}"
    administration = BenchDatabase(server_url)
    administration.execute(f"CREATE DATABASE {name}")
    database = BenchDatabase(server_url.set(database=name))
    try:
        upgrade_to_head(str(database))
        yield database
    finally:
        administration.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _libpq_environment(url: URL) -> dict[str, str]:
    named = {
        "PGHOST": url.host or url.query.get("host"),
        "PGPORT": url.port or url.query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
    }
    return {name: str(value) for name, value in named.items() if value}
