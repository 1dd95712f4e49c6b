"""A database that 0.1.0 filled, by its own code, comes to this release and works on. README.md says how it was made."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
from sqlalchemy import make_url

from app.db.embedded import DATABASE, ROLE, SERVICE_ROLE, EmbeddedPostgres
from app.db.embedded_account import Account
from app.db.migrations import downgrade_to, head_revision, upgrade_to_head
from tests.e2e.processes import answers, free_port, run_module, start_process, wait_until
from tests.factories import PASSWORD
from tests.waiting import HANG_SECONDS

DUMP = Path(__file__).with_name("0.1.0.sql")
OLD_REVISION = "0007"
STATUSES = {
    "completed": "COMPLETED", "failed": "FAILED", "out-of-memory": "FAILED", "lost": "FAILED",
    "node-failure": "FAILED", "time-limit": "FAILED", "kept-waiting": "PENDING", "rejected": "REJECTED",
    "cancelled": "CANCELLED", "approved": "APPROVED", "running": "RUNNING", "running-cancelled": "CANCELLED",
    "pending": "PENDING",
}  # fmt: skip
OF_JOBS = "SELECT name, status, charged_seconds FROM jobs ORDER BY id"

SignIn = Callable[[str], httpx2.Client]


def test_an_upgrade_keeps_everything_and_work_goes_on(tmp_path: Path) -> None:
    """The data directory is as 0.1.0 leaves it: a cluster with one role, and its database."""
    with EmbeddedPostgres(tmp_path) as url:
        sql(url, f"--file={DUMP}")
        before = sql(url, f"--command={OF_JOBS}")
        assert manage(tmp_path, "migrate") == (0, f"the database is at revision {head_revision()}\n")
        assert sql(url, f"--command={OF_JOBS}") == before
        the_books_balance(tmp_path)
        its_one_role_stays_the_owner_and_the_service_is_another(url)
        with serving(tmp_path) as sign_in:
            jobs_read_as_before_and_work_goes_on(sign_in("sara@example.org"), sign_in("admin@example.org"))
        the_books_balance(tmp_path)
        the_way_back_and_forth_keeps_the_books(url, tmp_path)


def its_one_role_stays_the_owner_and_the_service_is_another(url: str) -> None:
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert sql(url, f"--command={owners}") == [ROLE]
    may = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
    asked = ", ".join(f"has_table_privilege('{SERVICE_ROLE}', 'quota_entries', '{right}')" for right in may)
    assert sql(url, f"--command=SELECT {asked}") == ["t|t|f|f|f"]


def jobs_read_as_before_and_work_goes_on(owner: httpx2.Client, admin: httpx2.Client) -> None:
    jobs = {job["name"]: job for job in owner.get("/jobs", params={"limit": 50}).json()}
    found = {name: job["status"] for name, job in jobs.items()}
    assert found | {"running": "RUNNING"} == STATUSES  # which the engine of this release may have ended already
    assert (jobs["failed"]["exit_code"], jobs["completed"]["charged_gpu_hours"]) == (7, 0.5)
    assert jobs["out-of-memory"]["reason"] == "OUT_OF_MEMORY"
    assert len(owner.get(f"/jobs/{jobs['completed']['id']}/events").json()) == 4

    waiting = ["kept-waiting", "pending"]
    for name in waiting:
        admin.post(f"/admin/jobs/{jobs[name]['id']}/approve", json={}).raise_for_status()
    for name in [*waiting, "approved"]:
        admin.post(f"/admin/jobs/{jobs[name]['id']}/start").raise_for_status()

    def statuses() -> dict[str, str]:
        return {job["name"]: job["status"] for job in owner.get("/jobs", params={"limit": 50}).json()}

    wait_until(lambda: not {"PENDING", "APPROVED", "RUNNING"} & set(statuses().values()), "all jobs have ended")
    assert {statuses()[name] for name in [*waiting, "approved"]} == {"COMPLETED"}


def the_way_back_and_forth_keeps_the_books(url: str, data_dir: Path) -> None:
    """A downgrade promises the schema that the older release knows, with all that it can keep."""
    before = sql(url, f"--command={OF_JOBS}")
    downgrade_to(url, OLD_REVISION)
    assert sql(url, f"--command={OF_JOBS}") == before
    upgrade_to_head(url)
    the_books_balance(data_dir)
    downgrade_to(url, "base")
    assert sql(url, "--command=SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == ["alembic_version"]


def the_books_balance(data_dir: Path) -> None:
    assert manage(data_dir, "check-invariants") == (0, "all invariants hold\n")


@contextmanager
def serving(data_dir: Path) -> Iterator[SignIn]:
    """The service on that data directory. It simulates quickly."""
    url = f"http://127.0.0.1:{free_port()}"
    arguments = ("uvicorn", "app.main:app", "--port", url.rpartition(":")[2])
    process = start_process("", data_dir, *arguments, SIMULATION_FAILURE_RATE="0")

    def sign_in(email: str) -> httpx2.Client:
        login = {"username": email, "password": PASSWORD}
        answer = httpx2.post(f"{url}/api/v1/auth/login", data=login, timeout=HANG_SECONDS).raise_for_status()
        headers = {"Authorization": f"Bearer {answer.json()['access_token']}", "Connection": "close"}
        return httpx2.Client(base_url=f"{url}/api/v1", headers=headers, timeout=HANG_SECONDS)

    try:
        wait_until(lambda: process.died_by_itself() or answers(url), "the service answers")
        assert not process.died_by_itself(), process.output.read_text(encoding="utf-8")
        yield sign_in
    finally:
        process.stop()


def sql(url: str, *arguments: str) -> list[str]:
    """By psql, which alone understands a dump."""
    parsed = make_url(url)
    environment = {"PGHOST": str(parsed.query["host"]), "PGUSER": ROLE, "PGPASSWORD": str(parsed.password)}
    options = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", f"--dbname={DATABASE}")
    done = Account.mine().run("psql", *options, *arguments, environment=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def manage(data_dir: Path, command: str) -> tuple[int, str]:
    environment = {"DATA_DIR": str(data_dir), "MIGRATE_ON_START": "false"}
    done = run_module("app.manage", command, directory=data_dir, environment=environment)
    return done.returncode, done.stdout + done.stderr
