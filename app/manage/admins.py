"""Who is an admin: nobody becomes one by HTTP alone, so the first one is made here."""

from typing import Annotated

import typer

from app.core.clock import system_clock
from app.core.config import Settings
from app.db.engine import Database
from app.db.queries.users import UserChange
from app.domain.errors import NotFound
from app.manage.running import CommandFailed, on_database, operator
from app.services import users

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The e-mail address of the account.")]


def grant_admin(email: Email) -> None:
    """Make an account an admin."""
    _set_admin(email, is_admin=True)


def revoke_admin(email: Email) -> None:
    """Take the rights of an admin away. The last active admin keeps them."""
    _set_admin(email, is_admin=False)


def list_admins() -> None:
    """List the admins: number, e-mail address, name."""

    async def work(database: Database, _settings: Settings) -> None:
        async with database.autocommit() as connection:
            for admin in await users.admins(connection):
                disabled = "" if admin.is_active else "\t(disabled)"
                typer.echo(f"{admin.id}\t{admin.email}\t{admin.full_name or '-'}{disabled}")

    on_database(work)


def _set_admin(email: str, *, is_admin: bool) -> None:
    async def work(database: Database, _settings: Settings) -> None:
        async with database.transaction() as connection:
            try:
                user = await users.find(connection, email)
            except NotFound:
                raise CommandFailed(
                    f"there is no account with the e-mail address {email}: register it, or use create-user"
                ) from None
            change = UserChange(is_admin=is_admin)
            await users.update(connection, user.id, change, actor=operator(), now=system_clock())
        standing = "an admin" if is_admin else "no admin"
        already = "already " if user.is_admin == is_admin else ""
        disabled = "" if user.is_active else " (the account is disabled)"
        typer.echo(f"{user.email} is {already}{standing}{disabled}")

    on_database(work)
