"""Whom a job runs as: the service itself, or the Slurm user of its owner, through `sudo`.

What sudo has to allow for that, where the service runs as `gtm` and nothing more than these two commands:

    Cmnd_Alias GTM_SLURM = /usr/bin/sbatch, /usr/bin/scancel
    Runas_Alias GTM_USERS = %slurm-users
    Defaults!GTM_SLURM !requiretty, !use_pty
    gtm ALL = (GTM_USERS) NOPASSWD: GTM_SLURM

This lets the service do as these users whatever they can do themselves in a job, which is its purpose; keep root and
system accounts out of that group. Where slurm.conf is not where Slurm looks by itself, SLURM_CONF has to be kept, too
(env_keep): then it also lets the service do so on this machine, by the plugins that such a file names. `squeue`,
`sacct` and `sinfo` are run by the service as itself: where Slurm hides jobs from others (PrivateData), it needs to be
an operator there.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pwd import getpwnam, getpwuid, struct_passwd
from time import monotonic

from app.domain.execution import LaunchError
from app.executors.slurm.commands import CommandFailed, CommandRunner

_LOGIN = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
FIRST_PERSON_UID = 1000
NOBODYS_UID = 65_534
CHECK_HOLDS_SECONDS = 300.0
ALL_OF_A_DOMAIN = "*"


def is_login(text: str) -> bool:
    return _LOGIN.fullmatch(text) is not None


def login_of(owner_email: str, logins: Mapping[str, str]) -> str:
    """The Slurm user of this owner: as it is written in the settings, else what stands before the @.

    Nobody proves that an address is theirs, and `sara` can be had in any domain. So the settings can name the domains
    that this holds in (`*@example.org=*`).

    Raises:
        LaunchError: it does not hold in this one.
    """
    if login := logins.get(owner_email):
        return login
    local_part, _, domain = owner_email.rpartition("@")
    if ALL_OF_A_DOMAIN in logins.values() and logins.get(f"*@{domain}") != ALL_OF_A_DOMAIN:
        raise LaunchError(f"Addresses of {domain} have no Slurm users; an admin has to name yours in SLURM_USERS.")
    return local_part


def account_of(owner_email: str, logins: Mapping[str, str]) -> struct_passwd:
    """The account that this owner's jobs run as.

    Raises:
        LaunchError: there is none, or it is one that jobs must not run as.
    """
    login = login_of(owner_email, logins)
    if not is_login(login):
        raise LaunchError(f"No Slurm user can have the name {login!r}; an admin has to name yours in SLURM_USERS.")
    try:
        account = getpwnam(login)
    except KeyError:
        raise LaunchError(f"There is no Slurm user {login}; an admin has to name yours in SLURM_USERS.") from None
    is_a_persons = account.pw_uid >= FIRST_PERSON_UID and account.pw_uid != NOBODYS_UID
    if account.pw_uid in {0, os.geteuid()} or not (is_a_persons or owner_email in logins):
        raise LaunchError(f"The account {login} belongs to the system; jobs do not run as it.")
    return account


@dataclass(slots=True)
class Sudo:
    """Runs commands as another user, and knows beforehand whether it may."""

    runner: CommandRunner
    sbatch: str
    _allowed_until: dict[str, float] = field(default_factory=dict)

    async def check(self, login: str) -> None:
        """Ask before anything is noted down or submitted.

        Raises:
            LaunchError: sudo does not allow it.
            CommandTrouble: sudo cannot be asked.
        """
        if self._allowed_until.get(login, 0.0) > monotonic():
            return
        try:
            await self.runner.ask(["sudo", "-n", "-l", "-u", login, self.sbatch])
        except CommandFailed as error:
            raise LaunchError(
                f"This service is not allowed to submit jobs as {login}; an admin has to let it."
            ) from error
        self._allowed_until[login] = monotonic() + CHECK_HOLDS_SECONDS


def as_user(login: str | None) -> list[str]:
    """What to put before a command so that it runs as this user; nothing where it is the service."""
    return ["sudo", "-n", "-u", login, "--"] if login else []


def home_of(account: struct_passwd) -> str:
    """Where a job of this account begins; accounts of services often have none."""
    return account.pw_dir if account.pw_dir not in {"", "/", "/nonexistent"} else "/tmp"  # noqa: S108 - Slurm's own choice


def own_account() -> struct_passwd | None:
    try:
        return getpwuid(os.geteuid())
    except KeyError:
        return None
