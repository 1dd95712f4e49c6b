"""The demo's service, which all workers of a run share: they only look at it."""

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from tests.browser.demo import ENVIRONMENT, make_lab
from tests.browser.service import Service, joining, serving
from tests.conftest import clone, drop
from tests.surroundings import make_directory


@asynccontextmanager
async def shared_demo(server_url: str, template: str, run_directory: Path) -> AsyncIterator[Service]:
    """The first to come makes the lab and starts its service; it stops it when everybody else has left."""
    directory = make_directory(run_directory / "demo")
    record = directory / "service"
    with (directory / "lock").open("w") as lock, (directory / "users").open("w") as users:
        await _flock(lock, fcntl.LOCK_EX)
        await _flock(users, fcntl.LOCK_SH)
        if record.exists():
            await _flock(lock, fcntl.LOCK_UN)
            url, database_url = record.read_text(encoding="utf-8").splitlines()
            async with joining(url, database_url, directory, ENVIRONMENT) as service:
                yield service
            return
        name = f"{template}_{run_directory.name.replace('-', '_')}"
        database_url = await clone(server_url, template, name)
        await make_lab(database_url, directory)
        async with serving(database_url, directory, ENVIRONMENT) as service:
            record.write_text(f"{service.url}\n{database_url}", encoding="utf-8")
            await _flock(lock, fcntl.LOCK_UN)
            yield service
            await _flock(lock, fcntl.LOCK_EX)
            await _flock(users, fcntl.LOCK_EX)
            record.unlink()
        await drop(server_url, name)


async def _flock(file: IO[str], operation: int) -> None:
    await asyncio.to_thread(fcntl.flock, file, operation)
