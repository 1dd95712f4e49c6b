"""The dispatcher as its own process: `python -m app.dispatcher`, beside an API that runs with `DISPATCHER=external`."""

import asyncio
import contextlib
import signal
import sys

from app.core.clock import system_clock
from app.core.config import ConfigurationError, load_settings
from app.core.logging import configure_logging
from app.db.bootstrap import DatabaseUnusable, open_database, warn_if_owner
from app.db.embedded import EmbeddedPostgresError
from app.dispatcher.build import create_dispatcher
from app.executors.registry import create_executor


async def main() -> None:
    """Dispatch until SIGTERM or SIGINT. Running jobs go on; the next dispatcher adopts them."""
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    executor = create_executor(settings, system_clock)
    async with open_database(settings) as database:
        await warn_if_owner(database)
        dispatcher = asyncio.ensure_future(create_dispatcher(database, executor, settings, system_clock).run())
        loop = asyncio.get_running_loop()
        for stop in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(stop, dispatcher.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await dispatcher


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except (ConfigurationError, DatabaseUnusable, EmbeddedPostgresError) as problem:
        sys.exit(f"gpu-task-manager cannot start its dispatcher: {problem}")
