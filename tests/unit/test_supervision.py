import asyncio
from collections.abc import Awaitable, Callable

import pytest

from app.core import supervision
from app.core.supervision import running

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "SHORTEST_PAUSE_SECONDS", 0.001)


def failing_until(attempt: int, done: asyncio.Event) -> Callable[[], Awaitable[None]]:
    attempts = 0

    async def run() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < attempt:
            raise RuntimeError(f"attempt {attempts}")
        done.set()
        await asyncio.Event().wait()

    return run


async def test_a_task_that_fails_is_started_again() -> None:
    done = asyncio.Event()
    async with running(stubborn=failing_until(4, done)):
        await done.wait()


async def test_a_task_that_fails_does_not_take_the_others_with_it() -> None:
    done, undisturbed = asyncio.Event(), asyncio.Event()
    async with running(stubborn=failing_until(4, done), calm=failing_until(1, undisturbed)):
        await done.wait()
        assert undisturbed.is_set()


async def test_leaving_waits_until_every_task_has_tidied_up() -> None:
    began, tidied = asyncio.Event(), False

    async def careful() -> None:
        nonlocal tidied
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied = True

    async with running(careful=careful):
        await began.wait()
    assert tidied
