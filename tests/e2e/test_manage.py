"""`python -m app.manage` as an operator runs it: a process of its own, on a database of its own."""

import asyncio
import getpass
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.security import verify_password
from app.db.migrations import head_revision
from tests.e2e.processes import run_module

ROOT = Path(__file__).parents[2]
PASSWORD = "آبی‌ترین رود جهان"
TYPING = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"

Manage = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(fresh_database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "PYTHONUTF8": "1",
        "HOME": str(tmp_path),
        "DATABASE_URL": fresh_database_url,
        "DATA_DIR": str(tmp_path / "data"),
        "BCRYPT_COST": "4",
    }


@pytest.fixture
def manage(environment: dict[str, str], tmp_path: Path) -> Manage:
    """Runs one command and returns how it ended."""

    def run(*arguments: str, stdin: str = "", **more: str | None) -> subprocess.CompletedProcess[str]:
        variables = {name: value for name, value in (environment | more).items() if value is not None}
        return run_module("app.manage", *arguments, directory=tmp_path, environment=variables, stdin=stdin)

    return run


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    async def run() -> list[tuple[Any, ...]]:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            rows = [tuple(row) for row in result] if result.returns_rows else []
        await engine.dispose()
        return rows

    return asyncio.run(run())


def test_an_operator_makes_accounts_and_admins(manage: Manage, fresh_database_url: str) -> None:
    created = manage("create-user", "Sara@Example.com", "--full-name", "سارا", stdin=PASSWORD + "\n")
    assert (created.returncode, created.stderr) == (0, "")
    assert "sara@example.com" in created.stdout
    [(user_id, full_name, is_admin, password_hash)] = query(
        fresh_database_url, "SELECT id, full_name, is_admin, password_hash FROM users"
    )
    assert (full_name, is_admin) == ("سارا", False)
    assert verify_password(PASSWORD, password_hash)

    assert manage("create-user", "omid@example.com", "--admin", stdin=PASSWORD + "\r\n").returncode == 0
    assert manage("grant-admin", "SARA@example.com").returncode == 0
    assert "already an admin" in manage("grant-admin", "sara@example.com").stdout
    listed = manage("list-admins")
    assert [line.split("\t")[1:3] for line in listed.stdout.splitlines()] == [
        ["sara@example.com", "سارا"],
        ["omid@example.com", "-"],
    ]

    assert manage("revoke-admin", "omid@example.com").returncode == 0
    last = manage("revoke-admin", "sara@example.com")
    assert (last.returncode, last.stdout) == (1, "")
    assert last.stderr.startswith("error: This is the last active admin.")
    assert last.stderr.count("\n") == 1

    operator = f"cli:{getpass.getuser()}"
    entries = query(fresh_database_url, "SELECT action, actor_process, target_id FROM audit_entries ORDER BY id")
    assert [(action, process) for action, process, _ in entries] == [
        ("user.registered", operator),
        ("user.registered", operator),
        ("user.promoted", operator),
        ("user.demoted", operator),
    ]
    assert entries[2][2] == user_id


@pytest.mark.parametrize(
    ("arguments", "stdin", "complaint"),
    [
        (["create-user", "sara@example.com"], "password123\n", "lists that attackers try first"),
        (["create-user", "sara@example.com"], "", "no password came on standard input"),
        (["create-user", "no address"], PASSWORD, "not an e-mail address that an account can have"),
        (["create-user", "sara@lab.local"], PASSWORD, "not an e-mail address that an account can have"),
        (["reset-password", "nobody@example.com"], PASSWORD, "no account with the e-mail address nobody@example.com"),
        (["reset-password", "sara@example.com"], "", "no password came on standard input"),
        (["grant-admin", "nobody@example.com"], "", "no account with the e-mail address nobody@example.com"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    manage: Manage, fresh_database_url: str, arguments: list[str], stdin: str, complaint: str
) -> None:
    refused = manage(*arguments, stdin=stdin)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert complaint in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert query(fresh_database_url, "SELECT id FROM users") == []


def test_an_operator_sets_a_new_password_for_who_forgot_it(manage: Manage, fresh_database_url: str) -> None:
    assert manage("create-user", "sara@example.com", stdin=PASSWORD).returncode == 0
    weak = manage("reset-password", "sara@example.com", stdin="password123\n")
    assert (weak.returncode, weak.stdout) == (1, "")
    assert "lists that attackers try first" in weak.stderr
    reset = manage("reset-password", "SARA@example.com", stdin="چهار واژهٔ دیگر\n")
    assert (reset.returncode, reset.stderr) == (0, "")
    assert reset.stdout == "sara@example.com has a new password and is signed out everywhere\n"
    [(password_hash, token_version)] = query(fresh_database_url, "SELECT password_hash, token_version FROM users")
    assert verify_password("چهار واژهٔ دیگر", password_hash)
    assert token_version == 2
    entries = query(fresh_database_url, "SELECT action, actor_process FROM audit_entries ORDER BY id")
    operator = f"cli:{getpass.getuser()}"
    assert entries[1:] == [("user.password_changed", operator), ("user.password_reset", operator)]


@pytest.mark.parametrize("command", ["create-user", "reset-password"])
def test_a_password_on_the_command_line_is_not_understood(manage: Manage, command: str) -> None:
    refused = manage(command, "sara@example.com", "--password", PASSWORD)
    assert refused.returncode == 2


def test_a_terminal_is_asked_twice_and_shows_nothing(
    environment: dict[str, str], tmp_path: Path, fresh_database_url: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TYPING, sys.executable, "-m", "app.manage", "create-user", "sara@example.com"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = b""
        for prompt in (b"Password: ", b"confirmation: "):
            while not shown.endswith(prompt):
                piece = process.stdout.read(1)
                assert piece, shown
                shown += piece
            process.stdin.write(PASSWORD.encode() + b"\n")
            process.stdin.flush()
        shown += process.stdout.read()
    assert process.returncode == 0
    assert PASSWORD not in shown.decode()
    [(password_hash,)] = query(fresh_database_url, "SELECT password_hash FROM users")
    assert verify_password(PASSWORD, password_hash)


def test_migrate_brings_an_empty_database_to_this_release(manage: Manage, fresh_owner_url: str) -> None:
    query(fresh_owner_url, "DROP SCHEMA public CASCADE")
    query(fresh_owner_url, "CREATE SCHEMA public")
    migrated = manage("migrate", MIGRATE_ON_START="false", DATABASE_URL=fresh_owner_url)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    assert query(fresh_owner_url, "SELECT version_num FROM alembic_version") == [(head_revision(),)]


def test_the_migrations_are_checked_in_a_database_that_does_not_stay(manage: Manage, server_url: str) -> None:
    names = "SELECT datname FROM pg_database WHERE datname LIKE 'gtm_check_%'"
    checked = manage("check-migrations", "--database-url", server_url)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "make what the models say" in checked.stdout
    assert query(server_url, names) == []


@pytest.mark.parametrize("url", ["mysql://x", "nonsense"])
def test_migrations_cannot_be_checked_where_there_is_no_server(manage: Manage, url: str) -> None:
    refused = manage("check-migrations", "--database-url", url)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert refused.stderr.count("\n") == 1


def test_without_a_database_the_embedded_one_is_used(manage: Manage, tmp_path: Path) -> None:
    created = manage("create-user", "sara@example.com", "--admin", stdin=PASSWORD, DATABASE_URL=None)
    assert (created.returncode, created.stderr) == (0, "")
    assert "sara@example.com" in manage("list-admins", DATABASE_URL=None).stdout
    assert not (tmp_path / "data" / "postgres" / "postmaster.pid").exists()


def test_the_contract_is_exported_without_a_database(manage: Manage, tmp_path: Path) -> None:
    exported = manage("export-openapi", DATABASE_URL="postgresql://nobody@127.0.0.1:1/x")
    assert (exported.returncode, exported.stderr) == (0, "")
    document = json.loads(exported.stdout)
    assert document["openapi"].startswith("3.")
    assert "/api/v1/auth/login" in document["paths"]
    target = tmp_path / "openapi.json"
    assert manage("export-openapi", "--output", str(target)).stdout == ""
    assert json.loads(target.read_text(encoding="utf-8")) == document
    assert not (tmp_path / "data").exists()


def test_a_wrong_setting_is_one_line(manage: Manage) -> None:
    refused = manage("list-admins", BCRYPT_COST="99")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: BCRYPT_COST: ")
    assert refused.stderr.count("\n") == 1


def test_a_database_that_does_not_exist_is_one_line(manage: Manage, fresh_database_url: str) -> None:
    url = make_url(fresh_database_url).set(database="no_such_database").render_as_string(hide_password=False)
    refused = manage("list-admins", DATABASE_URL=url)
    assert refused.returncode == 1
    assert "no such database" in refused.stderr
    assert refused.stderr.count("\n") == 1
