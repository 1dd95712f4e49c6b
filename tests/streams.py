"""Reading a response while it is still being written, which the ASGI transport of the HTTP client cannot do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

from tests.waiting import HANG_SECONDS


@dataclass(eq=False)
class Stream:
    """A response in progress."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    _chunks: "asyncio.Queue[bytes | None]" = field(default_factory=asyncio.Queue)
    _begun: asyncio.Event = field(default_factory=asyncio.Event)
    _received: bytes = b""

    async def read_until(self, ending: bytes = b"\n\n") -> bytes:
        """The next piece up to and with `ending`; what is left when the stream ends before that."""
        while ending not in self._received:
            chunk = await asyncio.wait_for(self._chunks.get(), HANG_SECONDS)
            if chunk is None:
                piece, self._received = self._received, b""
                return piece
            self._received += chunk
        piece, _, self._received = self._received.partition(ending)
        return piece + ending

    async def read_to_end(self) -> bytes:
        while (chunk := await asyncio.wait_for(self._chunks.get(), HANG_SECONDS)) is not None:
            self._received += chunk
        return self._received

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self._begun.set()
        elif message["type"] == "http.response.body":
            await self._chunks.put(message.get("body", b""))
            if not message.get("more_body", False):
                await self._chunks.put(None)

    async def begun(self) -> None:
        await asyncio.wait_for(self._begun.wait(), HANG_SECONDS)


@asynccontextmanager
async def open_stream(app: FastAPI, path: str, *, token: str | None = None, **headers: str) -> AsyncIterator[Stream]:
    """`async with open_stream(app, "/api/v1/events", token=token) as stream`. Leaving hangs up, as a browser would."""
    bare_path, _, query = path.partition("?")
    sent = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if token is not None:
        sent["authorization"] = f"Bearer {token}"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": bare_path,
        "raw_path": bare_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("192.0.2.10", 50000),
        "server": ("service.test", 80),
    }
    stream, hung_up = Stream(), asyncio.Event()
    request_was_read = False

    async def receive() -> dict[str, Any]:
        nonlocal request_was_read
        if not request_was_read:
            request_was_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await hung_up.wait()
        return {"type": "http.disconnect"}

    request = asyncio.create_task(app(scope, receive, stream.send))
    try:
        await stream.begun()
        yield stream
    finally:
        hung_up.set()
        await asyncio.wait_for(request, HANG_SECONDS)
