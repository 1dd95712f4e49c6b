"""Signing in and out, and who one is."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.credentials import Credential
from gtm.errors import CommandError, NotSignedIn, UsageError
from gtm.output import Column
from gtm.settings import TOKEN_VARIABLE
from gtm.signing_in import (
    Scope,
    ask_login,
    current_token,
    make_token,
    read_personal_token,
    signed_in,
    usual_name,
    usual_scopes,
)
from gtm.times import moments

commands = Commands()

EmailOption = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The account; asked for without it.")]
PasswordOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password as one line from standard input.")
]
DaysOption = Annotated[int, typer.Option(min=1, max=365, metavar="DAYS", help="How long the token is good for.")]
ScopeOption = Annotated[
    list[Scope] | None,
    typer.Option(
        "--scope",
        metavar="SCOPE",
        help=f"What the token is good for: {', '.join(scope.value for scope in Scope)}; can be repeated. "
        "Without it: all that you may do.",
    ),
]


@commands.command(
    epilog="""
    Examples:
      gtm login --url https://gpu.example.org        asks for e-mail address and password
      gtm login --with-token <token-file             keeps a token that was made elsewhere

    The password is used once, to make a token; only the token is kept, in a file that nobody else can read.
    """
)
def login(
    session: Session,
    *,
    email: EmailOption = None,
    password_stdin: PasswordOption = False,
    with_token: Annotated[
        bool, typer.Option("--with-token", help="Read a personal access token from standard input instead.")
    ] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The token's name in your list of tokens.")] = None,
    days: DaysOption = 30,
    scope: ScopeOption = None,
) -> None:
    """Sign in, and keep a personal access token on this machine."""
    if with_token and (email or password_stdin or name or scope):
        raise UsageError("--with-token takes a token as it is: it goes with none of the options about a new one.")
    before = session.credential
    session.output.say(f"Signing in to {session.settings.url}{_whose_choice(session)}.")
    if with_token:
        credential = _credential_of(session, read_personal_token())
    else:
        credential = _new_credential(session, email, name, days, scope, password_stdin=password_stdin)
    session.credentials.keep(credential)
    _revoke_former(session, before, credential)
    _remember_url(session)
    until = moments(session.settings.calendar)(credential.expires_at)
    session.output.say(
        f"Signed in as {credential.email}, with the token {credential.name!r} until {until}.", then="gtm submit --help"
    )
    if session.settings.token_from_environment:
        session.output.warn(f"{TOKEN_VARIABLE} is set, and wins over the token that was kept now.")


@commands.command()
def logout(
    session: Session,
    *,
    keep_token: Annotated[
        bool, typer.Option("--keep-token", help="Only forget it here; it stays good elsewhere.")
    ] = False,
) -> None:
    """Revoke this machine's token and forget it."""
    credential = session.credential
    if credential is None:
        raise NotSignedIn(f"You are not signed in to {session.settings.url}: nothing to do.")
    if not keep_token:
        _revoke(session, credential)
    session.credentials.forget(credential.profile)
    what_happened = "forgotten" if keep_token else "revoked and forgotten"
    session.output.say(f"Signed out of {credential.url}: the token was {what_happened}.", then="gtm login")


@commands.command(prints_data=True)
def whoami(session: Session) -> None:
    """Show who you are signed in as, and where."""
    account = session.service.get("/auth/me")
    here = {"url": session.settings.url, "profile": session.settings.profile, "token": current_token(session.service)}
    moment = moments(session.settings.calendar)
    session.output.record(
        {**account, **here},
        (
            Column("E-mail", "email"),
            Column("Name", "full_name"),
            Column("Admin", "is_admin"),
            Column("Service", "url"),
            Column("Profile", "profile"),
            Column("Token", "token.name"),
            Column("Scopes", "token.scopes"),
            Column("Good until", "token.expires_at", moment),
        ),
    )


def _whose_choice(session: Session) -> str:
    """A stranger's project may name a stranger's service: people should see that before they type a password."""
    return f", as {session.settings['url'].source} says" if session.settings.url_is_the_projects else ""


def _new_credential(
    session: Session,
    email: str | None,
    name: str | None,
    days: int,
    scopes: list[Scope] | None,
    *,
    password_stdin: bool,
) -> Credential:
    with signed_in(session, ask_login(session, email, from_stdin=password_stdin)) as (service, account):
        made = make_token(service, name or usual_name(), scopes or usual_scopes(account), days)
    return _credential(session, account, made, made["token"], made_here=True)


def _credential_of(session: Session, token: str) -> Credential:
    """Of a token that somebody brought. Raises NotSignedIn if the service does not take it."""
    service = session.service_as(token)
    account, known = service.get("/auth/me"), current_token(service)
    return _credential(session, account, known or {}, token, made_here=False)


def _credential(
    session: Session, account: Mapping[str, Any], known: Mapping[str, Any], token: str, *, made_here: bool
) -> Credential:
    return Credential(
        profile=session.settings.profile,
        url=session.settings.url,
        token=token,
        id=known.get("id"),
        name=known.get("name"),
        email=account["email"],
        expires_at=known.get("expires_at"),
        made_here=made_here,
    )


def _revoke_former(session: Session, before: Credential | None, now: Credential) -> None:
    """What an earlier login made here, nobody uses any more."""
    if before is not None and before.made_here and before.token != now.token:
        with suppress(CommandError):  # it has ended already, or will
            _revoke(session, before)


def _revoke(session: Session, credential: Credential) -> None:
    """A token that the service knows no more is as good as revoked."""
    service = session.service_as(credential.token)
    try:
        known = credential.id or (current_token(service) or {}).get("id")
        if known is not None:
            service.delete(f"/auth/tokens/{known}")
    except NotSignedIn:
        pass


def _remember_url(session: Session) -> None:
    """Where one signed in by a flag, the next command goes without it."""
    settings = session.settings
    if settings["url"].source == "--url":
        settings.user.set(settings.profile, "url", settings.url)
