"""The service's role owns nothing, has the rights that it needs and no others, and gets them by itself."""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import DBAPIError

from app.core.config import Settings
from app.db import roles
from app.db.bootstrap import DatabaseUnusable, open_database, warn_if_owner
from app.db.engine import Database
from app.db.migrations import head_revision
from app.db.queries import roles as queries
from app.db.queries import schema_version
from tests.factories import Person
from tests.owner import SERVICE, become_owner
from tests.services.desk import HOUR, Desk
from tests.services.test_bootstrap import complaint, opening, run

pytestmark = pytest.mark.anyio

DENIED = "42501"
PRODUCTION = Path(__file__).parents[2] / "docs" / "production.md"


class TestRights:
    async def test_every_table_and_sequence_has_its_rights(self, desk: Desk) -> None:
        """Those of a migration that is still to be written, too: what it makes is in the models, or here."""
        made = await desk.sql(
            "SELECT relname FROM pg_class c WHERE relnamespace = current_schema()::regnamespace AND relkind IN "
            "('r', 'p', 'S') AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'i')"
        )
        expected = roles.service_rights()
        assert {row.relname for row in made} == set(expected)
        async with desk.state.database.autocommit() as connection:
            assert await queries.rights(connection, SERVICE, expected) == expected

    @pytest.mark.parametrize(
        "act",
        [
            "SET session_replication_role = replica",
            "ALTER TABLE jobs DISABLE TRIGGER ALL",
            "ALTER TABLE jobs ADD COLUMN mine text",
            "ALTER TABLE quota_entries OWNER TO CURRENT_USER",
            "DROP TABLE login_failures",
            "DROP TRIGGER only_grows ON audit_entries",
            "DROP INDEX ix_jobs_queue",
            "CREATE TABLE mine ()",
            "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1",
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "CREATE TRIGGER mine BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION refuse('all')",
            "TRUNCATE sessions",
            "TRUNCATE users CASCADE",
            "UPDATE quota_entries SET note = ''",
            "UPDATE audit_entries SET action = 'nothing'",
            "DELETE FROM audit_entries",
            "DELETE FROM job_events",
            "DELETE FROM users",
            "DELETE FROM jobs",
            "DELETE FROM user_quotas",
            "DELETE FROM dispatcher_lease",
            "UPDATE alembic_version SET version_num = '0001'",
            "SELECT setval('event_id_seq', 1)",
            "SELECT pg_read_file('postgresql.conf')",
            "COPY users TO PROGRAM 'cat'",
            "CREATE ROLE mine",
        ],
    )
    async def test_the_service_may_not(self, desk: Desk, act: str) -> None:
        with pytest.raises(DBAPIError) as refused:
            await desk.sql(act)
        assert getattr(refused.value.orig, "sqlstate", "") == DENIED

    async def test_one_role_for_both_is_told_what_is_lost(self, database: Database, fresh_owner_url: str) -> None:
        owner = Database(fresh_owner_url, pool_size=1)
        with structlog.testing.capture_logs() as entries:
            await warn_if_owner(database)
            assert entries == []
            await warn_if_owner(owner)
        await owner.dispose()
        assert "MIGRATION_DATABASE_URL" in entries[0]["event"]


class TestAdmission:
    @pytest.fixture
    async def newcomer(self, server_url: str, fresh_owner_url: str) -> AsyncIterator[URL]:
        """A role that nobody has made yet."""
        role = f"gtm_test_newcomer_{os.getpid()}"
        yield make_url(fresh_owner_url).set(username=role, password="first-Password/1")
        await run(fresh_owner_url, f'DROP OWNED BY "{role}"')
        await run(server_url, f'DROP ROLE "{role}"')

    async def test_the_owner_makes_the_role_and_follows_its_password(
        self, settings: Settings, newcomer: URL, fresh_owner_url: str
    ) -> None:
        for password in ("first-Password/1", "دوم-2"):
            chosen = opening(
                settings,
                newcomer.set(password=password),
                migration_database_url=fresh_owner_url,
                migrate_on_start=True,
            )
            async with open_database(chosen) as database, database.autocommit() as connection:
                assert (await connection.execute(text("SELECT current_user"))).scalar_one() == newcomer.username
                assert await schema_version.read(connection) == head_revision()
                assert not await roles.is_owner(database)

    async def test_the_password_of_somebody_elses_role_stays(
        self, settings: Settings, server_url: str, newcomer: URL, fresh_owner_url: str
    ) -> None:
        await run(server_url, f"CREATE ROLE \"{newcomer.username}\" LOGIN PASSWORD 'theirs'")
        chosen = opening(settings, newcomer, migration_database_url=fresh_owner_url, migrate_on_start=True)
        assert await complaint(chosen) == "DATABASE_URL: the database refuses this user or password; correct them"

    async def test_rights_that_were_given_by_hand_are_taken_back(self, newcomer: URL, fresh_owner_url: str) -> None:
        owner, url = Database(fresh_owner_url, pool_size=1), newcomer.render_as_string(hide_password=False)
        try:
            await roles.admit(owner, url)
            await run(fresh_owner_url, f'GRANT DELETE, TRUNCATE ON audit_entries TO "{newcomer.username}"')
            await run(fresh_owner_url, f'REVOKE INSERT ON jobs FROM "{newcomer.username}"')
            await roles.admit(owner, url)
            async with owner.autocommit() as connection:
                found = await queries.rights(connection, str(newcomer.username), roles.service_rights())
            assert found == roles.service_rights()
        finally:
            await owner.dispose()


async def test_the_statements_of_the_document_make_a_database_for_two_roles(
    settings: Settings, server_url: str
) -> None:
    """Under names of their own: the embedded server of the tests has a role of the real name already."""
    (statements,) = re.findall(r"```sql\n(.*?)```", PRODUCTION.read_text("utf-8"), re.DOTALL)
    name = f"gtm_test_document_{os.getpid()}"
    renamed = [statement for statement in statements.replace("gpu_task_manager", name).split(";\n") if statement]
    owner = make_url(server_url).set(username=name, password="OWNERS-PASSWORD", database=name)
    service = owner.set(username=f"{name}_service", password="SERVICES-PASSWORD")
    try:
        await run(server_url, *renamed)
        chosen = opening(settings, service, migrate_on_start=True)
        assert "MIGRATION_DATABASE_URL" in await complaint(chosen)
        chosen = opening(
            settings, service, migration_database_url=owner.render_as_string(hide_password=False), migrate_on_start=True
        )
        async with open_database(chosen) as database:
            assert not await roles.is_owner(database)
            async with database.autocommit() as connection:
                assert await schema_version.read(connection) == head_revision()
                rights = await queries.rights(connection, str(service.username), roles.service_rights())
        assert rights == roles.service_rights()
    finally:
        await run(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await run(server_url, f"DROP ROLE IF EXISTS {name}_service", f"DROP ROLE IF EXISTS {name}")


async def test_an_owner_who_may_not_make_roles_names_the_statements(settings: Settings, server_url: str) -> None:
    name = f"gtm_test_plain_{os.getpid()}"
    await run(server_url, f"CREATE ROLE {name} LOGIN PASSWORD 'plain'", f"CREATE DATABASE {name} OWNER {name}")
    owner = make_url(server_url).set(username=name, password="plain", database=name)
    try:
        chosen = opening(
            settings,
            owner.set(username=f"{name}_nobody"),
            migration_database_url=owner.render_as_string(hide_password=False),
            migrate_on_start=True,
        )
        with pytest.raises(DatabaseUnusable, match=r"docs/production\.md"):
            async with open_database(chosen):
                pass
    finally:
        await run(server_url, f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


def test_an_owner_without_a_database_is_refused() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL is not: set both, or neither"):
        Settings(_env_file=None, migration_database_url="postgresql://owner@db/gtm")


class TestLimitsThatSqlChanges:
    async def traces(self, desk: Desk) -> list[tuple[int, str | None]]:
        rows = await desk.sql(
            "SELECT limit_delta, actor_process, note FROM quota_entries WHERE kind = 'LIMIT' ORDER BY id"
        )
        assert all(row.note == row.actor_process for row in rows if row.actor_process == f"sql:{SERVICE}")
        return [(row.limit_delta, row.actor_process) for row in rows]

    async def test_they_leave_an_entry_that_names_the_role(self, desk: Desk, user: Person) -> None:
        before = (await desk.quota(user)).limit_seconds
        await desk.sql("UPDATE user_quotas SET limit_seconds = limit_seconds + 60", as_owner=True)
        assert await self.traces(desk) == [(60, f"sql:{SERVICE}")]
        [entry] = await desk.sql("SELECT * FROM audit_entries WHERE action = 'quota.limit_set'")
        assert (entry.actor_process, entry.target_id) == (f"sql:{SERVICE}", user.id)
        assert entry.details == {"limit_seconds": before + 60}

    async def test_so_do_months_that_are_made_by_hand(self, desk: Desk, user: Person) -> None:
        await desk.sql(
            "INSERT INTO user_quotas (user_id, starts_at, ends_at, limit_seconds) VALUES (:id, now(), 'infinity', 60)",
            id=user.id,
        )
        assert await self.traces(desk) == [(60, f"sql:{SERVICE}")]

    async def test_what_the_service_notes_is_not_noted_again(self, desk: Desk, user: Person, admin: Person) -> None:
        await desk.set_limit(admin, user, 7 * HOUR)
        [(_, process)] = await self.traces(desk)
        assert process is None

    async def test_several_changes_and_a_note_of_ones_own_add_up(self, desk: Desk, user: Person) -> None:
        await desk.quota(user)
        async with desk.state.database.transaction() as connection:
            for seconds in (60, 30):
                change = text("UPDATE user_quotas SET limit_seconds = limit_seconds + :seconds")
                await connection.execute(change, {"seconds": seconds})
            await connection.execute(
                text(
                    "INSERT INTO quota_entries (quota_id, user_id, kind, limit_delta, actor_process) "
                    "SELECT id, user_id, 'LIMIT', 60, 'sql:a careful operator' FROM user_quotas"
                )
            )
        assert await self.traces(desk) == [(60, "sql:a careful operator"), (30, f"sql:{SERVICE}")]

    async def test_nobody_diverts_a_trace_or_lends_another_name_to_it(self, desk: Desk, user: Person) -> None:
        await desk.quota(user)
        async with desk.state.database.transaction() as connection:
            await become_owner(connection)
            for table in ("quota_entries", "audit_entries"):
                await connection.execute(text(f"CREATE TEMPORARY TABLE {table} (LIKE public.{table}) ON COMMIT DROP"))
            await connection.execute(text("SELECT set_config('gtm.actor_process', 'calendar', true)"))
            await connection.execute(text("UPDATE user_quotas SET limit_seconds = limit_seconds + 60"))
            await connection.execute(text("UPDATE users SET is_admin = true"))
        assert await self.traces(desk) == [(60, f"sql:{SERVICE}")]
        assert len(await desk.sql("SELECT id FROM audit_entries WHERE action = 'user.promoted'")) == 1


def test_a_verifier_is_one_that_postgresql_understands() -> None:
    verifier = roles.scram_verifier("correct horse")
    assert re.fullmatch(r"SCRAM-SHA-256\$4096:[\w+/]{22}==\$[\w+/]{43}=:[\w+/]{43}=", verifier)
    assert verifier != roles.scram_verifier("correct horse")
