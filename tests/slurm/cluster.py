"""Real Slurm for tests: clusters of one's own, and one that all processes of a test run share.

    with SlurmCluster.start(Options(nodes=1, accounting=False)) as cluster:
        cluster.run("sbatch", "--wrap", "true")
        cluster.kill("slurmctld")

Everything is thrown away when the last process that uses a cluster has left it, or has died: see `keeper`.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.slurm.keeper import children_of
from tests.slurm.layout import Layout, Options, missing_packages
from tests.waiting import HANG_SECONDS

PROJECT = Path(__file__).resolve().parents[2]


class SlurmCluster:
    """One process's use of a cluster."""

    def __init__(self, layout: Layout, connection: socket.socket) -> None:
        self.layout = layout
        self._connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        self._keeper: int = struct.unpack("3i", credentials)[0]

    @classmethod
    def start(cls, options: Options, directory: Path | None = None, *, stays: bool = False) -> Self:
        """A new cluster, in a directory of its own below the one for temporary files.

        Raises:
            RuntimeError: it does not come up.
        """
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="slurm-"))
        directory.chmod(0o755)  # users that submit jobs have to reach it
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.slurm.keeper", directory, options.to_json(), *(["--stay"] if stays else [])],
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        deadline = time.monotonic() + HANG_SECONDS
        while (connection := _connect(directory)) is None:
            if keeper.poll() is not None or time.monotonic() > deadline:
                keeper.terminate()
                complaint = keeper.communicate()[1].decode(errors="replace").strip()
                raise RuntimeError(f"the Slurm cluster did not come up: {complaint}")
            time.sleep(0.05)
        keeper.returncode = 0  # it lives as long as it has users; who waits for it is not asked for
        assert keeper.stderr is not None
        keeper.stderr.close()
        return cls(Layout(directory), connection)

    @classmethod
    def join(cls, directory: Path) -> Self | None:
        """A cluster that runs, if one does there."""
        connection = _connect(directory)
        return None if connection is None else cls(Layout(directory), connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """The last one to leave ends the cluster. That goes on behind one's back, for a second at most."""
        self._connection.close()

    def end(self) -> None:
        """Whoever else uses it."""
        self._connection.sendall(b"down\n")
        deadline = time.monotonic() + HANG_SECONDS
        while self.layout.directory.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._connection.close()

    @property
    def environment(self) -> dict[str, str]:
        """What Slurm's commands have to know."""
        return {"SLURM_CONF": str(self.layout.configuration)}

    @property
    def job_logs(self) -> Path:
        return self.layout.job_logs

    def run(self, *command: str, check: bool = True) -> str:
        """Run one of Slurm's commands, and return what it says."""
        asked = subprocess.run(
            command,
            env=dict(os.environ) | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG_SECONDS,
        )
        assert asked.returncode == 0 or not check, f"{' '.join(command)}: {asked.stderr}"
        return asked.stdout

    def kill(self, daemon: str) -> None:
        """By SIGKILL: `slurmctld`, `slurmdbd`, `slurmd-n1`. What a slurmd has started lives on, as it does anywhere."""
        self._request("kill", daemon)

    def start_daemon(self, daemon: str) -> None:
        """Start one that was killed, and wait until it answers."""
        self._request("start", daemon)

    def restart_what_is_down(self) -> None:
        """Start every daemon that was killed and not started again."""
        self._request("restart")

    def halt(self, daemon: str) -> None:
        """Make it hang: it holds its connections and says nothing, until it is let go on."""
        self._request("signal", daemon, str(signal.SIGSTOP.value))

    def let_go_on(self, daemon: str) -> None:
        self._request("signal", daemon, str(signal.SIGCONT.value))

    def processes_of_jobs(self) -> list[int]:
        """What slurmds have started: the keepers of jobs, and all that runs in jobs."""
        keepers = [pid for pid, name in _processes_below(self._keeper) if name.startswith("slurmstepd")]
        return [pid for keeper in keepers for pid in (keeper, *(pid for pid, _ in _processes_below(keeper)))]

    def _request(self, *words: str) -> None:
        self._connection.sendall(f"{' '.join(words)}\n".encode())
        answer = self._connection.recv(10_000).decode().strip()
        assert answer == "done", f"{' '.join(words)}: {answer}"


def _processes_below(parent: int) -> Iterator[tuple[int, str]]:
    """The descendants of a process, with how they call themselves."""
    for pid in children_of(parent):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield pid, Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            yield from _processes_below(pid)


def _connect(directory: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(Layout(directory).control))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


@contextlib.contextmanager
def shared_cluster(record: Path, options: Options) -> Iterator[SlurmCluster]:
    """The cluster that a file records, which all who name the same file share. The first to come starts it."""
    with record.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        cluster = SlurmCluster.join(Path(record.read_text(encoding="utf-8"))) if record.exists() else None
        if cluster is None:
            cluster = SlurmCluster.start(options)
            record.write_text(str(cluster.layout.directory), encoding="utf-8")
    with cluster:
        yield cluster


def what_is_missing(options: Options) -> str | None:
    """Why no cluster can be started here, and how to get what it needs; None if one can."""
    packages = missing_packages(options)
    if packages:
        return f"Slurm is not installed: get it (Debian: apt-get install --no-install-recommends {' '.join(packages)})"
    if os.geteuid() != 0:
        return "Slurm's daemons need root here: run this as root"
    if options.cgroups and not _can_make_cgroups():
        return "the memory of jobs cannot be limited here: cgroup v1 is not mounted, or not writable"
    return None


def _can_make_cgroups() -> bool:
    controllers = ("memory", "cpuset", "freezer")
    return all(os.access(Path("/sys/fs/cgroup") / name / "cgroup.procs", os.W_OK) for name in controllers)


def remove_stale(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
