"""Waiting for something to become true, however slow the machine is.

The deadline decides nothing but that something hangs: it is minutes away, so that no load on the machine reaches it.
What has to be fast is measured in `benchmarks/`.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

HANG_SECONDS = 300
"""After this long without what it waits for, a test is taken to hang."""

SHORTEST_PAUSE_SECONDS = 0.005
LONGEST_PAUSE_SECONDS = 0.1
"""Asking costs the processor that what is waited for needs: the longer it takes, the less often it is asked."""

T = TypeVar("T")
Report = Callable[[], object]


async def eventually(condition: Callable[[], Awaitable[T]], what: str = "", *, seen: Report | None = None) -> T:
    """Ask until the answer is true, and return it. Should it never be, `seen` tells what there is instead."""
    for pause in _pauses():
        if answer := await condition():
            return answer
        await asyncio.sleep(pause)
    told = seen() if seen is not None else answer
    raise AssertionError(_hangs(condition, what, await told if inspect.isawaitable(told) else told))


async def becomes(condition: Callable[[], T], what: str = "", *, seen: Report | None = None) -> T:
    """As `eventually`, for a condition that needs no awaiting."""

    async def asked() -> T:
        return condition()

    return await eventually(asked, what or _name(condition), seen=seen)


def wait_until(condition: Callable[[], T], what: str = "", *, seen: Report | None = None) -> T:
    """As `eventually`, where nothing else goes on in this process meanwhile."""
    for pause in _pauses():
        if answer := condition():
            return answer
        time.sleep(pause)
    raise AssertionError(_hangs(condition, what, seen() if seen is not None else answer))


def _pauses() -> Iterator[float]:
    deadline, pause = time.monotonic() + HANG_SECONDS, SHORTEST_PAUSE_SECONDS
    while time.monotonic() < deadline:
        yield pause
        pause = min(1.3 * pause, LONGEST_PAUSE_SECONDS)


def _hangs(condition: Callable[[], object], what: str, seen: object) -> str:
    return f"{what or _name(condition)}: not so after {HANG_SECONDS} s; seen last: {seen}"


def _name(condition: Callable[[], object]) -> str:
    """A function by its name, a lambda by its source."""
    function = getattr(condition, "func", condition)
    name: str = getattr(function, "__qualname__", repr(function))
    return inspect.getsource(function).strip() if "<lambda>" in name else name
