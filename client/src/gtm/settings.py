"""Where each setting comes from: flags, then the environment, then the project's file, then the user's, then defaults.

    --url, --profile …      flags of this call
    GTM_URL, GTM_PROFILE …  the environment
    .gtm.toml               the project: the nearest one in this folder or above; it can never hold a token
    config.toml             the user's own, with a table for each profile: another service, or another account

A profile has a URL and the user's preferences for it. The name of the profile in force can come from everywhere, all
else in `config.toml` from that profile's table.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtm.errors import UsageError
from gtm.urls import normalised

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT_FILE = ".gtm.toml"
DEFAULT_PROFILE = "default"
OUTPUT_FORMATS = ("table", "json", "jsonl", "csv", "id")
CALENDARS = ("gregorian", "jalali")

DEFAULTS: Mapping[str, str] = {
    "profile": DEFAULT_PROFILE,
    "url": "http://localhost:8000",
    "output": "table",
    "calendar": "gregorian",
    "retry_seconds": "15",
}
"""Every setting there is. `retry_seconds`: how long a service that does not answer is asked again; 0 for once only."""

MEANING: Mapping[str, str] = {
    "profile": "the profile in force when none is named",
    "url": "where the service is",
    "output": "how data is printed: " + ", ".join(OUTPUT_FORMATS),
    "calendar": "the calendar of dates: " + ", ".join(CALENDARS),
    "retry_seconds": "for how many seconds a service that does not answer is asked again",
}
VARIABLES: Mapping[str, str] = {
    "profile": "GTM_PROFILE",
    "url": "GTM_URL",
    "output": "GTM_OUTPUT",
    "calendar": "GTM_CALENDAR",
    "retry_seconds": "GTM_RETRY_SECONDS",
}
TOKEN_VARIABLE = "GTM_TOKEN"  # noqa: S105 - its name
SECRETS = frozenset({"token", "password"})


@dataclass(slots=True)
class Flags:
    """What the command line said; None where it said nothing."""

    url: str | None = None
    profile: str | None = None
    output: str | None = None
    calendar: str | None = None
    no_color: bool = False
    verbose: bool = False

    def value(self, name: str) -> str | None:
        return getattr(self, name, None)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it comes from, in words that a person can look up: `--url`, `GTM_URL`, a file's path."""

    name: str
    value: str
    source: str

    @property
    def is_default(self) -> bool:
        return self.source == "default"


@dataclass(frozen=True)
class Settings:
    """All settings of one call."""

    flags: Flags
    environment: Mapping[str, str]
    project: "ProjectFile | None"
    user: "UserFile"

    @property
    def profile(self) -> str:
        return self["profile"].value

    @property
    def url(self) -> str:
        """Without a slash at its end. Raises UsageError for what is no address of a service."""
        setting = self["url"]
        try:
            return normalised(setting.value)
        except ValueError as error:
            raise UsageError(f"{setting.value!r} (from {setting.source}) {error}.", hint="gtm config set url") from None

    @property
    def url_is_the_projects(self) -> bool:
        """Whoever wrote the project's file chose the URL, who may be a stranger."""
        return self.project is not None and self["url"].source == str(self.project.path)

    @property
    def output(self) -> str:
        return self["output"].value

    @property
    def calendar(self) -> str:
        return self["calendar"].value

    @property
    def retry_seconds(self) -> float:
        return float(self["retry_seconds"].value)

    @property
    def token_from_environment(self) -> str | None:
        return self.environment.get(TOKEN_VARIABLE, "").strip() or None

    def __iter__(self) -> Iterator[Setting]:
        return (self[name] for name in DEFAULTS)

    def __getitem__(self, name: str) -> Setting:
        """The setting and its source. Raises UsageError for a value that it cannot have."""
        for source, value in self._candidates(name):
            if value:
                return Setting(name, checked(name, value, source), source)
        return Setting(name, DEFAULTS[name], "default")

    def _candidates(self, name: str) -> Iterator[tuple[str, str | None]]:
        """In the order in which they count."""
        yield f"--{name}", self.flags.value(name)
        yield VARIABLES[name], self.environment.get(VARIABLES[name])
        if self.project is not None:
            yield str(self.project.path), self.project.values.get(name)
        yield str(self.user.path), self.user.profile if name == "profile" else self.user.of(self.profile).get(name)


def read_settings(flags: Flags, environment: Mapping[str, str], directory: Path) -> Settings:
    """Raises UsageError for a file that is none, has a key that nobody knows, or holds a secret."""
    return Settings(flags, environment, find_project_file(directory), UserFile.read(configuration_directory()))


def configuration_directory() -> Path:
    """Of this user: `$XDG_CONFIG_HOME/gtm`, `~/.config/gtm`, or what the system has instead."""
    from platformdirs import user_config_path  # a tenth of the start's time

    return user_config_path("gtm", appauthor=False)


def from_home(source: str) -> str:
    """A path as a person writes it: `~/.config/gtm/config.toml`."""
    home = str(Path.home())
    return f"~{source.removeprefix(home)}" if source.startswith(home + os.sep) else source


def checked(name: str, value: str, source: str) -> str:
    """The value, if the setting can have it; raises UsageError otherwise."""
    wanted = _complaint(name, value)
    if wanted is not None:
        raise UsageError(f"{name} cannot be {value!r} (from {source}): {wanted}.", hint="gtm config list")
    return value


def _complaint(name: str, value: str) -> str | None:
    match name:
        case "output":
            return None if value in OUTPUT_FORMATS else f"it is one of {', '.join(OUTPUT_FORMATS)}"
        case "calendar":
            return None if value in CALENDARS else f"it is one of {', '.join(CALENDARS)}"
        case "retry_seconds":
            return None if value.isascii() and value.replace(".", "", 1).isdigit() else "it is a number of seconds"
        case "profile":
            return None if value.replace("-", "").replace("_", "").isalnum() else "it has letters, digits, - and _ only"
        case "url":
            try:
                normalised(value)
            except ValueError as error:
                return f"it {error}"
    return None


@dataclass(frozen=True, slots=True)
class ProjectFile:
    """`.gtm.toml`: what a project wants of everybody who works in it."""

    path: Path
    values: Mapping[str, str]


def find_project_file(directory: Path) -> ProjectFile | None:
    """The nearest one, from `directory` upwards."""
    for folder in (directory, *directory.parents):
        path = folder / PROJECT_FILE
        if path.is_file():
            content = _read_toml(path)
            return ProjectFile(path, _settings_in(content, path))
    return None


@dataclass
class UserFile:
    """`config.toml`: the user's profiles, and which of them is meant when none is named."""

    path: Path
    profile: str | None = None
    profiles: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> "UserFile":
        path = directory / "config.toml"
        if not path.is_file():
            return cls(path)
        content = _read_toml(path)
        tables = content.pop("profiles", {})
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            raise UsageError(f"{path}: profiles stand in tables, [profiles.NAME].")
        if unknown := set(content) - {"profile"}:
            raise UsageError(f"{path}: {min(unknown)!r} does not stand by itself; put it under [profiles.NAME].")
        own = _settings_in(content, path)
        return cls(path, own.get("profile"), {name: _settings_in(table, path) for name, table in tables.items()})

    def of(self, profile: str) -> Mapping[str, str]:
        return self.profiles.get(profile, {})

    def set(self, profile: str, name: str, value: str | None) -> None:
        """Write it down, or forget it with None. Comments in the file do not survive."""
        if name == "profile":
            self.profile = value
        elif value is None:
            self.profiles.get(profile, {}).pop(name, None)
        else:
            self.profiles.setdefault(profile, {})[name] = value
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(self._as_toml(), encoding="utf-8")
        draft.replace(self.path)

    def _as_toml(self) -> str:
        lines = ["# Written by `gtm config set`."]
        if self.profile:
            lines.append(f"profile = {_toml_string(self.profile)}")
        for profile, values in self.profiles.items():
            lines += ["", f"[profiles.{profile}]"]
            lines += [f"{name} = {_toml_string(value)}" for name, value in values.items()]
        return "\n".join(lines) + "\n"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None


def _settings_in(table: Mapping[str, Any], path: Path) -> dict[str, str]:
    """As text, whatever TOML calls them; refused with a secret or with a key that nobody knows."""
    for name in table:
        if name.lower() in SECRETS:
            raise UsageError(
                f"{path} holds a {name}; a secret there would be read and copied with the file.",
                hint=f"remove it there, revoke it (gtm token list), and sign in: gtm login, or set {TOKEN_VARIABLE}",
            )
        if name not in DEFAULTS:
            raise UsageError(f"{path}: there is no setting {name!r}; there are {', '.join(DEFAULTS)}.")
    return {name: str(value) for name, value in table.items()}


def _toml_string(value: str) -> str:
    """TOML's basic strings escape as JSON's do, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
