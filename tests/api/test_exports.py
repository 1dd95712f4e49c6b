"""Lists as CSV files: who gets them, what stands in them, and that a long one holds nobody up."""

import csv
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from anyio.lowlevel import checkpoint
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.pool import QueuePool
from starlette.types import Message, Receive, Scope, Send

from app.api.draining import DRAINED
from app.api.exports import Download
from app.api.state import AppState
from app.services import exports
from tests.conftest import FakeClock, browser
from tests.factories import Person, approve_job, make_fleet, make_job, reject_job, start_job

pytestmark = pytest.mark.anyio

TokenFor = Callable[[Person], Awaitable[str]]
Watch = Callable[[Message], Awaitable[None]]

ONE_MINUTE = timedelta(minutes=1)
OWN = "/api/v1/jobs/export"
ALL = "/api/v1/admin/jobs/export"
AUDIT = "/api/v1/admin/audit/export"
LEDGER = "/api/v1/quota/entries/export"


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state)


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "ROWS_IN_A_BATCH", 2)
    monkeypatch.setattr(exports, "ROWS_IN_A_FILE", 5)


@pytest.mark.parametrize("path", [OWN, LEDGER, ALL, AUDIT])
async def test_a_stranger_gets_no_file(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize("path", [ALL, AUDIT, "/api/v1/admin/users/1/quota/entries/export"])
async def test_what_is_everybodys_is_for_admins(as_user: httpx2.AsyncClient, path: str) -> None:
    assert (await as_user.get(path)).status_code == 403


async def test_a_job_is_a_line_for_a_spreadsheet(
    as_user: httpx2.AsyncClient, state: AppState, user: Person, admin: Person, clock: FakeClock
) -> None:
    job = await make_job(state, user, name="=cmd|' /C calc'!A0", num_gpus=2, time_limit=timedelta(hours=1.5))
    clock.advance(minutes=5)
    await approve_job(state, job.id, admin)
    clock.advance(minutes=10)
    await start_job(state, job.id, admin)
    answer = await as_user.get(OWN)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="jobs-2026-03-10.csv"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert rows_of(answer) == [
        {
            "id": str(job.id),
            "name": "'=cmd|' /C calc'!A0",
            "owner_email": user.email,
            "owner_name": user.full_name,
            "status": "RUNNING",
            "reason": "",
            "gpu_type": "A100",
            "num_gpus": "2",
            "estimated_hours": "1.5000",
            "reserved_gpu_hours": "3.0000",
            "charged_gpu_hours": "0.0000",
            "submitted_at": "2026-03-10T12:00:00+00:00",
            "submitted_jalali": "1404-12-19",
            "decided_at": "2026-03-10T12:05:00+00:00",
            "decided_jalali": "1404-12-19",
            "started_at": "2026-03-10T12:15:00+00:00",
            "started_jalali": "1404-12-19",
            "finished_at": "",
            "finished_jalali": "",
            "decided_by": admin.email,
            "decision_note": "",
        }
    ]


async def test_a_rejected_job_tells_why(
    as_user: httpx2.AsyncClient, state: AppState, user: Person, admin: Person
) -> None:
    await reject_job(state, (await make_job(state, user)).id, admin)
    [row] = rows_of(await as_user.get(OWN))
    assert (row["status"], row["reason"], row["decision_note"]) == ("REJECTED", "REJECTED_BY_ADMIN", "Too long")


async def test_nothing_is_a_file_with_the_names_of_its_columns(as_user: httpx2.AsyncClient) -> None:
    answer = await as_user.get(OWN)
    assert answer.text.startswith("\ufeffid,name,owner_email,")
    assert answer.text.count("\r\n") == 1


@pytest.mark.parametrize(
    "query", ["", "status=PENDING", "status=APPROVED&status=REJECTED", "q=resnet", "status=PENDING&q=bert", "q=nothing"]
)
async def test_a_file_holds_what_the_list_shows(
    as_user: httpx2.AsyncClient, as_admin: httpx2.AsyncClient, state: AppState, user: Person, admin: Person, query: str
) -> None:
    for owner in (user, admin):
        made = [
            await make_job(state, owner, name=f"{name}-{owner.id}") for name in ("resnet", "bert", "resnet", "bert")
        ]
        await approve_job(state, made[0].id, admin)
        await reject_job(state, made[1].id, admin)
    lists = [(as_user, "/api/v1/jobs", query)]
    lists += [
        (as_admin, "/api/v1/admin/jobs", f"{query}&{more}")
        for more in ("", f"user={user.id}", "gpu_type=A100&sort=oldest")
    ]
    for client, path, filters in lists:
        shown = (await client.get(f"{path}?{filters}")).json()
        in_file = rows_of(await client.get(f"{path}/export?{filters}"))
        assert [row["id"] for row in in_file] == [str(job["id"]) for job in shown], filters


async def test_the_ledger_is_a_file(
    as_admin: httpx2.AsyncClient, as_user: httpx2.AsyncClient, user: Person, admin: Person
) -> None:
    path = f"/api/v1/admin/users/{user.id}/quota"
    await as_admin.post(f"{path}/adjustments", json={"hours": 2, "reason": "Counted by hand"})
    await as_admin.post(f"{path}/adjustments", json={"hours": -1.5, "reason": "-1.5, as agreed"})
    answer = await as_user.get(LEDGER)
    assert 'filename="quota-entries-2026-03-10.csv"' in answer.headers["Content-Disposition"]
    latest, _, first = rows_of(answer)
    assert (latest["kind"], latest["used_hours"], latest["note"]) == ("ADJUST", "-1.5000", "'-1.5, as agreed")
    assert (latest["actor_email"], latest["actor_process"]) == (admin.email, "")
    assert (first["kind"], first["limit_hours"], first["actor_process"]) == ("GRANT", "100.0000", "calendar")
    assert (first["period_start"], first["jalali_month"]) == ("2026-03-01", "1404-12")
    assert (await as_admin.get(f"{path}/entries/export")).content == answer.content
    unknown = await as_admin.get("/api/v1/admin/users/4000000000/quota/entries/export")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not-found")


async def test_the_audit_log_is_a_file(as_admin: httpx2.AsyncClient, user: Person, admin: Person) -> None:
    await as_admin.patch(f"/api/v1/admin/users/{user.id}", json={"full_name": "سارا"})
    [row] = rows_of(await as_admin.get(f"{AUDIT}?action=user.renamed&from=2026-01-01"))
    assert (row["action"], row["actor_email"], row["target_id"]) == ("user.renamed", admin.email, str(user.id))
    assert row["details"] == f'{{"to": "سارا", "from": "Sara Ahmadi", "email": "{user.email}"}}'
    assert rows_of(await as_admin.get(f"{AUDIT}?to=2020-01-01")) == []


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("rows", [1, 4, 5, 6, 11])
async def test_a_list_that_is_too_long_for_a_file_goes_on_in_another(
    as_admin: httpx2.AsyncClient, state: AppState, admin: Person, rows: int
) -> None:
    for _ in range(rows):
        await make_job(state, admin, time_limit=ONE_MINUTE)
    ledger = f"/api/v1/admin/users/{admin.id}/quota/entries"
    for path in ("/api/v1/jobs", "/api/v1/admin/jobs", "/api/v1/quota/entries", ledger, "/api/v1/admin/audit"):
        whole = [str(row["id"]) for row in (await as_admin.get(f"{path}?limit=200")).json()]
        files, address = [], f"{path}/export"
        while address:
            answer = await as_admin.get(address)
            files.append([row["id"] for row in rows_of(answer)])
            address = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
        assert [row for file in files for row in file] == whole, path
        assert [len(file) for file in files[:-1]] == [5] * ((len(whole) - 1) // 5), path


@pytest.mark.usefixtures("small_files")
async def test_the_place_of_one_file_is_none_in_another(
    as_admin: httpx2.AsyncClient, state: AppState, admin: Person
) -> None:
    for _ in range(6):
        await make_job(state, admin, time_limit=ONE_MINUTE)
    link = (await as_admin.get(f"{OWN}?status=PENDING")).headers["Link"]
    cursor = httpx2.URL(link.partition(">")[0].removeprefix("<")).params["cursor"]
    for path in (f"{OWN}?", f"{ALL}?status=PENDING&", "/api/v1/jobs?status=PENDING&"):
        answer = await as_admin.get(f"{path}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-cursor"), path


@pytest.mark.usefixtures("small_files")
async def test_no_connection_is_held_while_the_client_reads(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor
) -> None:
    for _ in range(4):
        await make_job(state, user, time_limit=ONE_MINUTE)
    pool = state.database.engine.pool
    assert isinstance(pool, QueuePool)
    held: list[int] = []

    async def look(_: Message) -> None:
        held.append(pool.checkedout())

    async with watched(app, look, token=await token_for(user)) as client:
        assert len(rows_of(await client.get(OWN))) == 4
    assert len(held) >= 4
    assert set(held) == {0}


@pytest.mark.usefixtures("small_files")
async def test_who_loses_the_right_meanwhile_gets_no_further_line_and_no_end(
    app: FastAPI, state: AppState, user: Person, token_for: TokenFor
) -> None:
    for _ in range(4):
        await make_job(state, user, time_limit=ONE_MINUTE)
    sent: list[Message] = []

    async def disable(message: Message) -> None:
        sent.append(message)
        async with state.database.transaction() as connection:
            await connection.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": user.id})

    async with watched(app, disable, token=await token_for(user)) as client:
        await client.get(OWN)
    body = b"".join(message.get("body", b"") for message in sent).decode()
    assert body.count("\r\n") == 3, "the columns and the two rows that were read before"
    assert sent[-1]["more_body"], "a file that breaks off must not look complete"


async def test_a_file_is_finished_although_the_process_is_told_to_stop() -> None:
    assert await received(DRAINED) == [b"1", b"2", b"3", b""]


async def test_a_client_that_hangs_up_ends_its_file() -> None:
    assert len(await received({"type": "http.disconnect"})) < 4


async def received(message: Message) -> list[bytes]:
    """What is sent of a file of three pieces when this is heard before the first."""
    heard, sent = False, list[bytes]()

    async def receive() -> Message:
        nonlocal heard
        heard = True
        return message

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])

    async def pieces() -> AsyncIterator[bytes]:
        while not heard:
            await checkpoint()
        for piece in (b"1", b"2", b"3"):
            await checkpoint()
            yield piece

    scope: Scope = {"type": "http", "asgi": {"spec_version": "2.3"}}
    await Download(pieces())(scope, receive, send)
    return sent


def watched(app: FastAPI, watch: Watch, *, token: str) -> httpx2.AsyncClient:
    """A client whose answers are seen piece by piece, where a server would send them."""

    async def observed_app(scope: Scope, receive: Receive, send: Send) -> None:
        async def observed(message: Message) -> None:
            await watch(message)
            await send(message)

        await app(scope, receive, observed)

    return browser(observed_app, token=token)  # type: ignore[arg-type]


def rows_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
