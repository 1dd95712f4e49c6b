"""Ends open streams when the process is told to stop. A server waits for its last response, and a stream has no end."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAINED: Message = {"type": "http.disconnect"}
TERMINATIONS = (signal.SIGINT, signal.SIGTERM)


class Drain:
    """Set once, when the process is told to stop."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()
        self.has_begun = False

    def begin(self) -> None:
        self.has_begun = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    @contextmanager
    def beginning(self) -> Iterator[asyncio.Future[None]]:
        """A future that is done when the drain begins."""
        waiter = asyncio.get_running_loop().create_future()
        if self.has_begun:
            waiter.set_result(None)
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)

    @contextmanager
    def begins_at_termination(self) -> Iterator[None]:
        """Hear the signals that the server hears; its own handlers are called afterwards, as if we were not there."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in TERMINATIONS}

        def hear(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
            if callable(handler := before[signal.Signals(number)]):
                handler(number, frame)

        ours = [number for number, handler in before.items() if _is_of_a_server(handler)]
        for number in ours:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number in ours:
                signal.signal(number, before[number])


def _is_of_a_server(handler: object) -> bool:
    return callable(handler) and handler is not signal.default_int_handler


class EndStreams:
    """To a stream, the drain looks as if its client had hung up."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self.drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body_was_read = is_drained = is_complete = False

        async def receive_or_drain() -> Message:
            nonlocal body_was_read, is_drained
            if body_was_read:
                message = await self._end(receive)
                is_drained = message is DRAINED
                return message
            message = await receive()
            body_was_read = not message.get("more_body", False)
            return message

        async def send_and_watch(message: Message) -> None:
            nonlocal is_complete
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        await self.app(scope, receive_or_drain, send_and_watch)
        if is_drained and not is_complete:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return None

    async def _end(self, receive: Receive) -> Message:
        """After the request's body nothing can come but the end."""
        with self.drain.beginning() as beginning:
            hung_up = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((hung_up, beginning), return_when=asyncio.FIRST_COMPLETED)
                return hung_up.result() if hung_up.done() else DRAINED
            finally:
                hung_up.cancel()
