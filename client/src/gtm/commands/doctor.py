"""`gtm doctor`: what is wrong, and what to do about it.

The checks come in the order in which things can fail, and those that would need an earlier one are left out.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import typer

from gtm import VERSION
from gtm.commandline import Commands
from gtm.context import Session
from gtm.errors import CommandError, ExitCode, Unreachable
from gtm.output import Column
from gtm.service import ANSWER_SECONDS
from gtm.settings import TOKEN_VARIABLE, from_home
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
    session.output.records([_record(each) for each in findings], _columns(findings), empty="", id_field="check")
    failed = [each for each in findings if each.result == "fail"]
    if failed:
        session.output.say(f"{len(failed)} of {len(findings)} checks failed.")
        raise typer.Exit(failed[0].exit_code)
    session.output.say("All is well.", then="gtm submit --help")


def _record(finding: Finding) -> Mapping[str, str | None]:
    return {name: value for name, value in asdict(finding).items() if name != "exit_code"}


def _columns(findings: Sequence[Finding]) -> Sequence[Column]:
    """What to do only where something is to be done."""
    columns = [
        Column("Check", "check"),
        Column("Result", "result", style=COLORS.get),
        Column("Found", "found", wraps=True),
    ]
    advice = [Column("What to do", "advice", wraps=True)] if any(each.advice for each in findings) else []
    return columns + advice


def _examine(session: Session) -> Iterator[Finding]:
    try:
        url = session.settings.url
    except CommandError as error:
        yield _failure("url", error)
        return
    yield Finding(
        "url", "ok", f"{url} (from {from_home(session.settings['url'].source)}, profile {session.settings.profile})"
    )
    try:
        about = _ask(session.service_as(None, retry_seconds=0))
    except CommandError as error:
        yield _failure("connection", error, advice=_how_to_connect(error))
        return
    yield Finding("connection", "ok", f"answers within {about.seconds * 1000:.0f} ms")
    yield _encryption(url, about)
    yield _clock(about)
    yield from _tokens(session)


@dataclass(frozen=True, slots=True)
class About:
    """What the service tells anybody, how long it took, and how the connection is encrypted."""

    date: str
    seconds: float
    tls: str | None


def _ask(service: "Service") -> About:
    """Raises Unreachable also for somebody else's answer."""
    began = time.monotonic()
    with service.stream("/about", silence_seconds=ANSWER_SECONDS) as answer:
        tls = _tls_of(answer)
        answer.read()
        seconds = time.monotonic() - began
        try:
            is_ours = "registration" in answer.json()
        except (ValueError, TypeError):
            is_ours = False
        if not is_ours:
            raise Unreachable(f"{service.url} answers, but not as GPU Task Manager does.")
        return About(answer.headers.get("Date", ""), seconds, tls)


def _tls_of(answer: "httpx2.Response") -> str | None:
    stream = answer.extensions.get("network_stream")
    tls: ssl.SSLObject | None = stream.get_extra_info("ssl_object") if stream is not None else None
    return f"{tls.version()}, certificate until {(tls.getpeercert() or {}).get('notAfter')}" if tls else None


def _how_to_connect(error: CommandError) -> str | None:
    message = error.message.lower()
    if "certificate" in message:
        return (
            "the address must be one that the certificate names; for a certificate of your own authority: "
            "export SSL_CERT_FILE=/path/to/its-ca.pem"
        )
    if "wrong version number" in message or "record layer" in message:
        return "it does not speak TLS there: is the port right, or is it http://?"
    if "not as GPU Task Manager" in error.message:
        return "something else answers there: gtm config set url URL"
    if "does not answer" in message:
        return "check the address (gtm config set url URL), the network, and whether the service runs"
    return error.hint


def _encryption(url: str, about: About) -> Finding:
    if is_in_clear(url):
        return Finding("tls", "warn", "not encrypted: others on the network can read your token", "use https://")
    if about.tls is None:
        return Finding("tls", "ok", "not encrypted, and not needed: it stays on this machine")
    return Finding("tls", "ok", about.tls)


def _clock(about: About) -> Finding:
    """Against the `Date` header, which is a second coarse."""
    try:
        theirs = parsedate_to_datetime(about.date)
    except ValueError:
        return Finding("clock", "warn", "the service does not tell the time", "ask its operator")
    ours = datetime.now(timezone.utc)
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
    yield Finding("token", "ok", f"of {account['email']} (from {from_home(source)})")
    yield _versions(str(service.get("/about").get("version")))
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
