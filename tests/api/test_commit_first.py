"""What an answer says is committed before the first byte of it leaves; what fails has written nothing."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.types import Message, Receive, Scope, Send

from app.api.deps import Transaction, get_transaction
from app.api.state import AppState
from app.db.engine import Database
from tests.api.fingerprint import fingerprint
from tests.api.operations import a_place_for, arguments_of, operations_of
from tests.api.probes import add_route
from tests.conftest import FakeClock, browser
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, sign_in

pytestmark = pytest.mark.anyio

OPEN_TRANSACTIONS = text(
    """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
    """
)
MARK = text("INSERT INTO login_failures (subject, failed_at) VALUES ('mark', now())")
MONTHS = {"GET /api/v1/quota", "GET /api/v1/admin/users/{user_id}/quota", "POST /api/v1/jobs/validate"}
"""They write if the user's month has not been opened yet."""

TokenFor = Callable[[Person], Awaitable[str]]


@dataclass
class Observer:
    """Stands where the server stands, and looks at the database from outside when the answer begins to leave."""

    app: FastAPI
    database: Database
    at_start: str = ""
    open_transactions: int = -1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                async with self.database.autocommit() as connection:
                    self.at_start = await fingerprint(connection)
                    self.open_transactions = (await connection.execute(OPEN_TRANSACTIONS)).scalar_one()
            await send(message)

        await self.app(scope, receive, observed)

    async def written(self) -> str:
        async with self.database.autocommit() as connection:
            return await fingerprint(connection)


@pytest.fixture
async def observer(app: FastAPI, state: AppState, database: Database) -> Observer:
    await make_fleet(state)
    return Observer(app, database)


def client_of(observer: Observer, token: str | None = None) -> httpx2.AsyncClient:
    return browser(observer, token=token)  # type: ignore[arg-type]


async def test_every_operation_commits_before_it_answers(
    observer: Observer, app: FastAPI, state: AppState, admin: Person, clock: FakeClock
) -> None:
    """Each is asked by an admin who has signed in twice, about things of a user who was just made."""
    wrote: set[str] = set()
    for operation in operations_of(app):
        if not operation.path.startswith("/api/v1") or operation.path == "/api/v1/events":
            continue
        label = str(operation)
        owner = await make_user(state)
        asker = await make_user(state, is_admin=True)
        path = await a_place_for(operation, state, asker if operation.is_of_the_owner_alone else owner, admin)
        arguments = arguments_of(operation, app.openapi())
        if label == "POST /api/v1/auth/login":
            arguments["data"]["username"] = asker.email
        arguments["headers"]["Cookie"] = f"gtm_refresh={(await sign_in(state, asker)).refresh_token}"
        clock.advance(minutes=1)
        token = (await sign_in(state, asker)).access_token
        before = await observer.written()
        async with client_of(observer, token) as client:
            answer = await client.request(operation.method, path, **arguments)
        assert answer.status_code < 300, f"{label}: {answer.text}"
        after = await observer.written()
        assert observer.at_start == after, f"{label} answers before it has committed"
        assert observer.open_transactions == 0, f"{label} answers while its transaction is open"
        if before != after:
            wrote.add(label)
    writing = {str(each) for each in operations_of(app) if each.method != "GET"}
    assert wrote == writing - {"POST /api/v1/admin/jobs/decisions"} | MONTHS


async def test_a_dependency_of_the_usual_kind_would_answer_first(probe: FastAPI, database: Database) -> None:
    """What the observer is for: without `scope="function"`, FastAPI commits when the answer has left."""

    async def too_late(connection: Annotated[AsyncConnection, Depends(get_transaction)]) -> None:
        await connection.execute(MARK)

    async def in_time(connection: Transaction) -> None:
        await connection.execute(MARK)

    observer = Observer(probe, database)
    before = await observer.written()
    for endpoint, is_committed in ((too_late, False), (in_time, True)):
        path = add_route(probe, endpoint)
        async with client_of(observer) as client:
            assert (await client.get(path)).status_code == 200
        after = await observer.written()
        assert after != before
        assert observer.at_start == (after if is_committed else before)
        assert observer.open_transactions == (0 if is_committed else 1)
        before = after


async def test_an_answer_that_cannot_be_written_down_undoes_its_work(probe: FastAPI, database: Database) -> None:
    async def wrong_answer(connection: Transaction) -> int:
        await connection.execute(MARK)
        return "no number"  # type: ignore[return-value]

    observer = Observer(probe, database)
    before = await observer.written()
    async with client_of(observer) as client:
        answer = await client.get(add_route(probe, wrong_answer))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert observer.at_start == await observer.written() == before


async def test_a_correction_out_of_range_does_not_even_open_the_month(
    observer: Observer, user: Person, admin: Person, token_for: TokenFor
) -> None:
    path = f"/api/v1/admin/users/{user.id}/quota/adjustments"
    await _assert_is_undone(
        observer, await token_for(admin), path, {"hours": -5, "reason": "x"}, "adjustment-out-of-range"
    )


async def test_a_start_that_finds_no_gpu_leaves_the_reservation_in_its_month(
    observer: Observer, state: AppState, user: Person, admin: Person, token_for: TokenFor, clock: FakeClock
) -> None:
    """The job is moved to the present month before GPUs are looked for."""
    waiting = await make_job(state, user, time_limit=timedelta(minutes=1))
    await approve_job(state, waiting.id, admin)
    async with state.database.autocommit() as connection:
        await connection.exec_driver_sql("UPDATE gpus SET is_quarantined = true")
    clock.advance(days=31)
    await _assert_is_undone(
        observer, await token_for(admin), f"/api/v1/admin/jobs/{waiting.id}/start", None, "no-capacity"
    )


async def test_the_last_admin_stays_and_nothing_is_noted(
    observer: Observer, admin: Person, token_for: TokenFor
) -> None:
    token = await token_for(admin)
    before = await observer.written()
    async with client_of(observer, token) as client:
        body = {"is_admin": False, "full_name": "Nobody"}
        answer = await client.patch(f"/api/v1/admin/users/{admin.id}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "last-admin")
    assert observer.at_start == await observer.written() == before


async def test_of_many_decisions_a_refused_one_undoes_only_itself(
    observer: Observer, state: AppState, user: Person, admin: Person, token_for: TokenFor
) -> None:
    first, second = [await make_job(state, user, time_limit=timedelta(minutes=1)) for _ in range(2)]
    decisions = [
        {"job_id": first.id, "action": "approve"},
        {"job_id": first.id, "action": "reject", "note": "too late"},
        {"job_id": 4_000_000_000, "action": "approve"},
        {"job_id": second.id, "action": "approve"},
        {"job_id": second.id, "action": "start"},
    ]
    async with client_of(observer, await token_for(admin)) as client:
        answer = await client.post("/api/v1/admin/jobs/decisions", json={"decisions": decisions})
        assert answer.status_code == 207
        assert [result["status"] for result in answer.json()] == [200, 409, 404, 200, 200]
        assert observer.at_start == await observer.written()
        found = [(await client.get(f"/api/v1/jobs/{job.id}")).json() for job in (first, second)]
    assert [job["status"] for job in found] == ["APPROVED", "RUNNING"]


async def _assert_is_undone(
    observer: Observer, token: str, path: str, body: Mapping[str, Any] | None, code: str
) -> None:
    before = await observer.written()
    async with client_of(observer, token) as client:
        answer = await client.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, code), answer.text
    assert observer.at_start == await observer.written() == before
