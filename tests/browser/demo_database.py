"""The demo's database. One worker of a run makes the lab, as `tests/conftest.py` makes its template; all clone it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from tests.browser.demo import make_lab

LAB_LOCK = 4_761_004
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:12]
"""A lab is of its day: what runs in it now has ended by the next run of the tests."""


@contextmanager
def cloned_lab(server_url: str, template: str, directory: Path) -> Iterator[str]:
    """The lab is dropped by whoever is done first, and made again in the rare case that somebody comes later still."""
    lab = f"{template}_lab_{RUN}"
    clone = f"{lab}_{os.getpid()}"
    asyncio.run(_make_and_clone(server_url, template, lab, clone, directory))
    yield _url_of(server_url, clone)
    asyncio.run(_drop(server_url, clone, lab))


async def _make_and_clone(server_url: str, template: str, lab: str, clone: str, directory: Path) -> None:
    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await _lock(connection)
        found = await connection.scalar(text("SELECT count(*) FROM pg_database WHERE datname = :name"), {"name": lab})
        if found == 0:
            draft = f"{lab}_draft"
            await connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {draft} WITH (FORCE)")
            await connection.exec_driver_sql(f"CREATE DATABASE {draft} TEMPLATE {template}")
            await make_lab(_url_of(server_url, draft), directory)
            await connection.exec_driver_sql(f"ALTER DATABASE {draft} RENAME TO {lab}")
        await connection.exec_driver_sql(f"CREATE DATABASE {clone} TEMPLATE {lab}")
    await engine.dispose()


async def _drop(server_url: str, clone: str, lab: str) -> None:
    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await _lock(connection)
        await connection.exec_driver_sql(f"DROP DATABASE {clone} WITH (FORCE)")
        await connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {lab}")
    await engine.dispose()


async def _lock(connection: AsyncConnection) -> None:
    """Until the connection is closed."""
    await connection.exec_driver_sql(f"SELECT pg_advisory_lock({LAB_LOCK})")


def _url_of(server_url: str, name: str) -> str:
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)
