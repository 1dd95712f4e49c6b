"""Making accounts, where people do not register themselves, and letting those in again who forgot their password."""

import sys
from typing import Annotated

import typer

from app.core.clock import system_clock
from app.core.config import Settings
from app.core.security import PasswordPool
from app.db.engine import Database
from app.domain.errors import EmailRefused, NotFound
from app.manage.admins import Email
from app.manage.running import CommandFailed, failures_as_one_line, on_database, operator
from app.services import auth


def create_user(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The e-mail address to sign in with.")],
    full_name: Annotated[str | None, typer.Option(help="The person's name.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="Make the account an admin at once.")] = False,
) -> None:
    """Make an account. The password is asked for, or read as one line from standard input."""
    with failures_as_one_line():
        password = _read_password()

    async def work(database: Database, settings: Settings) -> None:
        passwords = PasswordPool(settings.bcrypt_cost, threads=1)
        try:
            user = await auth.register(
                database,
                passwords,
                email=email,
                password=password,
                full_name=full_name,
                is_admin=admin,
                settings=settings,
                now=system_clock(),
                actor=operator(),
            )
        except EmailRefused:
            raise CommandFailed(
                f"{email} is not an e-mail address that an account can have; those of a local network (.local, .lan) "
                "need ALLOW_LOCAL_EMAIL=true"
            ) from None
        finally:
            passwords.close()
        typer.echo(f"{user.email} has the number {user.id}{' and is an admin' if admin else ''}")

    on_database(work)


def reset_password(email: Email) -> None:
    """Set a new password for an account, and end its sessions. The password is read as create-user reads it."""
    with failures_as_one_line():
        password = _read_password()

    async def work(database: Database, settings: Settings) -> None:
        passwords = PasswordPool(settings.bcrypt_cost, threads=1)
        try:
            user = await auth.reset_password(
                database, passwords, email=email, new_password=password, actor=operator(), now=system_clock()
            )
        except NotFound:
            raise CommandFailed(f"there is no account with the e-mail address {email}") from None
        finally:
            passwords.close()
        disabled = "" if user.is_active else " (the account is disabled)"
        typer.echo(f"{user.email} has a new password and is signed out everywhere{disabled}")

    on_database(work)


def _read_password() -> str:
    """Never from the command line, where every user of the machine could read it."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CommandFailed("no password came on standard input: write it there as one line, or use a terminal")
    return password
