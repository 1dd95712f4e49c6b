"""`gtm doctor`: what is wrong, and what to do about it.

The checks come in the order in which things can fail, and those that would need an earlier one are left out.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import typer

from gtm import VERSION
from gtm.commandline import Commands
from gtm.context import Session
from gtm.errors import CommandError, ExitCode
from gtm.output import Column
from gtm.settings import TOKEN_VARIABLE
from gtm.signing_in import current_token
from gtm.times import moments, parse_moment
from gtm.urls import is_in_clear

if TYPE_CHECKING:
    import ssl

    import httpx2

    from gtm.service import Service

commands = Commands()

LONGEST_SKEW_SECONDS = 60
SOON_DAYS = 7
COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: `ok`, `warn` or `fail`, and what to do unless it is ok."""

    check: str
    result: str
    found: str
    advice: str | None = None
    exit_code: ExitCode = ExitCode.OK


@commands.command(
    prints_data=True,
    epilog="""
    It ends with 0 if all is well or only to be watched; otherwise with the code of the first failure: 6 for the
    connection, 4 for the token, 2 for a setting, 1 for the clock and the versions.
    """,
)
def doctor(session: Session) -> None:
    """Check the connection, the clock, the token and the versions."""
    findings = list(_examine(session))
    session.output.records(
        [{name: value for name, value in asdict(each).items() if name != "exit_code"} for each in findings],
        (
            Column("Check", "check"),
            Column("Result", "result", style=COLORS.get),
            Column("Found", "found", wraps=True),
            Column("What to do", "advice", wraps=True),
        ),
        empty="There was nothing to check.",
        id_field="check",
    )
    failed = [each for each in findings if each.result == "fail"]
    if failed:
        session.output.say(f"{len(failed)} of {len(findings)} checks failed.")
        raise typer.Exit(failed[0].exit_code)
    session.output.say("All is well.", then="gtm submit --help")


def _examine(session: Session) -> Iterator[Finding]:
    try:
        url = session.settings.url
    except CommandError as error:
        yield _failure("url", error)
        return
    yield Finding("url", "ok", f"{url} (from {session.settings['url'].source}, profile {session.settings.profile})")
    service = session.service_as(None, retry_seconds=0)
    try:
        answer = service.request("GET", "/about")
        about = answer.json()
    except CommandError as error:
        yield _failure("connection", error, advice=_how_to_connect(error.message))
        return
    yield Finding("connection", "ok", f"answers within {answer.elapsed.total_seconds() * 1000:.0f} ms")
    yield _encryption(url, answer)
    yield _clock(answer)
    yield _versions(str(about.get("version")))
    yield from _tokens(session)


def _how_to_connect(reason: str) -> str:
    if "certificate" in reason or "ssl" in reason or "tls" in reason:
        return "if the service has a certificate of its own: export SSL_CERT_FILE=/path/to/its-ca.pem"
    if "not as GPU Task Manager" in reason:
        return "something else answers there: gtm config set url URL"
    return "check the address (gtm config set url URL), the network, and whether the service runs"


def _encryption(url: str, answer: "httpx2.Response") -> Finding:
    if is_in_clear(url):
        return Finding("tls", "warn", "not encrypted: others on the network can read your token", "use https://")
    stream = answer.extensions.get("network_stream")
    tls: ssl.SSLObject | None = stream.get_extra_info("ssl_object") if stream is not None else None
    if tls is None:
        return Finding("tls", "ok", "not encrypted, and not needed: it stays on this machine")
    ends = (tls.getpeercert() or {}).get("notAfter")
    return Finding("tls", "ok", f"{tls.version()}, certificate until {ends}")


def _clock(answer: "httpx2.Response") -> Finding:
    """Against the `Date` header, which is a second coarse; half of the way there and back is allowed for."""
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"])
    except (KeyError, ValueError):
        return Finding("clock", "warn", "the service does not tell the time", "ask its operator")
    ours = datetime.now(timezone.utc) - answer.elapsed / 2
    skew = (ours - theirs).total_seconds()
    if abs(skew) <= LONGEST_SKEW_SECONDS:
        return Finding("clock", "ok", f"within {LONGEST_SKEW_SECONDS} s of the service's")
    side = "ahead of" if skew > 0 else "behind"
    return Finding(
        "clock",
        "fail",
        f"{abs(skew):.0f} s {side} the service's",
        "set this machine's clock: timedatectl set-ntp true",
        ExitCode.FAILED,
    )


def _versions(theirs: str) -> Finding:
    """Releases that differ in more than the last number may not understand each other."""
    found = f"gtm {VERSION}, service {theirs}"
    if theirs.split(".")[:2] == VERSION.split(".")[:2]:
        return Finding("versions", "ok", found)
    return Finding("versions", "fail", found, f"install the client of the service's release, {theirs}", ExitCode.FAILED)


def _tokens(session: Session) -> Iterator[Finding]:
    try:
        service = session.service_as(session.token, retry_seconds=0)
        account = service.get("/auth/me")
    except CommandError as error:
        yield _failure("token", error)
        return
    source = TOKEN_VARIABLE if session.settings.token_from_environment else str(session.credentials.path)
    yield Finding("token", "ok", f"of {account['email']} (from {source})")
    yield _expiry(session, service)


def _expiry(session: Session, service: "Service") -> Finding:
    token: Any = current_token(service)
    if token is None:
        return Finding("expiry", "warn", "not a personal access token: it ends within minutes", "gtm login")
    left = parse_moment(token["expires_at"]) - datetime.now(timezone.utc)
    found = (
        f"{token['name']}: {', '.join(token['scopes'])} until {moments(session.settings.calendar)(token['expires_at'])}"
    )
    if left.days < SOON_DAYS:
        return Finding("expiry", "warn", found, "make a new one before: gtm login")
    return Finding("expiry", "ok", found)


def _failure(check: str, error: CommandError, *, advice: str | None = None) -> Finding:
    return Finding(check, "fail", error.message, advice or error.hint, error.exit_code)
