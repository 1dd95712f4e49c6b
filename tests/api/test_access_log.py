"""One line per request, and never a secret in it or beside it."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.deps import Autocommit
from app.core.config import LogFormat
from app.core.logging import configure_logging
from tests.api.probes import add_route
from tests.conftest import browser
from tests.factories import Person, make_user

pytestmark = pytest.mark.anyio

CANARY = "c4n4ry-T0ken"
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    configure_logging(LogFormat.JSON, "INFO")
    logging.getLogger("httpx2").setLevel("WARNING")  # the test's own client
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    configure_logging(LogFormat.JSON, "WARNING")


async def test_a_request_is_one_line(as_user: httpx2.AsyncClient, user: Person, lines: Lines) -> None:
    lines()
    answer = await as_user.get("/api/v1/jobs/77?", headers={"X-Request-ID": "r-1"})
    assert answer.status_code == 404
    [line] = lines()
    assert 0 < line.pop("ms") < 10_000
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "access",
        "event": "request",
        "method": "GET",
        "path": "/api/v1/jobs/{job_id}",
        "status": 404,
        "request_id": "r-1",
        "user_id": user.id,
        "job_id": 77,
    }


async def test_the_next_request_does_not_inherit_the_person(
    as_user: httpx2.AsyncClient, client: httpx2.AsyncClient, lines: Lines
) -> None:
    await as_user.get("/api/v1/jobs/77")
    lines()
    await client.get("/")
    [line] = lines()
    assert not line.keys() & {"user_id", "job_id"}


async def test_an_unknown_address_is_written_without_its_query(client: httpx2.AsyncClient, lines: Lines) -> None:
    await client.get(f"/nothing?token={CANARY}")
    [line] = lines()
    assert line["path"] == "/nothing"


@pytest.mark.usefixtures("lines")
async def test_no_secret_reaches_the_log(app: FastAPI, probe: FastAPI, capsys: pytest.CaptureFixture[str]) -> None:
    async def fail_with_parameters(connection: Autocommit, password: str) -> None:
        await connection.execute(text("SELECT 1 / (length(:password) - length(:password))"), {"password": password})

    await make_user(app.state.gtm, email="sara@example.org", password=f"{CANARY}-password")
    path = add_route(probe, fail_with_parameters, methods=["POST"])
    async with browser(app, token=CANARY, Cookie=f"gtm_refresh={CANARY}") as client:
        await client.get("/api/v1/jobs", params={"q": CANARY})
        await client.post("/api/v1/auth/refresh", headers={"X-Requested-With": "x"})
        await client.post("/api/v1/auth/login", data={"username": "sara@example.org", "password": f"{CANARY}-password"})
        await client.post("/api/v1/auth/login", data={"username": "sara@example.org", "password": f"{CANARY}-wrong"})
        await client.post("/api/v1/auth/register", json={"email": "x@example.org", "password": CANARY, "extra": CANARY})
    async with browser(probe) as client:
        answer = await client.post(path, params={"password": CANARY})
        assert answer.status_code == 500
        assert CANARY not in answer.text
    written = capsys.readouterr().err
    assert "DivisionByZero" in written or "division by zero" in written
    assert CANARY not in written
