"""Settings: what they are, where each comes from, and how to change them."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.errors import UsageError
from gtm.output import Column
from gtm.settings import DEFAULTS, MEANING, SECRETS, checked, from_home
from gtm.shared_options import one_of

commands = Commands(help="Settings: read, change, and see where each comes from.")

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help=f"One of {', '.join(DEFAULTS)}.", autocompletion=one_of(DEFAULTS))
]


@commands.command("list", prints_data=True)
def list_settings(session: Session) -> None:
    """List the settings in force, and where each comes from."""
    session.output.records(
        [
            {"name": each.name, "value": each.value, "source": each.source, "meaning": MEANING[each.name]}
            for each in session.settings
        ],
        (
            Column("Name", "name"),
            Column("Value", "value", wraps=True),
            Column("From", "source", from_home, wraps=True),
            Column("Meaning", "meaning", wraps=True),
        ),
        empty="There are no settings.",
        id_field="name",
    )


@commands.command()
def get(session: Session, *, name: NameArgument) -> None:
    """Print the value of one setting."""
    session.output.data(session.settings[_known(name)].value)


@commands.command(
    "set",
    epilog="""
    Examples:
      gtm config set url https://gpu.example.org
      gtm --profile lab config set url https://gpu.lab.example.org
      gtm config set profile lab                       from now on it is meant when none is named
    """,
)
def set_setting(
    session: Session, *, name: NameArgument, value: Annotated[str, typer.Argument(metavar="VALUE")]
) -> None:
    """Keep a value in your configuration, for the profile in force."""
    checked(_known(name), value, "the command line")
    _write(session, name, value)


@commands.command()
def unset(session: Session, *, name: NameArgument) -> None:
    """Remove a value from your configuration."""
    _write(session, _known(name), None)


@commands.command("profiles", prints_data=True)
def list_profiles(session: Session) -> None:
    """List your profiles: a service and an account each."""
    session.output.records(
        _profiles(session),
        (
            Column("Profile", "profile"),
            Column("Service", "url", wraps=True),
            Column("Signed in as", "email"),
            Column("In force", "current"),
        ),
        empty="You have no profiles. Make one: gtm --profile NAME login --url URL",
        id_field="profile",
    )


@commands.command()
def path(session: Session) -> None:
    """Print the path of your configuration file."""
    session.output.data(str(session.settings.user.path))


def _known(name: str) -> str:
    if name in SECRETS:
        raise UsageError(f"A {name} is no setting.", hint="gtm login keeps one safely")
    if name not in DEFAULTS:
        raise UsageError(f"There is no setting {name!r}; there are {', '.join(DEFAULTS)}.", hint="gtm config list")
    return name


def _write(session: Session, name: str, value: str | None) -> None:
    settings = session.settings
    settings.user.set(settings.profile, name, value)
    now = settings[name]
    session.output.say(f"{now.name} is {now.value} (from {now.source}).", then="gtm config list")
    if value is not None and now.source != str(settings.user.path):
        session.output.warn(f"{now.source} has a value, too, and wins over your configuration.")


def _profiles(session: Session) -> Iterator[Mapping[str, Any]]:
    settings = session.settings
    kept = {each.profile: each for each in session.credentials.read()}
    for name in dict.fromkeys([*settings.user.profiles, *kept]):
        credential = kept.get(name)
        url = settings.user.of(name).get("url") or (credential.url if credential else None)
        yield {
            "profile": name,
            "url": url,
            "email": credential.email if credential else None,
            "current": name == settings.profile,
        }
