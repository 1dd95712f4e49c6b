"""`kill -9` of the dispatcher and of the API at random moments: nothing is lost, and nothing happens twice."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text

from app.api.state import AppState
from app.core.clock import system_clock
from app.core.config import DispatcherPlacement, Settings
from app.db.engine import Database
from app.domain.job_state import FINAL
from app.main import create_app
from app.services import invariants
from tests.conftest import make_settings
from tests.e2e.processes import Process, answers, free_port, start_process, wait_until
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, sign_in
from tests.waiting import HANG_SECONDS, eventually

pytestmark = pytest.mark.anyio

RANDOM_KILLS = 8
API_KILLS = 3
FLEET = "node1=A100x8,node2=V100x4,node3=T4x4"
JOB = {"name": "killed", "gpu_type": "A100", "estimated_hours": 0.01, "command": "#SIM exit=0"}


@pytest.fixture
def processes() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
async def scene(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[AppState]:
    """The services in this process, on a database that other processes work on too; real time."""
    settings: Settings = make_settings(fresh_database_url, tmp_path)
    assert settings.dispatcher is DispatcherPlacement.EXTERNAL
    app = create_app(settings, system_clock)
    async with app.router.lifespan_context(app):
        await make_fleet(app.state.gtm, FLEET)
        yield app.state.gtm


@pytest.fixture
async def admin(scene: AppState) -> Person:
    return await make_user(scene, is_admin=True)


def dispatch(scene: AppState, tmp_path: Path, processes: ExitStack, **environment: str) -> Process:
    assert scene.settings.database_url is not None
    url = scene.settings.database_url.get_secret_value()
    process = start_process(url, tmp_path, "app.dispatcher", **environment)
    processes.callback(process.stop)
    return process


async def test_a_dispatcher_killed_at_random_moments_loses_and_repeats_nothing(
    scene: AppState, admin: Person, tmp_path: Path, processes: ExitStack
) -> None:
    chance = random.Random(20261123)
    for _ in range(40):
        job = await make_job(scene, admin)
        await approve_job(scene, job.id, admin)
    for _ in range(RANDOM_KILLS):
        doomed = dispatch(scene, tmp_path, processes, DISPATCH_MODE="automatic")
        await until_somebody_dispatches(scene.database)
        await asyncio.sleep(chance.uniform(0, 0.3))  # a random moment of its work, not a wait for it
        doomed.kill()
        await let_the_lease_run_out(scene.database)
    dispatch(scene, tmp_path, processes, DISPATCH_MODE="automatic")
    await until_all_are_final(scene.database)
    await assert_the_books_balance(scene.database)


async def test_an_api_killed_while_it_writes_keeps_what_it_acknowledged(
    scene: AppState, tmp_path: Path, processes: ExitStack
) -> None:
    person = await make_user(scene)
    token = (await sign_in(scene, person)).access_token
    assert scene.settings.database_url is not None
    url, port = scene.settings.database_url.get_secret_value(), free_port()
    client = Client(f"http://127.0.0.1:{port}", token)

    def serve() -> Process:
        process = start_process(url, tmp_path, "uvicorn", "app.main:app", "--port", str(port), DISPATCHER="external")
        processes.callback(process.stop)
        wait_until(lambda: answers(client.base_url), "the API answers")
        return process

    for _ in range(API_KILLS):
        api = serve()
        with client.writing():
            begun = len(client.acknowledged)
            wait_until(lambda: len(client.acknowledged) > begun + 15, "submissions are acknowledged")  # noqa: B023
            api.kill()
    serve()
    for key in client.sent:
        client.submit(key)

    made = {row.id for row in await all_jobs(scene.database)}
    assert set(client.acknowledged.values()) == made, "a job was lost, or made twice"
    assert len(made) == len(client.sent), "every key made one job"
    await assert_the_books_balance(scene.database)


class Client:
    """Submits jobs under keys of its own, and remembers which were acknowledged. A retry uses the same key."""

    def __init__(self, base_url: str, token: str) -> None:
        self.base_url = base_url
        self.sent: list[str] = []
        self.acknowledged: dict[str, int] = {}
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stop = threading.Event()

    def writing(self) -> ExitStack:
        self._stop.clear()
        writers = [threading.Thread(target=self._write) for _ in range(4)]
        stack = ExitStack()
        for writer in writers:
            writer.start()
            stack.callback(writer.join)
        stack.callback(self._stop.set)
        return stack

    def submit(self, key: str) -> bool:
        """True if acknowledged; one key always means one job."""
        try:
            answer = httpx2.post(
                f"{self.base_url}/api/v1/jobs",
                json=JOB,
                headers=self._headers | {"Idempotency-Key": key},
                timeout=HANG_SECONDS,
            )
        except httpx2.HTTPError:
            return False
        assert answer.status_code == 201, answer.text
        job_id = answer.json()["id"]
        assert self.acknowledged.setdefault(key, job_id) == job_id, "the same key was answered with another job"
        return True

    def _write(self) -> None:
        while not self._stop.is_set():
            key = uuid4().hex
            self.sent.append(key)
            if not self.submit(key):
                return


async def let_the_lease_run_out(database: Database) -> None:
    """What 15 seconds without a renewal do; the holder is dead."""
    async with database.autocommit() as connection:
        await connection.execute(text("UPDATE dispatcher_lease SET expires_at = '-infinity'"))


async def until_somebody_dispatches(database: Database) -> None:
    await until(database, "SELECT expires_at > clock_timestamp() FROM dispatcher_lease", "a dispatcher takes the lease")


async def until_all_are_final(database: Database) -> None:
    await until(database, "SELECT count(*) = 0 FROM jobs WHERE finished_at IS NULL", "every job is final")


async def until(database: Database, question: str, what: str) -> None:
    async def is_so() -> bool:
        async with database.autocommit() as connection:
            return bool((await connection.execute(text(question))).scalar_one())

    await eventually(is_so, what)


async def all_jobs(database: Database) -> Any:
    async with database.autocommit() as connection:
        return (await connection.execute(text("SELECT id, status FROM jobs"))).all()


async def assert_the_books_balance(database: Database) -> None:
    async with database.transaction() as connection:
        assert await invariants.broken(connection) == []
    async with database.autocommit() as connection:
        starts = await connection.execute(
            text("SELECT job_id FROM job_events WHERE to_status = 'RUNNING' AND kind = 'TRANSITION' "
                 "GROUP BY job_id HAVING count(*) > 1")
        )  # fmt: skip
        assert starts.all() == [], "a job was started twice"
    assert {row.status for row in await all_jobs(database)} <= {*FINAL, "PENDING"}
