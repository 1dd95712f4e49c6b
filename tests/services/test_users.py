"""Rights of accounts, the admin who must stay, and what is written down about them."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.core.security import RefreshToken
from app.db.engine import Database
from app.db.queries import sessions
from app.db.queries import users as queries
from app.db.queries.users import UserChange, UserFilter
from app.domain.errors import LastAdmin, NotFound
from app.domain.identity import Actor
from app.services import users
from app.services.audit import Origin

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLI = Actor(process="cli:test")

MakeUser = Callable[..., Coroutine[Any, Any, int]]


@pytest.fixture
def make_user(database: Database) -> MakeUser:
    async def make(email: str, *, is_admin: bool = False, full_name: str | None = None) -> int:
        async with database.transaction() as connection:
            user = await queries.create(
                connection,
                email=email,
                password_hash="!",
                full_name=full_name,
                locale=None,
                is_admin=is_admin,
                now=NOW,
            )
        assert user is not None
        return int(user.id)

    return make


async def update(database: Database, user_id: int, *, actor: Actor = CLI, **change: Any) -> Any:
    async with database.transaction() as connection:
        return await users.update(
            connection,
            user_id,
            UserChange(**change),
            actor=actor,
            origin=Origin(address="192.0.2.1", request_id="r-1"),
            now=NOW,
        )


async def audited(database: Database) -> list[tuple[Any, ...]]:
    async with database.autocommit() as connection:
        rows = await connection.execute(
            text("SELECT action, actor_user_id, actor_process, target_id, request_id FROM audit_entries ORDER BY id")
        )
        return [tuple(row) for row in rows]


async def test_every_change_of_rights_names_who_made_it(database: Database, make_user: MakeUser) -> None:
    admin, user = await make_user("admin@example.com", is_admin=True), await make_user("user@example.com")
    for change in ({"is_admin": True}, {"is_admin": False}, {"is_active": False}, {"is_active": True}):
        await update(database, user, actor=Actor(user_id=admin), **change)
    assert await audited(database) == [
        (action, admin, None, user, "r-1")
        for action in ("user.promoted", "user.demoted", "user.deactivated", "user.activated")
    ]


async def test_a_change_that_changes_nothing_is_not_written_down(database: Database, make_user: MakeUser) -> None:
    user = await make_user("user@example.com", full_name="سارا")
    changed = await update(
        database, user, is_admin=False, is_active=True, full_name="سارا", fields=frozenset({"full_name"})
    )
    assert (changed.is_admin, changed.is_active, changed.full_name) == (False, True, "سارا")
    assert await audited(database) == []


async def test_a_new_name_is_written_down_with_the_old_one(database: Database, make_user: MakeUser) -> None:
    user = await make_user("user@example.com", full_name="سارا")
    renamed = await update(database, user, full_name=None, fields=frozenset({"full_name"}))
    assert renamed.full_name is None
    assert await audited(database) == [("user.renamed", None, "cli:test", user, "r-1")]


async def test_sql_typed_by_an_operator_leaves_a_trace(database: Database, make_user: MakeUser) -> None:
    user = await make_user("user@example.com")
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE users SET is_admin = true WHERE id = :id"), {"id": user})
        session_user = (await connection.execute(text("SELECT session_user"))).scalar_one()
    assert await audited(database) == [("user.promoted", None, f"sql:{session_user}", user, None)]


async def test_the_actor_of_one_transaction_is_not_the_actor_of_the_next(
    database: Database, make_user: MakeUser
) -> None:
    user = await make_user("user@example.com")
    await update(database, user, is_admin=True)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE users SET password_hash = 'x' WHERE id = :id"), {"id": user})
    first, second = await audited(database)
    assert first[2] == "cli:test"
    assert second[2].startswith("sql:")


async def test_disabling_ends_the_sessions_of_that_user_only(database: Database, make_user: MakeUser) -> None:
    leaving, staying = await make_user("leaving@example.com"), await make_user("staying@example.com")
    tokens = {}
    async with database.transaction() as connection:
        for user in (leaving, staying):
            tokens[user] = RefreshToken.new(uuid4())
            await sessions.create(
                connection,
                session_id=tokens[user].session_id,
                user_id=user,
                password_hash="!",
                token_sha256=tokens[user].sha256,
                now=NOW,
                expires_at=NOW + timedelta(days=7),
                address=None,
                user_agent=None,
            )
    await update(database, leaving, is_active=False)
    await update(database, leaving, is_active=True)
    async with database.autocommit() as connection:
        assert await sessions.live(connection, tokens[leaving].session_id, now=NOW) is None
        assert await sessions.live(connection, tokens[staying].session_id, now=NOW) is not None


@pytest.mark.parametrize("change", [{"is_admin": False}, {"is_active": False}])
async def test_the_last_active_admin_stays(database: Database, make_user: MakeUser, change: dict[str, bool]) -> None:
    admin = await make_user("admin@example.com", is_admin=True)
    disabled = await make_user("disabled@example.com", is_admin=True)
    await update(database, disabled, is_active=False)
    with pytest.raises(LastAdmin):
        await update(database, admin, **change)
    async with database.autocommit() as connection:
        assert (await users.read(connection, admin)).is_admin
    await update(database, disabled, is_active=True)
    await update(database, admin, **change)


async def test_of_two_admins_who_demote_each_other_at_once_one_stays(database: Database, make_user: MakeUser) -> None:
    pair = [await make_user(f"admin{number}@example.com", is_admin=True) for number in range(2)]
    for round_number in range(10):
        field = "is_admin" if round_number % 2 else "is_active"
        together = asyncio.Barrier(2)

        async def remove(user: int, field: str = field, together: asyncio.Barrier = together) -> Any:
            await together.wait()
            return await update(database, user, **{field: False})

        outcomes = await asyncio.gather(*map(remove, pair), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(LastAdmin) == 1, outcomes
        async with database.autocommit() as connection:
            remaining = [user for user in await users.admins(connection) if user.is_active]
        assert len(remaining) == 1
        for user in pair:
            await update(database, user, is_admin=True, is_active=True)


async def test_unknown_users_are_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await update(database, 2**63 - 1, is_admin=True)
    async with database.autocommit() as connection:
        for attempt in (
            users.read(connection, 1),
            users.find(connection, "no address"),
            users.find(connection, "a@b.co"),
        ):
            with pytest.raises(NotFound):
                await attempt


async def names(database: Database, last_id: int | None = None, limit: int = 50, **chosen: Any) -> list[str]:
    async with database.autocommit() as connection:
        rows = await users.read_page(connection, UserFilter(**chosen), last_id=last_id, limit=limit)
    return [row.email.partition("@")[0] for row in rows]


async def test_users_are_found_by_the_beginning_of_address_or_name(database: Database, make_user: MakeUser) -> None:
    await make_user("sara@example.com", full_name="سارا محمدی")
    await make_user("sam_100%@example.com", full_name="Sam Smith")
    omid = await make_user("omid@example.com", is_admin=True)
    await update(database, omid, is_active=True)
    assert await names(database) == ["omid", "sam_100%", "sara"]
    assert await names(database, q="SA") == ["sam_100%", "sara"]
    assert await names(database, q="محم") == ["sara"]
    assert await names(database, q="smi") == ["sam_100%"]
    assert await names(database, q="mith") == []
    assert await names(database, q="sam_1") == ["sam_100%"]
    assert await names(database, q="sa_a") == []
    assert await names(database, q="%") == []
    assert await names(database, q="\\") == []
    assert await names(database, is_admin=True) == ["omid"]
    assert await names(database, is_admin=False, is_active=True) == ["sam_100%", "sara"]
    assert await names(database, is_active=False) == []


async def test_pages_of_users_meet_without_gap_or_overlap(database: Database, make_user: MakeUser) -> None:
    numbers = [await make_user(f"user{number}@example.com") for number in range(5)]
    assert await names(database, limit=2) == ["user4", "user3"]
    assert await names(database, limit=2, last_id=numbers[3]) == ["user2", "user1"]
    assert await names(database, limit=2, last_id=numbers[1]) == ["user0"]
