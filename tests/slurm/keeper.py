"""The process that a sandbox cluster lives in: it starts Slurm's daemons, and leaves nothing of them behind.

`python -m tests.slurm.keeper DIRECTORY OPTIONS [--stay]`, as root. Whoever uses the cluster holds a connection to the
keeper's socket; when the last user has left, be it by its death, the keeper ends the daemons and every process they
have started, and removes the directory. With `--stay` it waits for the request to do so. Should the keeper itself be
killed, the kernel ends the daemons. Requests are lines (`kill slurmctld`), and so are the answers.
"""

import ctypes
import fcntl
import json
import os
import random
import selectors
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.slurm.layout import CLUSTER, Layout, Options, Ports, configuration_files
from tests.waiting import HANG_SECONDS

FIRST_USER_SECONDS = 60
GPU_MAJOR = 195  # NVIDIA's, with no driver behind it
PORTS = range(20_000, 30_000)  # below those that the kernel gives to outgoing connections
PR_SET_CHILD_SUBREAPER = 36


def main(directory: str, options: str, *flags: str) -> None:
    layout = Layout(Path(directory))
    claim = os.open(layout.directory / "keeper.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: sys.exit(0))
    adopt_orphans()
    cluster = Cluster(layout, Options(**json.loads(options)))
    try:
        cluster.start()
        serve(cluster, stays="--stay" in flags)
    finally:
        end_descendants()
        cluster.remove()


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave: Slurm detaches the keepers of its jobs."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


class Cluster:
    """The daemons, by their names: `munged`, `database`, `slurmdbd`, `slurmctld`, `slurmd-n1` and so on."""

    def __init__(self, layout: Layout, options: Options) -> None:
        self.layout = layout
        self.options = options
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = {
            "PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin",
            "SLURM_CONF": str(layout.configuration),
            "MYSQL_UNIX_PORT": str(layout.database_socket),
        }

    @property
    def names(self) -> list[str]:
        accounting = ["database", "slurmdbd"] if self.options.accounting else []
        return ["munged", *accounting, "slurmctld", *(f"slurmd-{name}" for name in self.options.node_names)]

    @property
    def daemon_pids(self) -> set[int]:
        return {daemon.pid for daemon in self._running.values()}

    def start(self) -> None:
        self._make_files()
        for name in self.names:
            self.start_daemon(name)
        expected = set(self.options.node_names)
        self._wait_until(lambda: set(self._ask("sinfo", "-hNo", "%N", "-t", "idle,mix,alloc").split()) == expected)

    def start_daemon(self, name: str) -> None:
        """Start one, and wait until it answers."""
        command, ready = self._daemon(name)
        with self.layout.log_of(name).open("ab") as output:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._wait_until(ready, name)
        if name == "database":
            self._make_database()
        if name == "slurmdbd" and CLUSTER not in self._ask("sacctmgr", "-nP", "list", "cluster", "format=cluster"):
            subprocess.run(["sacctmgr", "-iQ", "add", "cluster", CLUSTER], env=self._environment, check=True)

    def restart_what_is_down(self) -> None:
        for name in self.names:
            if name not in self._running or self._running[name].poll() is not None:
                self.start_daemon(name)

    def signal_daemon(self, name: str, number: int) -> None:
        self._running[name].send_signal(number)

    def kill_daemon(self, name: str) -> None:
        """As a power cut does: at once."""
        self._running[name].kill()
        self._running.pop(name).wait(HANG_SECONDS)

    def remove(self) -> None:
        for controller in Path("/sys/fs/cgroup").glob("*/"):
            for node in self.options.node_names:
                remove_cgroup(controller / f"slurm_{node}")
        shutil.rmtree(self.layout.directory, ignore_errors=True)

    def _make_files(self) -> None:
        layout, options = self.layout, self.options
        spools = [f"spool-{name}" for name in options.node_names]
        for folder in ("munge", "database", "database/temporary", "output", "state", "dev", *spools):
            (layout.directory / folder).mkdir()
        layout.job_logs.mkdir()
        layout.job_logs.chmod(0o1777)  # whoever tries it by hand may serve as any user
        layout.directory.joinpath("munge").chmod(0o711)
        for number in range(options.gpus):
            os.mknod(layout.device(number), stat.S_IFCHR | 0o666, os.makedev(GPU_MAJOR, number))
        key = layout.directory / "munge" / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        chosen = free_ports(2 + options.nodes)
        ports = Ports(next(chosen), next(chosen), tuple(chosen))
        for name, content in configuration_files(layout, options, ports, socket.gethostname().partition(".")[0]):
            path = layout.directory / name
            path.write_text(content, encoding="utf-8")
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)  # slurmdbd insists
        if options.accounting:
            self._install_database()

    def _install_database(self) -> None:
        database = self.layout.directory / "database"
        with self.layout.log_of("database").open("ab") as output:
            subprocess.run(
                ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={database}/data",
                 f"--tmpdir={database}/temporary", "--auth-root-authentication-method=socket", "--skip-test-db",
                 "--skip-name-resolve"],
                env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True,
            )  # fmt: skip

    def _daemon(self, name: str) -> tuple[list[str], Callable[[], object]]:
        """Its command, and how to see that it is ready."""
        layout = self.layout
        if name == "munged":
            munge = layout.directory / "munge"
            command = [
                "munged", "--foreground", "--force", f"--socket={layout.munge_socket}", f"--key-file={munge}/munge.key",
                f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
            ]  # fmt: skip
            return command, layout.munge_socket.exists
        if name == "database":
            database = layout.directory / "database"
            command = [
                "mariadbd", "--no-defaults", "--user=root", f"--datadir={database}/data",
                f"--tmpdir={database}/temporary", "--skip-networking",  # a server that starts clears up its folder
                f"--socket={layout.database_socket}", f"--pid-file={database}/pid", "--innodb-buffer-pool-size=64M",
                "--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin",
            ]  # fmt: skip
            return command, lambda: self._ask(*self._database_client("mariadb-admin"), "ping")
        if name == "slurmdbd":
            return ["slurmdbd", "-D"], lambda: self._ask("sacctmgr", "-P", "list", "cluster", "format=cluster")
        if name == "slurmctld":
            return ["slurmctld", "-D"], lambda: "is UP" in self._ask("scontrol", "ping")
        node = name.removeprefix("slurmd-")
        return [*with_an_empty_home(), "slurmd", "-D", "-N", node], lambda: True

    def _make_database(self) -> None:
        subprocess.run(
            [*self._database_client("mariadb"), "-e",
             "CREATE DATABASE IF NOT EXISTS slurm_acct_db; CREATE USER IF NOT EXISTS slurm@localhost "
             "IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct_db.* TO slurm@localhost"],
            env=self._environment, check=True,
        )  # fmt: skip

    def _database_client(self, program: str) -> list[str]:
        return [program, "--no-defaults", f"--socket={self.layout.database_socket}"]

    def _ask(self, *command: str) -> str:
        """What a client says, or nothing if it fails."""
        try:
            asked = subprocess.run(
                command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                timeout=HANG_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ""
        return asked.stdout if asked.returncode == 0 else ""

    def _wait_until(self, is_ready: Callable[[], object], name: str = "") -> None:
        deadline = time.monotonic() + HANG_SECONDS
        while not is_ready():
            for daemon in [name] if name else self.names:
                if self._running[daemon].poll() is not None:
                    raise ClusterError(f"{daemon} ended at once: {last_line(self.layout.log_of(daemon))}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{name or 'nodes'} not ready: {last_line(self.layout.log_of(name or 'slurmctld'))}")
            time.sleep(0.05)


def with_an_empty_home() -> list[str]:
    """A prefix for slurmd: its jobs begin as a login of root does, and are not to depend on what root has there."""
    alone = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none ~root && exec "$@"', "sh"]
    return alone if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode == 0 else []


class ClusterError(Exception):
    """The cluster did not come up. The message says which part, and what it said."""


def free_ports(number: int) -> Iterator[int]:
    """Ports on which nobody listens. They are not reserved, but so few that two clusters do not choose the same."""
    found = 0
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
        found += 1
        if found == number:
            return


def serve(cluster: Cluster, *, stays: bool) -> None:
    """Answer the users of the cluster until there is none left, or until one asks for the end."""
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind(str(cluster.layout.control))
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        users: set[socket.socket] = set()
        deadline = time.monotonic() + FIRST_USER_SECONDS
        while stays or users or time.monotonic() < deadline:
            for key, _ in selector.select(timeout=1):
                if key.fileobj is listener:
                    user, _ = listener.accept()
                    users.add(user)
                    selector.register(user, selectors.EVENT_READ)
                    continue
                assert isinstance(key.fileobj, socket.socket)
                request = receive(key.fileobj)
                if request == "down":
                    cluster.layout.control.unlink()
                    return
                if request is None:
                    deadline = 0
                    users.discard(key.fileobj)
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                else:
                    key.fileobj.sendall(f"{answer(cluster, *request.split())}\n".encode())
            collect_orphans(cluster)
        cluster.layout.control.unlink()


def receive(user: socket.socket) -> str | None:
    """One request, which is short enough to come whole; None says that the user has left."""
    try:
        return user.recv(1000).decode().strip() or None
    except ConnectionError:
        return None


def answer(cluster: Cluster, verb: str, *arguments: str) -> str:
    try:
        match verb:
            case "start":
                cluster.start_daemon(*arguments)
            case "restart":
                cluster.restart_what_is_down()
            case "kill":
                cluster.kill_daemon(*arguments)
            case "signal":
                cluster.signal_daemon(arguments[0], int(arguments[1]))
            case _:
                return f"unknown request: {verb}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def collect_orphans(cluster: Cluster) -> None:
    """Take the exit status of those who have ended and are no daemons of ours."""
    for pid in children_of(os.getpid()):
        if pid not in cluster.daemon_pids:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def end_descendants() -> None:
    """Kill all processes that have come from this one. Those whose parent dies become our children, and are next."""
    deadline = time.monotonic() + HANG_SECONDS
    while (children := children_of(os.getpid())) and time.monotonic() < deadline:
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def children_of(parent: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()]


def remove_cgroup(directory: Path) -> None:
    """A control group and those within: their directories are removed, their files are the kernel's."""
    if directory.is_dir():
        for child in directory.glob("*/"):
            remove_cgroup(child)
        try:
            directory.rmdir()
        except OSError:
            return


def last_line(log: Path) -> str:
    return (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
