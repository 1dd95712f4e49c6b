"""Opening the database: what cannot work ends in one sentence that says what to do."""

import os
import socket
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import URL, NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.config import Settings
from app.db import bootstrap
from app.db.bootstrap import DatabaseUnusable, open_database
from app.db.embedded import EmbeddedPostgresError
from app.db.migrations import head_revision
from app.db.queries import schema_version

pytestmark = pytest.mark.anyio


def opening(settings: Settings, url: str | URL | None, **others: object) -> Settings:
    written = url.render_as_string(hide_password=False) if isinstance(url, URL) else url
    return Settings(_env_file=None, **{**settings.model_dump(), "database_url": written, **others})


async def complaint(settings: Settings) -> str:
    with pytest.raises(DatabaseUnusable) as refusal:
        async with open_database(settings):
            pass
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


async def run(server_url: str, *statements: str) -> None:
    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for statement in statements:
            await connection.exec_driver_sql(statement)


@pytest.fixture
async def empty_database(server_url: str) -> AsyncIterator[URL]:
    """A database that was never migrated."""
    name = f"gtm_test_empty_{os.getpid()}"
    await run(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}")
    yield make_url(server_url).set(database=name)
    await run(server_url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_an_empty_database_is_migrated_on_start(settings: Settings, empty_database: URL) -> None:
    async with (
        open_database(opening(settings, empty_database, migrate_on_start=True)) as database,
        database.autocommit() as connection,
    ):
        assert await schema_version.read(connection) == head_revision()


async def test_migrating_can_be_left_to_somebody_else(settings: Settings, empty_database: URL) -> None:
    async with (
        open_database(opening(settings, empty_database, migrate_on_start=False)) as database,
        database.autocommit() as connection,
    ):
        assert (await connection.execute(text("SELECT to_regclass('users')"))).scalar_one() is None


async def test_a_user_who_may_not_create_tables_is_told_who_may(
    settings: Settings, server_url: str, empty_database: URL
) -> None:
    role = f"gtm_test_guest_{os.getpid()}"
    await run(server_url, f"CREATE ROLE {role} LOGIN PASSWORD 'guest'")
    try:
        as_guest = empty_database.set(username=role, password="guest")
        message = await complaint(opening(settings, as_guest, migrate_on_start=True))
        assert "permission denied" in message
        assert "the role that owns the tables" in message
        assert "guest'" not in message
    finally:
        await run(server_url, f"DROP ROLE {role}")


async def test_a_newer_database_is_left_alone(settings: Settings, fresh_owner_url: str) -> None:
    await run(fresh_owner_url, "UPDATE alembic_version SET version_num = '9999'")
    message = await complaint(opening(settings, fresh_owner_url, migrate_on_start=True))
    assert "install the release that made it, or restore a backup" in message


async def test_a_database_that_does_not_exist_is_told_at_once(settings: Settings, server_url: str) -> None:
    message = await complaint(opening(settings, make_url(server_url).set(database="gtm_nowhere")))
    assert "createdb" in message


async def test_an_unknown_user_or_password_is_told_at_once(settings: Settings, server_url: str) -> None:
    message = await complaint(opening(settings, make_url(server_url).set(username="gtm_nobody", password="wrong")))
    assert message == "DATABASE_URL: the database refuses this user or password; correct them"


async def test_a_server_that_does_not_answer_is_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(bootstrap, "RETRY_SECONDS", 0.02)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"postgresql://nobody:canary@127.0.0.1:{unused.getsockname()[1]}/nowhere"
        message = await complaint(opening(settings, url))
    assert "has not answered" in message
    assert "canary" not in message


async def test_a_server_that_is_too_old_is_refused(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "OLDEST_VERSION", 99)
    assert "99 or newer is needed" in await complaint(opening(settings, database_url))


@pytest.mark.parametrize("url", ["nonsense", "mysql://root@localhost/x", "postgresql://h:port/x", ""])
async def test_what_is_no_postgresql_url_is_refused(settings: Settings, url: str) -> None:
    assert "postgresql://user:password@host:5432/database" in await complaint(opening(settings, url))


async def test_options_are_taken_as_libpq_takes_them_or_named(settings: Settings, database_url: str) -> None:
    url = make_url(database_url)
    async with open_database(opening(settings, url.update_query_dict({"sslmode": "disable"}))):
        pass
    message = await complaint(opening(settings, url.update_query_dict({"tarpit": "5"})))
    assert "tarpit" in message


async def test_a_data_directory_that_cannot_be_used_is_named(settings: Settings) -> None:
    impossible = opening(settings, None, data_dir="/dev/null/data")
    with pytest.raises(EmbeddedPostgresError, match="DATA_DIR"):
        async with open_database(impossible):
            pass
