"""What the processes of a test run find around them, whoever started the run, and from where.

The first call of `present_run()` comes before anything that reads the environment. It gives this process a known
environment, default signals, a umask, limits and an empty working directory; all its children inherit them. It also
starts the run's reaper, which ends what an interrupted run leaves behind: see `tests/reaper.py`.
"""

import functools
import locale
import os
import pwd
import resource
import signal
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
RUN_VARIABLE = "GTM_TEST_RUN"
WORKER_VARIABLE = "PYTEST_XDIST_WORKER"

KEPT = ("PATH", "LD_LIBRARY_PATH", "CI", "TEST_DEPTH", "TEST_DATABASE_URL", "CHROMIUM", RUN_VARIABLE)
KEPT_PREFIXES = ("PYTEST_", "COV_", "COVERAGE_")
FOR_THE_REPORT = ("TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS")
"""What pytest itself asks when it prints."""

_FOUND_FOR_THE_REPORT = {name: os.environ[name] for name in FOR_THE_REPORT if name in os.environ}

OPEN_FILES = 4096
UMASK = 0o022
LONGEST_TEMPORARY_PATH = 40
"""The name of a socket has 107 characters at most, with all directories above it."""


@dataclass(frozen=True, slots=True)
class Run:
    """The test run that this process belongs to: one for all its workers."""

    directory: Path
    """Where its processes may share something. It is removed with the last of them."""
    reaper_pipe: int

    @property
    def working_directory(self) -> Path:
        """With no `.env` in it, nor anything else."""
        return make_directory(self.directory / "work")

    @property
    def in_memory(self) -> Path | None:
        """A directory of its own that lies in memory, where there is such a thing."""
        shared_memory = Path("/dev/shm")  # noqa: S108 - the directory in it is the run's own
        return make_directory(shared_memory / self.directory.name) if os.access(shared_memory, os.W_OK) else None

    def watch(self, directory: Path) -> None:
        """Let the reaper end what works in this directory, too, if the run is interrupted."""
        os.write(self.reaper_pipe, f"{directory}\n".encode())


@functools.cache
def present_run() -> Run:
    """The run of this process. The first call lets it forget what it was started with."""
    _take_default_signals()
    os.umask(UMASK)
    _take_limits()
    run = _take_run()
    _take_environment(run)
    return run


def give_back_what_the_report_asks_for() -> None:
    """For a process that prints and runs no tests."""
    os.environ.update(_FOUND_FOR_THE_REPORT)


def _take_default_signals() -> None:
    """A child inherits what its parent ignores or blocks, as `nohup` and background jobs of a shell rely on."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _take_limits() -> None:
    """Soft limits as far up as a process may set them itself; of open files, as many as on most machines."""
    for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA):
        _, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (hard, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _take_run() -> Run:
    """Join the run of the process that started this worker, or begin one."""
    if WORKER_VARIABLE not in os.environ:
        os.environ[RUN_VARIABLE] = uuid.uuid4().hex[:12]
    temporary = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    parent = temporary if len(temporary) <= LONGEST_TEMPORARY_PATH else "/tmp"  # noqa: S108 - a directory of its own
    directory = make_directory(Path(parent) / f"gtm-test-{os.environ[RUN_VARIABLE]}")
    read, write = os.pipe()
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", str(PROJECT / "tests/reaper.py"), str(directory)],
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, read, 0), (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
        setsid=True,
    )
    os.close(read)
    return Run(directory, write)


def _take_environment(run: Run) -> None:
    found = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    user = pwd.getpwuid(os.getuid()).pw_name
    os.environ.clear()
    os.environ.update(
        {
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "HOME": str(make_directory(run.directory / "home")),
            "TMPDIR": str(make_directory(run.directory / "tmp")),
            "USER": user,
            "LOGNAME": user,
            "SHELL": "/bin/sh",
            "PYTHONPATH": f"{PROJECT}:{PROJECT / 'client/src'}",
            "HYPOTHESIS_STORAGE_DIRECTORY": str(PROJECT / ".hypothesis"),
            **found,
        }
    )
    tempfile.tempdir = None
    time.tzset()
    locale.setlocale(locale.LC_ALL, "C.UTF-8")


def make_directory(directory: Path) -> Path:
    """Others may pass through it: jobs run as other users. What is private in it has a mode of its own."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    return directory
