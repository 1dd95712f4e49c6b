"""Tasks that live as long as the service: started again if they fail, ended with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0

log = structlog.get_logger("supervision")


@asynccontextmanager
async def running(**tasks: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run these until the block is left, then cancel them and wait until they have tidied up."""
    started = [asyncio.create_task(_supervise(name, run), name=name) for name, run in tasks.items()]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


async def _supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A task that fails is logged and started again, after a pause that doubles while it fails at once."""
    pause = SHORTEST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await run()
            log.error("task ended though nobody stopped it; starting it again", task=name)
        except Exception:
            log.exception("task failed; starting it again", task=name)
        lasted = loop.time() - began > LONGEST_PAUSE_SECONDS
        pause = SHORTEST_PAUSE_SECONDS if lasted else min(pause * 2, LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(pause)
