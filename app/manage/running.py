"""How a command runs: on the service's database, in the name of whoever typed it, failing in one line."""

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import typer

from app.core.config import ConfigurationError, Settings, load_settings
from app.db.bootstrap import DatabaseUnusable, open_database
from app.db.embedded import EmbeddedPostgresError
from app.db.engine import Database
from app.domain.errors import DomainError, PasswordRefused
from app.domain.identity import Actor
from app.schemas.messages import find_message

T = TypeVar("T")


class CommandFailed(Exception):
    """The command cannot do what it was asked. The message is one sentence that says what to do."""


def on_database(work: Callable[[Database, Settings], Awaitable[T]], *, migrate: bool | None = None) -> T:
    """Run the work on the database of the settings; `migrate` overrides `MIGRATE_ON_START`."""
    with failures_as_one_line():
        settings = load_settings() if migrate is None else load_settings(migrate_on_start=migrate)

        async def run() -> T:
            async with open_database(settings) as database:
                return await work(database, settings)

        return asyncio.run(run())


@contextmanager
def failures_as_one_line() -> Iterator[None]:
    try:
        yield
    except (CommandFailed, ConfigurationError, DatabaseUnusable, EmbeddedPostgresError) as error:
        _fail(str(error), error)
    except DomainError as error:
        _fail(_sentence(error), error)


def operator() -> Actor:
    """Whoever typed the command, as the operating system knows them."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        name = str(os.getuid())
    return Actor(process=f"cli:{name}")


def _fail(sentence: str, cause: Exception) -> None:
    typer.echo(f"error: {sentence}", err=True)
    raise typer.Exit(1) from cause


def _sentence(error: DomainError) -> str:
    key = f"error.{error.code}.{error.rule}" if isinstance(error, PasswordRefused) else f"error.{error.code}.detail"
    return find_message(key, "en") or error.code
