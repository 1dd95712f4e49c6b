"""Whom jobs run as on this machine, and what of it can be checked before the first one."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import structlog

from app.core.config import ConfigurationError, Settings
from app.domain.execution import JobSpec
from app.executors.local.job_uids import FILE_NAME, JobUids, read_uids

log = structlog.get_logger("local")


@dataclass(frozen=True, slots=True)
class JobUser:
    """A user of the operating system that is neither root nor the service. It may have no more than a number."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class JobUsers(Protocol):
    """Who the jobs of each owner run as."""

    def of(self, spec: JobSpec) -> JobUser | None:
        """The user of this job's owner, always the same; None: the service's own.

        Raises:
            LaunchError: there is none for this owner.
            OSError: it cannot be looked up now.
        """
        ...

    def example(self) -> JobUser | None:
        """One that is like all of them, to try things as."""
        ...


@dataclass(frozen=True, slots=True)
class OneUser:
    """The jobs of all owners run as the same user; None: as the service itself."""

    user: JobUser | None = None

    def of(self, spec: JobSpec) -> JobUser | None:  # noqa: ARG002 - it is the same for all
        return self.user

    def example(self) -> JobUser | None:
        return self.user


@dataclass(frozen=True, slots=True)
class UserPerOwner:
    """The jobs of each owner run as a user of their own, so that the system keeps people apart."""

    uids: JobUids

    def of(self, spec: JobSpec) -> JobUser:
        return _user_without_name(self.uids.of(spec.owner_email))

    def example(self) -> JobUser:
        return _user_without_name(self.uids.uids[-1])


def _user_without_name(uid: int) -> JobUser:
    return JobUser(str(uid), uid, gid=uid)


def job_users(settings: Settings, runs: Path) -> JobUsers:
    """Who jobs run as, by the settings.

    Raises:
        ConfigurationError: the settings ask for what cannot be done, or would be no protection.
    """
    name = settings.local_job_user
    if name is not None:
        return OneUser(_named_user(name))
    if settings.jobs_run_as_service:
        if settings.local_trust_users:
            return OneUser()
        raise ConfigurationError(
            "LOCAL_TRUST_USERS: jobs would run as the service's own user and could read its database password: start "
            "as root, so that each owner's jobs run as a user of their own, or set LOCAL_TRUST_USERS=true if you "
            "trust everybody who submits"
        )
    return UserPerOwner(JobUids(runs / FILE_NAME, read_uids(settings.local_job_uids)))


def _named_user(name: str) -> JobUser:
    """Raises:
    ConfigurationError: there is no such user, or jobs must not or cannot run as it.
    """
    if os.geteuid() != 0:
        raise ConfigurationError(
            "LOCAL_JOB_USER: only root can run jobs as another user: start as root, or leave it out and set "
            "LOCAL_TRUST_USERS=true if you trust everybody who submits"
        )
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise ConfigurationError(
            f"LOCAL_JOB_USER: there is no user {name!r} on this machine: make it with `useradd --system {name}`"
        ) from None
    if entry.pw_uid == 0:
        raise ConfigurationError("LOCAL_JOB_USER: jobs of root could do anything: name another user")
    return JobUser(name, entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


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
    if user is None:
        return
    try:
        trial = _as(user, ["/bin/sh", "-c", 'cd "$1"', "sh", str(runs)])
    except OSError as error:
        raise ConfigurationError(
            f"LOCAL_JOB_UIDS: no process can run as user {user.name} here ({error.strerror}): in a container, choose a "
            "range that /proc/self/uid_map has, as in 20000-59999"
        ) from error
    if trial.returncode != 0:
        raise ConfigurationError(
            f"LOCAL_RUNS_DIR: jobs run as {user.name}, who may not pass through the folders above {runs}: set it to a "
            "folder that everybody can reach, such as /var/lib/gpu-task-manager/runs"
        )


def choose_sandbox(wanted: Literal["auto", "bubblewrap", "none"], users: JobUsers) -> Literal["bubblewrap", "none"]:
    """`auto` is bubblewrap where it works, unless somebody said that jobs are trusted with all that the service can.

    Raises:
        ConfigurationError: the sandbox that is asked for cannot be had.
    """
    user = users.example()
    if wanted == "none" or (wanted == "auto" and user is None):
        return "none"
    if (problem := problem_with_bubblewrap(user)) is None:
        return "bubblewrap"
    if wanted == "bubblewrap":
        raise ConfigurationError(f"LOCAL_SANDBOX: {problem}, or set LOCAL_SANDBOX=none")
    log.warning("jobs run without a sandbox", problem=problem)
    return "none"


def problem_with_bubblewrap(user: JobUser | None) -> str | None:
    """Why bubblewrap makes no sandbox for this user, and what to do; None: it makes one."""
    if shutil.which("bwrap", path=os.defpath) is None:
        return "bubblewrap is not installed (Debian: apt-get install bubblewrap)"
    argv = ["--unshare-pid", "--unshare-ipc", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"]
    trial = _as(user, ["bwrap", *argv])
    if trial.returncode == 0:
        return None
    return (
        f"bubblewrap makes no sandbox on this machine ({trial.stderr.strip() or 'no message'}): "
        "allow unprivileged user namespaces"
    )


def check_writable_dirs(directories: Collection[Path], hidden: Collection[Path]) -> None:
    """Raises:
    ConfigurationError: one is missing, or would show to jobs what is hidden from them.
    """
    for path in directories:
        if not path.is_absolute() or not path.is_dir():
            raise ConfigurationError(f"LOCAL_WRITABLE_DIRS: {path} is not the whole path of a folder that is there")
        real = path.resolve()
        for secret in (folder.resolve() for folder in hidden):
            if real.is_relative_to(secret) or secret.is_relative_to(real):
                raise ConfigurationError(f"LOCAL_WRITABLE_DIRS: {path} would show jobs what {secret} keeps from them")


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
