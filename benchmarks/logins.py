"""Hashing passwords must not make others wait: how long `/livez` takes while many people sign in."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import URL

from app.core.config import Settings
from app.core.security import hash_password
from benchmarks.people import new_signing_key, sign_up
from benchmarks.postgres import new_database
from benchmarks.report import Finding
from benchmarks.rounds import Effort
from benchmarks.service import HOST, Service, serving

LOGINS = 50
PASSWORD = "correct horse battery staple"  # noqa: S105
LIVEZ_INTERVAL_SECONDS = 0.005
RETRY_SECONDS = 1.0
REST_SECONDS = 5.0
LIMIT_MS = 200


def measure(server_url: URL, _effort: Effort) -> Iterator[Finding]:
    key = new_signing_key()
    cost = Settings.model_fields["bcrypt_cost"].default
    with new_database(server_url, "logins") as database:
        sign_up(database, LOGINS, key, password_hash=hash_password(PASSWORD, cost))
        settings = {"DATABASE_URL": str(database), "JWT_SECRET_KEY": key, "BCRYPT_COST": str(cost)}
        with serving("app.main:app", "/livez", settings) as service:
            emails = [row["email"] for row in database.fetch("SELECT email FROM users")]
            yield asyncio.run(_sign_in_all(service, emails, cost))


async def _sign_in_all(service: Service, emails: Sequence[str], cost: int) -> Finding:
    resting = asyncio.ensure_future(asyncio.sleep(REST_SECONDS))
    at_rest = [wait async for wait in _livez_milliseconds(service, until=resting)]
    began = time.perf_counter()
    signing_in = asyncio.gather(*(_sign_in(service, email) for email in emails))
    waits = sorted([wait async for wait in _livez_milliseconds(service, until=signing_in)])
    put_off = sum(await signing_in)
    seconds = time.perf_counter() - began
    return Finding(
        f"`/livez` while {LOGINS} logins hash at cost {cost}",
        f"{waits[-1]:.0f} ms at most",
        f"< {LIMIT_MS} ms",
        waits[-1] < LIMIT_MS,
        f"{waits[len(waits) // 2]:.0f} ms usually, {waits[len(waits) * 99 // 100]:.0f} ms in 1 of 100, "
        f"{max(at_rest):.0f} ms at most with nobody there; "
        f"all signed in after {seconds:.0f} s, {put_off} times one was told to come back (503)",
    )


async def _sign_in(service: Service, email: str) -> int:
    """Try until it works, as a client would, and return how often it was refused because too many wait already."""
    form = urlencode({"username": email, "password": PASSWORD}).encode()
    head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    login = f"{head}Content-Length: {len(form)}\r\nConnection: close\r\n\r\n".encode() + form
    refusals = 0
    while (status := await _status_of(service, login)) == HTTPStatus.SERVICE_UNAVAILABLE:
        refusals += 1
        await asyncio.sleep(RETRY_SECONDS)
    assert status == HTTPStatus.OK, status
    return refusals


async def _livez_milliseconds(service: Service, until: asyncio.Future[Any]) -> AsyncIterator[float]:
    livez = f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    while not until.done():
        began = time.perf_counter()
        assert await _status_of(service, livez) == HTTPStatus.OK
        yield (time.perf_counter() - began) * 1000
        await asyncio.sleep(LIVEZ_INTERVAL_SECONDS)


async def _status_of(service: Service, message: bytes) -> int:
    reader, writer = await asyncio.open_connection(HOST, service.port)
    writer.write(message)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])
