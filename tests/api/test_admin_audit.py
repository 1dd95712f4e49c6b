"""The audit log: what gets into it, who reads it, and that it stays."""

import re
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.api.state import AppState
from app.domain.audit import AuditAction
from app.services import audit
from tests.factories import Person, make_user, sign_in
from tests.owner import become_owner

pytestmark = pytest.mark.anyio

PATH = "/api/v1/admin/audit"


async def test_only_admins_read_it(client: httpx2.AsyncClient, as_user: httpx2.AsyncClient) -> None:
    for path in (PATH, f"{PATH}/actions"):
        assert (await client.get(path)).status_code == 401
        assert (await as_user.get(path)).status_code == 403


async def test_it_names_who_did_what_to_whom_from_where(
    as_admin: httpx2.AsyncClient, admin: Person, user: Person
) -> None:
    changed = await as_admin.patch(f"/api/v1/admin/users/{user.id}", json={"is_admin": True})
    [entry] = (await as_admin.get(f"{PATH}?action=user.promoted")).json()
    assert entry.pop("id") > 0
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "action": "user.promoted",
        "actor": {"id": admin.id, "full_name": admin.full_name, "email": admin.email},
        "actor_process": None,
        "target_type": "user",
        "target_id": user.id,
        "target_name": user.email,
        "details": {"email": user.email},
        "request_id": changed.headers["x-request-id"],
        "address": "192.0.2.10",
    }


async def test_security_acts_are_in_it(
    client: httpx2.AsyncClient, as_admin: httpx2.AsyncClient, as_user: httpx2.AsyncClient, user: Person
) -> None:
    new_password = "another quiet river"
    await as_user.post("/api/v1/auth/password", json={"current_password": user.password, "new_password": new_password})
    for _ in range(10):
        await client.post("/api/v1/auth/login", data={"username": user.email, "password": "wrong"})
    entries = (await as_admin.get(f"{PATH}?target_type=user&target_id={user.id}")).json()
    assert [entry["action"] for entry in entries] == [
        "login.throttled",
        "user.password_changed",
        "login.succeeded",
        "user.registered",
    ]


async def test_it_holds_no_secret(
    client: httpx2.AsyncClient, as_user: httpx2.AsyncClient, user: Person, state: AppState
) -> None:
    canary = "canary-7f3a river"
    signed_in = await sign_in(state, user)
    await as_user.post("/api/v1/auth/password", json={"current_password": user.password, "new_password": canary})
    for attempt in (canary, user.email):
        await client.post("/api/v1/auth/login", data={"username": attempt, "password": canary})
    assert signed_in.refresh_token is not None
    async with state.database.autocommit() as connection:
        tables = ("users", "sessions", "login_failures", "audit_entries")
        dumps = [
            str((await connection.execute(text(f"SELECT row_to_json(t)::text FROM {table} t"))).all())  # noqa: S608
            for table in tables
        ]
    for secret in (canary, user.password, signed_in.access_token, str(signed_in.refresh_token)):
        assert not any(secret in dump for dump in dumps)
    assert signed_in.refresh_token.secret.hex() not in "".join(dumps)


async def test_it_comes_in_pages_and_filtered(as_admin: httpx2.AsyncClient, admin: Person, state: AppState) -> None:
    people = [await make_user(state) for _ in range(3)]
    first = await as_admin.get(f"{PATH}?action=user.registered&limit=2")
    link = first.headers["link"]
    second = await as_admin.get(link[1 : link.index(">")])
    targets = [entry["target_id"] for entry in first.json() + second.json()]
    assert targets == [person.id for person in reversed([admin, *people])]
    assert "link" not in second.headers
    mine = (await as_admin.get(f"{PATH}?actor={people[1].id}")).json()
    assert {entry["actor"]["id"] for entry in mine} == {people[1].id}
    assert (await as_admin.get(f"{PATH}?action=nothing.happened")).json() == []
    refused = (
        "actor=x", "actor=0", "target=1", "action=", "action=%00", "target_id=9223372036854775808",
        "from=yesterday", "to=2026-02-30", "from=1999-12-31",
    )  # fmt: skip
    for query in refused:
        assert (await as_admin.get(f"{PATH}?{query}")).status_code == 422, query


@pytest.fixture
async def entries(state: AppState) -> None:
    """One at noon of each of the first nine days of 2025, the later ones with the smaller ids."""
    async with state.database.transaction() as connection:
        await connection.execute(
            text(
                """
                INSERT INTO audit_entries (actor_process, action, target_type, target_id, created_at)
                SELECT 'cli:root', 'gpu.drained', 'gpu', 10 - n, TIMESTAMPTZ '2025-01-10 12:00Z' - n * interval '1 day'
                FROM generate_series(1, 9) n ORDER BY n
                """
            )
        )


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("query", "days"),
    [
        ("from=2025-01-08&to=2025-01-31", [9, 8]),
        ("to=2025-01-02", [2, 1]),
        ("from=2025-01-04&to=2025-01-04", [4]),
        ("from=2025-01-05&to=2025-01-04", []),
        ("to=2025-12-31&action=gpu.drained&limit=3", [9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ("from=2025-01-02&to=2025-01-06&target_type=gpu&limit=2", [6, 5, 4, 3, 2]),
        ("to=2025-12-31&target_type=gpu&target_id=7", [7]),
    ],
)
async def test_it_is_read_by_days_newest_first(as_admin: httpx2.AsyncClient, query: str, days: list[int]) -> None:
    """Time counts, not the number of the entry: a long transaction is written down late with the time of its begin."""
    seen, address = [], f"{PATH}?{query}"
    while address:
        answer = await as_admin.get(address)
        assert answer.status_code == 200, answer.text
        seen += [entry["target_id"] for entry in answer.json()]
        address = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert seen == days


async def test_its_words_can_be_asked_for(as_admin: httpx2.AsyncClient, state: AppState) -> None:
    """Each is written by a service, where its type is checked, or by a trigger, whose words stand in the database."""
    words = (await as_admin.get(f"{PATH}/actions")).json()
    assert words == sorted(AuditAction)
    async with state.database.autocommit() as connection:
        found = await connection.execute(text("SELECT prosrc FROM pg_proc WHERE proname = 'audit_user_rights'"))
        trigger = found.scalar_one()
    services = "".join(path.read_text("utf-8") for path in Path(audit.__file__).parent.glob("*.py"))
    of_services = {AuditAction[name] for name in re.findall(r"AuditAction\.([A-Z_]+)", services)}
    of_triggers = set(re.findall(r"'(user\.\w+)'", trigger))
    assert sorted(of_services | of_triggers) == words


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nobody_writes_to_it_by_http(as_admin: httpx2.AsyncClient, method: str) -> None:
    assert (await as_admin.request(method, PATH, json={})).status_code == 405


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET action = 'nothing'",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "TRUNCATE users CASCADE",
    ],
)
async def test_not_even_sql_changes_it(admin: Person, state: AppState, statement: str) -> None:
    assert admin.is_admin
    async with state.database.engine.connect() as connection:
        await become_owner(connection)
        with pytest.raises(DBAPIError, match="refused"):
            await connection.execute(text(statement))
