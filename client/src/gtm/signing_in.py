"""Signing in with a password for as long as one act takes: to make a token, or to revoke another one."""

import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import typer

from gtm.context import Session
from gtm.errors import CommandError, UsageError
from gtm.service import Service

OUR_PAGES = {"X-GTM-Request": "1"}
"""What the service wants to see beside a cookie."""


class Scope(str, Enum):
    """What a token is good for; none includes another."""

    READ = "jobs:read"
    WRITE = "jobs:write"
    ADMIN = "admin"


TOKEN_PREFIX = "gtm_"  # noqa: S105 - how one begins


@dataclass(frozen=True, slots=True)
class Login:
    """What somebody signs in with."""

    email: str
    password: str = field(repr=False)


def ask_login(session: Session, email: str | None, *, from_stdin: bool) -> Login:
    """Ask for what is not known. Passwords come from a prompt or from standard input, never from the command line."""
    if email is None:
        require_terminal("the e-mail address", instead="--email")
        email = typer.prompt("E-mail", err=True)
    if from_stdin:
        return Login(email, first_line_of_stdin("password"))
    require_terminal("the password", instead="--password-stdin")
    return Login(email, ask_secret(f"Password of {email} at {session.settings.url}: "))


@contextmanager
def signed_in(session: Session, login: Login) -> Iterator[tuple[Service, Mapping[str, Any]]]:
    """The service as this person, and the account. The session ends with the block."""
    public = session.public_service
    answer = public.post("/auth/login", form={"username": login.email, "password": login.password})
    service = session.service_as(answer["access_token"])
    try:
        yield service, answer["user"]
    finally:
        with suppress(CommandError):  # it would end by itself
            public.post("/auth/logout", headers=OUR_PAGES)


def make_token(service: Service, name: str, scopes: Iterable[Scope], days: int) -> Mapping[str, Any]:
    """A personal access token as the API tells of it, with its secret as `token`."""
    wanted = {"name": name, "scopes": [scope.value for scope in scopes], "expires_in_days": days}
    made: Mapping[str, Any] = service.post("/auth/tokens", wanted)
    return made


def usual_scopes(account: Mapping[str, Any]) -> list[Scope]:
    """What a person's own token is good for unless other scopes are named: all that the person may do."""
    return [scope for scope in Scope if account["is_admin"] or scope != Scope.ADMIN]


def usual_name() -> str:
    """So that a list of tokens says where each lies."""
    return f"gtm on {socket.gethostname()}"[:100]


def require_terminal(what: str, *, instead: str) -> None:
    """Raises UsageError where nobody could be asked."""
    if not sys.stdin.isatty():
        raise UsageError(f"There is no terminal to ask for {what}.", hint=instead)


def ask_secret(prompt: str) -> str:
    """It is not echoed."""
    from getpass import getpass

    return getpass(prompt)


def first_line_of_stdin(what: str) -> str:
    line = sys.stdin.readline().strip("\r\n")
    if not line:
        raise UsageError(f"There is no {what} on standard input.", hint=f"write it there as one line: … <{what}-file")
    return line


def read_personal_token() -> str:
    """From standard input; at a terminal it is asked for. Raises UsageError for what is no personal access token."""
    token = ask_secret("Token: ") if sys.stdin.isatty() else first_line_of_stdin("token")
    if not token.strip().startswith(TOKEN_PREFIX):
        raise UsageError(f"That is not a personal access token: one begins with {TOKEN_PREFIX}.")
    return token.strip()


def current_token(service: Service) -> Mapping[str, Any] | None:
    """The one that the service is asked with; None if it is no personal access token."""
    return next((token for token in service.get("/auth/tokens") if token["current"]), None)
