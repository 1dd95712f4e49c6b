"""Whom jobs run as on this machine, and what of it can be checked before the first one."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.core.config import ConfigurationError, Settings


@dataclass(frozen=True, slots=True)
class JobUser:
    """A user of the operating system that is neither root nor the service."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: Path | None
    """None: there is none that this user owns, as with `nobody`."""


def job_user(settings: Settings) -> JobUser | None:
    """Whom jobs run as; None: the service's own user, whom somebody trusts them with.

    Raises:
        ConfigurationError: nobody said that, or there is no such user, or it would be no protection.
    """
    name = settings.local_job_account
    if name is None:
        if settings.local_trust_users:
            return None
        raise ConfigurationError(
            "LOCAL_JOB_USER: jobs would run as the service's own user and could read its database password: "
            "start as root, so that they run as LOCAL_JOB_USER or as nobody, or set LOCAL_TRUST_USERS=true if you "
            "trust everybody who submits"
        )
    if os.geteuid() != 0:
        raise ConfigurationError(
            "LOCAL_JOB_USER: only root can run jobs as another user: start as root, or leave it out and set "
            "LOCAL_TRUST_USERS=true if you trust everybody who submits"
        )
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"LOCAL_JOB_USER: there is no user {name!r} on this machine: make it with "
            f"`useradd --system --create-home {name}`"
        ) from None
    if entry.pw_uid == 0:
        raise ConfigurationError("LOCAL_JOB_USER: jobs of root could do anything: name another user")
    home = Path(entry.pw_dir)
    owns_home = home.is_dir() and home.stat().st_uid == entry.pw_uid
    groups = tuple(os.getgrouplist(name, entry.pw_gid))
    return JobUser(name, entry.pw_uid, entry.pw_gid, groups, home if owns_home else None)


def check_runs_dir(runs: Path, user: JobUser | None) -> None:
    """Make the directory that holds all runs, and see that the service may write there and the job's user pass.

    Raises:
        ConfigurationError: it cannot be used.
    """
    probe = runs / f".probe-{os.getpid()}"
    try:
        if not runs.exists():
            runs.mkdir(parents=True)
            runs.chmod(0o700 if user is None else 0o711)
        probe.write_bytes(b"")
        probe.unlink()
        found = runs.stat()
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to the runs directory {runs}: {error.strerror}; give this user the right to write there, "
            "or set LOCAL_RUNS_DIR"
        ) from error
    if found.st_mode & 0o022 or found.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"LOCAL_RUNS_DIR: others than the service may write to {runs}: name a folder of its own"
        )
    if user is not None and _as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", str(runs)]).returncode != 0:
        raise ConfigurationError(
            f"LOCAL_RUNS_DIR: jobs run as {user.name}, who may not pass through the folders above {runs}: set it to a "
            "folder that everybody can reach, such as /var/lib/gpu-task-manager/runs"
        )


def check_bubblewrap(user: JobUser | None) -> None:
    """Raises:
    ConfigurationError: bubblewrap is not installed, or makes no sandbox here.
    """
    if shutil.which("bwrap", path=os.defpath) is None:
        raise ConfigurationError("LOCAL_SANDBOX: bubblewrap is not installed (Debian: apt-get install bubblewrap)")
    argv = ["--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"]
    trial = _as(user, ["bwrap", *argv])
    if trial.returncode != 0:
        raise ConfigurationError(
            f"LOCAL_SANDBOX: bubblewrap makes no sandbox on this machine ({trial.stderr.strip() or 'no message'}): "
            "allow unprivileged user namespaces, or set LOCAL_SANDBOX=none"
        )


def _as(user: JobUser | None, argv: list[str]) -> subprocess.CompletedProcess[str]:
    identity: dict[str, Any] = {}
    if user is not None:
        identity = {"user": user.uid, "group": user.gid, "extra_groups": user.groups}
    return subprocess.run(
        argv,
        cwd="/",
        env={"PATH": os.defpath},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **identity,
    )
