"""Signing in and out, and who one is."""

from gtm.commandline import Commands
from gtm.context import Session
from gtm.output import Column

commands = Commands()

ACCOUNT = (
    Column("E-mail", "email"),
    Column("Name", "full_name"),
    Column("Admin", "is_admin"),
)


@commands.command(prints_data=True)
def whoami(session: Session) -> None:
    """Show who you are signed in as, and where."""
    account = session.service.get("/auth/me")
    session.output.record(account, ACCOUNT)
