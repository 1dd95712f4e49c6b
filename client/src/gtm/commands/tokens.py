"""Personal access tokens: for programs and other machines, which have no password."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gtm.commandline import Commands
from gtm.commands.auth import DaysOption, EmailOption, PasswordOption, ScopeOption
from gtm.context import Session
from gtm.errors import CommandError, ExitCode, UsageError
from gtm.output import Column
from gtm.settings import TOKEN_VARIABLE
from gtm.signing_in import Login, ask_login, make_token, signed_in, usual_scopes
from gtm.times import moments

SHOWN_OF_ID = 8
"""Characters of a UUID, in a table: `revoke` takes the beginning of one."""

commands = Commands(help="Personal access tokens, for programs and other machines.")


@commands.command(
    prints_data=True,
    epilog="""
    Examples:
      gtm token create "nightly runs" --days 90
      gtm token create dashboard --scope jobs:read >token-file

    The token itself is printed on stdout, this once. Your password is asked for: no token can make another.
    """,
)
def create(
    session: Session,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: ScopeOption = None,
    days: DaysOption = 30,
    email: EmailOption = None,
    password_stdin: PasswordOption = False,
) -> None:
    """Make a token, and print it this once."""
    with signed_in(session, _ask_login(session, email, password_stdin=password_stdin)) as (service, account):
        made = make_token(service, name, scope or usual_scopes(account), days)
    if session.output.format == "table":
        session.output.data(made["token"])
    else:
        session.output.record(made, ())
    until = moments(session.settings.calendar)(made["expires_at"])
    session.output.say(
        f"The token {name!r} is good for {', '.join(made['scopes'])} until {until}. Nobody can read it again: keep it "
        f"where only its program can, and give it as {TOKEN_VARIABLE}.",
        then="gtm token list",
    )


@commands.command("list", prints_data=True)
def list_tokens(session: Session) -> None:
    """List your tokens that are still good, newest first."""
    moment = moments(session.settings.calendar)
    session.output.records(
        session.service.get("/auth/tokens"),
        (
            Column("Name", "name"),
            Column("Scopes", "scopes", wraps=True),
            Column("Good until", "expires_at", moment),
            Column("Last used", "last_used_at", moment),
            Column("This one", "current"),
            Column("Id", "id", lambda token_id: str(token_id)[:SHOWN_OF_ID]),
        ),
        empty="You have no personal access tokens. Make one: gtm token create NAME",
    )


@commands.command(
    epilog="""
    To revoke the token that is in use here needs nothing more; to revoke another one, your password is asked for.
    """
)
def revoke(
    session: Session,
    *,
    token: Annotated[str, typer.Argument(metavar="NAME|ID", help="Its name, or its id or the id's beginning.")],
    email: EmailOption = None,
    password_stdin: PasswordOption = False,
) -> None:
    """Revoke a token: it is refused from now on."""
    chosen = _find(session.service.get("/auth/tokens"), token)
    if chosen["current"]:
        session.service.delete(f"/auth/tokens/{chosen['id']}")
    else:
        with signed_in(session, _ask_login(session, email, password_stdin=password_stdin)) as (service, _):
            service.delete(f"/auth/tokens/{chosen['id']}")
    kept = session.credential
    if kept is not None and kept.id == chosen["id"]:
        session.credentials.forget(kept.profile)
    session.output.say(f"The token {chosen['name']!r} was revoked.", then="gtm login" if chosen["current"] else None)


def _ask_login(session: Session, email: str | None, *, password_stdin: bool) -> Login:
    """The account is known if somebody is signed in."""
    kept = session.credential
    return ask_login(session, email or (kept.email if kept else None), from_stdin=password_stdin)


def _find(tokens: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """By its name or the beginning of its id. Raises CommandError (3) for none, UsageError for several."""
    found = [token for token in tokens if token["name"] == wanted] or [
        token for token in tokens if token["id"].startswith(wanted.lower())
    ]
    if not found:
        raise CommandError(
            f"You have no token {wanted!r}, or it has ended.", exit_code=ExitCode.NOT_FOUND, hint="gtm token list"
        )
    if len(found) > 1:
        ids = ", ".join(token["id"] for token in found)
        raise UsageError(f"{len(found)} of your tokens are meant by {wanted!r}: give the id of one ({ids}).")
    return found[0]
