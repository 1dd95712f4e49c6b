"""A load generator for machines without wrk: `python -m benchmarks.generator FILE PORT CONNECTIONS SECONDS`."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import cast

import uvloop

from benchmarks.load import SEPARATOR
from benchmarks.service import HOST

CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Client(asyncio.Protocol):
    """One connection: sends a request, and the next one as soon as its answer is complete."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.answered = 0
        self.failed = 0
        self._requests = requests
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank_line, body = self._received.partition(b"\r\n\r\n")
        if not blank_line:
            return
        length = CONTENT_LENGTH.search(head)
        if length is not None and len(body) < int(length[1]):
            return
        self.answered += 1
        self.failed += length is None or not head.startswith(b"HTTP/1.1 2")
        self._received = b""
        self._transport.write(next(self._requests))

    def connection_lost(self, _: Exception | None) -> None:
        self.failed += 1


async def main(requests: Iterator[bytes], port: int, connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began = perf_counter()
    clients = [(await loop.create_connection(lambda: Client(requests), HOST, port))[1] for _ in range(connections)]
    await asyncio.sleep(seconds)
    answered, failed = sum(each.answered for each in clients), sum(each.failed for each in clients)
    print(json.dumps({"answered": answered, "failed": failed, "seconds": perf_counter() - began}))


if __name__ == "__main__":
    file, port, connections, seconds = sys.argv[1:]
    requests = cycle(Path(file).read_bytes().split(SEPARATOR))
    uvloop.run(main(requests, int(port), int(connections), float(seconds)))
