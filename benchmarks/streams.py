"""Idle event streams: what each costs the service, and that none holds a database connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median

from sqlalchemy import URL

from benchmarks.load import request
from benchmarks.people import Person, new_signing_key, sign_up
from benchmarks.postgres import BenchDatabase, new_database
from benchmarks.processes import resident_kib
from benchmarks.report import Finding
from benchmarks.rounds import Effort
from benchmarks.service import HOST, Service, serving

STREAMS_PER_PERSON = 50
OPENED_AT_ONCE = 50
SAMPLES = 20
SAMPLE_SECONDS = 0.1
POOL_SIZE = 2
"""So small that streams which held connections would leave none for the requests that are made beside them."""
LIMIT_KIB = 50

# A connection that somebody holds is between two statements of a transaction, or at work in every look at it.
_BUSY = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'gpu-task-manager' AND state <> 'idle'
"""


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    key = new_signing_key()
    with new_database(server_url, "streams") as database:
        people = sign_up(database, -(-effort.streams // STREAMS_PER_PERSON), key)
        settings = {
            "DATABASE_URL": str(database),
            "JWT_SECRET_KEY": key,
            "DISPATCHER": "external",
            "DATABASE_POOL_SIZE": str(POOL_SIZE),
        }
        with serving("app.main:app", "/livez", settings) as service:
            yield from asyncio.run(_hold_open(database, service, people, effort))


async def _hold_open(
    database: BenchDatabase, service: Service, people: Sequence[Person], effort: Effort
) -> Sequence[Finding]:
    requests = [request("GET", "/api/v1/events", people[n % len(people)].token) for n in range(effort.streams)]
    async with AsyncExitStack() as stack:
        before = resident_kib(service.pid)
        for first in range(0, len(requests), OPENED_AT_ONCE):
            batch = requests[first : first + OPENED_AT_ONCE]
            await asyncio.gather(*(stack.enter_async_context(_open_stream(service, stream)) for stream in batch))
        each_kib = (resident_kib(service.pid) - before) / len(requests)
        held = await _connections_held(database)
        read_ms = await _milliseconds_of_a_read(service, people[0])
    return [
        Finding(
            f"memory of each of {effort.streams:,} idle streams",
            f"{each_kib:.0f} KiB",
            f"< {LIMIT_KIB} KiB",
            each_kib < LIMIT_KIB,
            f"resident memory of the service, {before / 1024:.0f} MiB before",
        ),
        Finding(
            f"database connections held by {effort.streams:,} idle streams",
            str(held),
            "0",
            held == 0,
            f"with a pool of {POOL_SIZE}; a `GET /jobs` beside them takes {read_ms:.0f} ms",
        ),
    ]


@asynccontextmanager
async def _open_stream(service: Service, stream: bytes) -> AsyncIterator[None]:
    """Open, and past its first event: from there on it waits."""
    reader, writer = await asyncio.open_connection(HOST, service.port)
    try:
        writer.write(stream)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readuntil(b"event: reset")
        yield
    finally:
        writer.close()


async def _connections_held(database: BenchDatabase) -> int:
    """Connections that were busy whenever we looked: the feed's own poll is over between two looks."""
    held: set[int] | None = None
    for _ in range(SAMPLES):
        busy = {row["pid"] for row in await database.query(_BUSY)}
        held = busy if held is None else held & busy
        await asyncio.sleep(SAMPLE_SECONDS)
    return len(held or ())


async def _milliseconds_of_a_read(service: Service, person: Person) -> float:
    reader, writer = await asyncio.open_connection(HOST, service.port)
    times = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        writer.write(request("GET", "/api/v1/jobs", person.token))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        await reader.readexactly(len(b"[]"))
        times.append((time.perf_counter() - began) * 1000)
    writer.close()
    return median(times)
