"""The settings `SLURM_…`, read once and checked before anything is submitted."""

import os
import shutil
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from app.core.config import ConfigurationError, Settings
from app.executors.slurm.accounts import ALL_OF_A_DOMAIN, is_login
from app.executors.slurm.submission import Placing

_UNSPEAKABLE = frozenset("%\\\n\r\0")
"""Characters that Slurm reads otherwise in the name of an output file."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One name for all, or one for each key, with `*` for every other key."""

    by_key: Mapping[str, str]

    def of(self, key: str) -> str | None:
        return self.by_key.get(key, self.by_key.get("*"))


@dataclass(frozen=True, slots=True)
class Commands:
    """Where Slurm's commands are."""

    sbatch: str
    squeue: str
    sacct: str | None
    scancel: str
    sinfo: str
    scontrol: str | None


@dataclass(frozen=True, slots=True)
class SlurmOptions:
    """`logins` is None where all jobs run as the service."""

    log_dir: Path
    commands: Commands
    command_timeout: timedelta
    logins: Mapping[str, str] | None
    partition: Choice
    account: Choice
    qos: Choice

    @property
    def partitions(self) -> Collection[str]:
        """Those that jobs can be sent to; none: Slurm's own choice."""
        return () if "*" not in self.partition.by_key else frozenset(self.partition.by_key.values())

    def placing(self, gpu_type: str, owner_email: str) -> Placing:
        return Placing(
            partition=self.partition.of(gpu_type), account=self.account.of(owner_email), qos=self.qos.of(gpu_type)
        )


def read_options(settings: Settings) -> SlurmOptions:
    """Read the settings. Slurm itself is not asked: the service starts, and tries again, while it is away.

    Raises:
        ConfigurationError: one is missing or unusable.
    """
    as_user = settings.slurm_submit_as == "user"
    if as_user and shutil.which("sudo") is None:
        raise ConfigurationError("SLURM_SUBMIT_AS: there is no sudo on this machine; install it, or write service")
    return SlurmOptions(
        log_dir=_log_dir(settings.slurm_log_dir),
        commands=Commands(
            sbatch=_command("sbatch"),
            squeue=_command("squeue"),
            sacct=shutil.which("sacct"),
            scancel=_command("scancel"),
            sinfo=_command("sinfo"),
            scontrol=shutil.which("scontrol"),
        ),
        command_timeout=timedelta(seconds=settings.slurm_command_timeout_seconds),
        logins=read_logins(settings.slurm_users) if as_user else None,
        partition=read_choice("SLURM_PARTITION", settings.slurm_partition),
        account=read_choice("SLURM_ACCOUNT", settings.slurm_account),
        qos=read_choice("SLURM_QOS", settings.slurm_qos),
    )


def read_choice(setting: str, text: str) -> Choice:
    """From `gpu`, or `a100=gpu,*=old`, or nothing."""
    if text.strip() and "=" not in text and "," not in text:
        return Choice({"*": _name(setting, text.strip())})
    pairs = _pairs(setting, text, "write one name for all, or pairs as in a100=gpu,*=old")
    return Choice({key.lower() if "@" in key else key: _name(setting, value) for key, value in pairs.items()})


def read_logins(text: str) -> Mapping[str, str]:
    """From `sara@example.org=sara,ali@example.org=ahmadi,*@example.org=*`."""
    pairs = _pairs("SLURM_USERS", text, "write pairs as in sara@example.org=sara")
    logins = {email.lower(): login for email, login in pairs.items()}
    for email, login in logins.items():
        is_readable = login == ALL_OF_A_DOMAIN if email.startswith("*@") else is_login(login)
        if not is_readable or "@" not in email:
            raise ConfigurationError(
                f"SLURM_USERS: cannot read {email}={login}; write pairs as in sara@example.org=sara"
            )
    return logins


def _pairs(setting: str, text: str, advice: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = (word.strip() for word in part.partition("="))
        if not (key and sign and value) or key in pairs:
            raise ConfigurationError(f"{setting}: cannot read {part!r}; {advice}")
        pairs[key] = value
    return pairs


def _name(setting: str, name: str) -> str:
    if not all(letter.isalnum() or letter in "_.-+" for letter in name) or name.startswith("-"):
        raise ConfigurationError(f"{setting}: {name!r} is no name that Slurm could have given")
    return name


def _command(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ConfigurationError(f"EXECUTOR: slurm needs the command {name}; install Slurm's client here, or set PATH")
    return str(Path(path).absolute())


def _log_dir(path: Path | None) -> Path:
    if path is None:
        raise ConfigurationError("SLURM_LOG_DIR: name a folder that this machine and all nodes of Slurm share")
    if not path.is_absolute() or _UNSPEAKABLE & set(str(path)):
        raise ConfigurationError("SLURM_LOG_DIR: write an absolute path without %, backslashes and line breaks")
    if not path.is_dir():
        raise ConfigurationError(f"SLURM_LOG_DIR: there is no folder {path}; make it, or mount the one that is shared")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigurationError(f"SLURM_LOG_DIR: this user cannot write to {path}")
    if path.stat().st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        raise ConfigurationError(f"SLURM_LOG_DIR: everybody can replace what is noted in {path}; chmod o-w it")
    return path
