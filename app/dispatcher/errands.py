"""Words with the engine, side by side and beside the tick, so that a slow one holds up nobody else."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

FAREWELL_SECONDS = 5.0
"""How long errands that are broken off may take to give back what they hold."""

Answer = TypeVar("Answer")
Name = tuple[str, Hashable]
"""What is done, and to what."""


class Errands:
    """What one dispatcher has under way, each under its own name.

    Whoever waits for them does so while they work, and while the engine keeps them waiting for `patience`. An errand
    that it keeps waiting for longer is left to itself: it goes on beside the tick, until the engine answers or
    `time_limit` has passed.
    """

    def __init__(self, *, patience: timedelta, time_limit: timedelta) -> None:
        self._patience_seconds = patience.total_seconds()
        self._time_limit_seconds = time_limit.total_seconds()
        self._under_way: dict[Name, asyncio.Task[object]] = {}
        self._waited_for: set[asyncio.Task[Any]] = set()
        self._fewer_are_waited_for = asyncio.Event()
        self._failures: list[BaseException] = []

    def __contains__(self, name: Name) -> bool:
        return name in self._under_way

    def count(self, kind: str) -> int:
        return sum(name[0] == kind for name in self._under_way)

    def begin(self, name: Name, errand: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Unless one of this name is under way."""
        if name in self._under_way:
            return
        task = self._under_way[name] = asyncio.create_task(errand())
        self._waited_for.add(task)
        task.add_done_callback(partial(self._end, name))

    async def wait(self) -> None:
        """Until each errand has ended or is left to itself. Raises what has gone wrong in one since the last time."""
        while self._waited_for:
            self._fewer_are_waited_for.clear()
            await self._fewer_are_waited_for.wait()
        if self._failures:
            failure = self._failures[0]
            self._failures.clear()
            raise failure

    async def ask(self, call: Callable[[], Awaitable[Answer]], slots: asyncio.Semaphore | None = None) -> Answer:
        """What the engine answers to this call, for which a slot must be free. To be used within an errand.

        Raises:
            TimeoutError: no answer came within the time limit. Whatever the call still does, nobody hears of it.
        """
        asked = asyncio.ensure_future(self._ask_in_turn(call, slots))
        try:
            await asyncio.wait([asked], timeout=self._patience_seconds)
            if not asked.done():
                self._leave(asyncio.current_task())
            return await asked
        finally:
            asked.cancel()

    async def abandon(self) -> None:
        """Break all of them off. The engine may have heard them or not, as after a crash."""
        tasks = list(self._under_way.values())
        self._under_way.clear()
        self._waited_for.clear()
        self._failures.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=FAREWELL_SECONDS)

    async def _ask_in_turn(self, call: Callable[[], Awaitable[Answer]], slots: asyncio.Semaphore | None) -> Answer:
        """Unlike `asyncio.timeout`, this also ends for a call that does not let itself be cancelled."""
        async with slots or nullcontext():
            called = asyncio.ensure_future(call())
            try:
                await asyncio.wait([called], timeout=self._time_limit_seconds)
                if not called.done():
                    raise TimeoutError(f"the engine has not answered within {self._time_limit_seconds:g} s")
                return called.result()
            finally:
                called.cancel()

    def _leave(self, task: asyncio.Task[Any] | None) -> None:
        if task in self._waited_for:
            self._waited_for.remove(task)
            self._fewer_are_waited_for.set()

    def _end(self, name: Name, task: asyncio.Task[object]) -> None:
        self._leave(task)
        failure = None if task.cancelled() else task.exception()
        if self._under_way.get(name) is task:
            del self._under_way[name]
            if failure is not None:
                self._failures.append(failure)
