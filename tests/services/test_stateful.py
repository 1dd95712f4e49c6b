"""Hundreds of random histories, each step compared with a model, with all the books swept after every step."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Row, text

from app.api.state import AppState
from app.core.security import PasswordPool
from app.db.engine import Database
from app.db.queries.invariants import SWEEP
from app.dispatcher.loop import Dispatcher, DispatcherOptions
from app.domain.errors import DomainError
from app.domain.execution import EndReason
from app.domain.job_state import JobStatus
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from app.services.events import EventFeed
from app.services.quotas import QuotaPolicy
from tests.conftest import BEGINNING, FakeClock, empty, make_settings
from tests.factories import Person, make_user
from tests.services.desk import HOUR, Desk
from tests.services.model import FATES, STARVATION_LIMIT, Gpu, Model, Refusal, Wish

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
EXAMPLES, STEPS = (2000, 100) if IS_LONG else (100, 40)
SEEDS = range(4)
"""Tests of their own, so that they can run side by side."""
FLEET = "node1=A100x3,node2=V100x2"

EVERYTHING = {
    *(set(EndReason) - {EndReason.SIGNALLED, EndReason.OUT_OF_MEMORY, EndReason.OUT_OF_DISK}),
    "PENDING",
    "APPROVED",
    "RUNNING",
    "NoneType",
    "JobStateConflict",
    "NoCapacity",
    "QuotaExceeded",
    "ExceedsMonthlyQuota",
    "ExceedsFleet",
    "IdempotencyKeyReused",
    "QuotaBelowUse",
    "AdjustmentOutOfRange",
}
"""Every end and every refusal: histories that miss one of them would prove too little."""

T = TypeVar("T")

WISHES = st.builds(
    Wish,
    gpu_type=st.sampled_from(["A100", "A100", "V100"]),
    num_gpus=st.integers(1, 3),
    time_limit=st.sampled_from([timedelta(minutes=10), timedelta(hours=1), timedelta(hours=4)]),
    fate=st.sampled_from(FATES),
)

_SWEEP = SWEEP.read_text(encoding="utf-8")
_VIEW = text(
    """
    SELECT
        (SELECT json_agg(json_build_array(id, status, reason, event_seq, charged_seconds, cancel_requested_by))
         FROM jobs) AS jobs,
        (SELECT json_object_agg(user_id || '/' || to_char(starts_at, 'YYYY-MM'),
                                json_build_array(limit_seconds, reserved_seconds, used_seconds))
         FROM user_quotas) AS months,
        (SELECT json_object_agg(gpu_id, job_id) FROM gpu_allocations WHERE released_at IS NULL) AS held,
        (SELECT json_agg(id) FROM gpus WHERE drained_at IS NULL AND NOT is_quarantined) AS offered
    """
)


class World:
    """One event loop and one database for all histories; each begins on an emptied database."""

    def __init__(self, database_url: str, data_dir: Path) -> None:
        self.runner = asyncio.Runner()
        self.reached: Counter[str] = Counter()
        """How often each end of a job and each refusal was seen, lest the histories become dull unnoticed."""
        self.clock = FakeClock()
        self.settings = make_settings(database_url, data_dir).model_copy(update={"default_monthly_gpu_hours": 10})
        self.passwords = PasswordPool(self.settings.bcrypt_cost, threads=1)
        self.database = self.run(self._connect(database_url))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.database.dispose())
        self.passwords.close()
        self.runner.close()

    def make_state(self) -> AppState:
        return AppState(
            settings=self.settings,
            clock=self.clock,
            database=self.database,
            engine=self.make_engine(),
            passwords=self.passwords,
            feed=EventFeed(self.database, self.clock),
            quota_policy=QuotaPolicy.of(self.settings),
        )

    def make_engine(self) -> SimulatedExecutor:
        return SimulatedExecutor(parse_fleet(FLEET), speedup=1, failure_rate=0, clock=self.clock)

    async def _connect(self, url: str) -> Database:
        return Database(url, pool_size=3)


class History(RuleBasedStateMachine):
    """What can happen to two owners, two admins and five GPUs."""

    jobs: Bundle[int] = Bundle("jobs")

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.clock = world.clock

    @initialize(target=jobs, starts_by_itself=st.booleans(), wishes=st.lists(WISHES, min_size=4, max_size=6))
    def begin(self, starts_by_itself: bool, wishes: list[Wish]) -> Any:
        """Some jobs are approved already, and most of those started, so that there is something to happen."""
        self.clock.now = BEGINNING
        self.world.run(empty(self.world.database))
        self.desk = Desk(self.world.make_state())
        self.options = DispatcherOptions(
            tick=timedelta(seconds=0.5),
            starts_by_itself=starts_by_itself,
            starvation_limit=STARVATION_LIMIT,
            policy=self.desk.state.quota_policy,
            lease_ttl=timedelta(hours=1),
        )
        self.model = Model(self.desk.state.quota_policy.default_limit_seconds, starts_by_itself)
        self.owners = [self.register(is_admin=False) for _ in range(2)]
        self.admins = [self.register(is_admin=True) for _ in range(2)]
        self.appoint_dispatcher()
        self.world.run(self.dispatcher.tick())
        for gpu in self.world.run(self.desk.sql("SELECT id, gpu_type FROM gpus")):
            self.model.gpus[gpu.id] = Gpu(gpu.gpu_type)
        job_ids = [self.submit_as(self.owners[0], wish, None) for wish in wishes]
        submitted = [job_id for job_id in job_ids if job_id is not None]
        for number, job_id in enumerate(submitted):
            self.approve_as(self.admins[0], job_id)
            if number % 4 < 3:
                self.start_as(self.admins[0], job_id)
        return multiple(*submitted)

    def register(self, *, is_admin: bool) -> Person:
        return self.world.run(make_user(self.desk.state, is_admin=is_admin))

    def appoint_dispatcher(self) -> None:
        self.dispatcher = Dispatcher(self.world.database, self.world.make_engine(), self.options, self.clock)

    def attempt(self, act: Coroutine[Any, Any, Any], expected: Refusal | None) -> Any:
        """Do it, and see it refused as the model says, or not at all."""
        result, refusal = None, None
        try:
            result = self.world.run(act)
        except DomainError as error:
            refusal = error
        assert (type(refusal) if refusal else None) is expected
        self.world.reached[type(refusal).__name__] += 1
        return result

    @rule(target=jobs, owner=st.sampled_from([0, 1]), wish=WISHES, key=st.sampled_from([None, None, None, "k1", "k2"]))
    def submit(self, owner: int, wish: Wish, key: str | None) -> Any:
        job_id = self.submit_as(self.owners[owner], wish, key)
        return multiple() if job_id is None else job_id

    def submit_as(self, person: Person, wish: Wish, key: str | None) -> int | None:
        """The job, if it is a new one."""
        expected = self.model.submission(person.id, wish, key, self.clock())
        act = self.desk.submit(
            person,
            gpu_type=wish.gpu_type,
            num_gpus=wish.num_gpus,
            time_limit=wish.time_limit,
            command=wish.fate.command,
            key=key,
        )
        if isinstance(expected, int):
            assert self.attempt(act, None) == expected
            return None
        job_id: int | None = self.attempt(act, expected)
        if job_id is not None:
            assert job_id not in self.model.jobs
            self.model.submitted(job_id, person.id, wish, key, self.clock())
        return job_id

    @rule(job_id=jobs, admin=st.sampled_from([0, 1]))
    def approve(self, job_id: int, admin: int) -> None:
        self.approve_as(self.admins[admin], job_id)

    def approve_as(self, person: Person, job_id: int) -> None:
        expected = self.model.approve(person.id, self.model.jobs[job_id], self.clock())
        self.attempt(self.desk.approve(person, job_id), expected)

    @rule(job_id=jobs, admin=st.sampled_from([0, 1]))
    def reject(self, job_id: int, admin: int) -> None:
        person = self.admins[admin]
        self.attempt(self.desk.reject(person, job_id), self.model.reject(person.id, self.model.jobs[job_id]))

    @rule(job_id=jobs, admin=st.sampled_from([0, 1]))
    def start(self, job_id: int, admin: int) -> None:
        self.start_as(self.admins[admin], job_id)

    @rule(job_id=jobs)
    def approve_and_start(self, job_id: int) -> None:
        self.approve_as(self.admins[0], job_id)
        self.start_as(self.admins[0], job_id)

    def start_as(self, person: Person, job_id: int) -> None:
        job = self.model.jobs[job_id]
        expected = self.model.start(person.id, job, self.clock())
        self.attempt(self.desk.start(person, job_id), expected)
        if expected is None and job.status is JobStatus.APPROVED:
            self.model.started(person.id, job, self.clock(), self.gpus_given()[job_id])

    @rule(job_id=jobs, canceller=st.sampled_from(["owner", "admin"]))
    def cancel(self, job_id: int, canceller: str) -> None:
        job = self.model.jobs[job_id]
        owner = next(person for person in self.owners if person.id == job.owner)
        person = owner if canceller == "owner" else self.admins[0]
        self.attempt(self.desk.cancel(person, job_id), self.model.cancel(person.id, job))

    @rule(owner=st.sampled_from([0, 1]), limit=st.integers(0, 20), correction=st.integers(-200, 200).filter(bool))
    def change_the_quota(self, owner: int, limit: int, correction: int) -> None:
        """The limit in hours, and then what is used in minutes."""
        person, now = self.owners[owner], self.clock()
        refusal = self.model.set_limit(person.id, limit * HOUR, now)
        self.attempt(self.desk.set_limit(self.admins[0], person, limit * HOUR), refusal)
        refusal = self.model.adjust(person.id, correction * 60, now)
        self.attempt(self.desk.adjust(self.admins[0], person, correction * 60), refusal)

    @rule(number=st.integers(0, 4), is_drained=st.booleans())
    def drain_or_resume(self, number: int, is_drained: bool) -> None:
        gpu_id = sorted(self.model.gpus)[number]
        gpu = self.model.gpus[gpu_id]
        if is_drained:
            self.world.run(self.desk.drain(self.admins[0], gpu_id))
            gpu.is_drained = True
        else:
            self.world.run(self.desk.resume(self.admins[0], gpu_id))
            gpu.is_drained = gpu.is_quarantined = False

    @rule(minutes=st.sampled_from([0, 1, 11, 40, 300]))
    def tick(self, minutes: int) -> None:
        self.clock.advance(minutes=minutes)
        self.world.run(self.dispatcher.tick())
        self.model.tick(self.clock(), self.gpus_given())

    @rule(minutes=st.sampled_from([1, 11]))
    def tick_twice(self, minutes: int) -> None:
        """Launches, and looks again a little later; or finds a run missing, and still missing."""
        self.tick(0)
        self.tick(minutes)

    @rule(step=st.sampled_from(["an hour", "a day and an hour", "until the next month"]))
    def let_time_pass(self, step: str) -> None:
        if step == "until the next month":
            next_month = self.clock.now.replace(day=1) + timedelta(days=32)
            self.clock.now = next_month.replace(day=1, hour=0, minute=0)
        else:
            self.clock.advance(hours=1 if step == "an hour" else 25)

    @rule()
    def replace_the_dispatcher(self) -> None:
        """It was killed, and its lease has run out."""
        self.world.run(self.desk.sql("UPDATE dispatcher_lease SET expires_at = clock_timestamp()"))
        self.appoint_dispatcher()
        self.model.dispatcher_dies()

    def teardown(self) -> None:
        self.world.reached.update(job.reason or job.status for job in self.model.jobs.values())

    def gpus_given(self) -> dict[int, list[int]]:
        """The GPUs that each job has been given in its life."""
        rows = self.world.run(
            self.desk.sql("SELECT job_id, array_agg(gpu_id) AS gpu_ids FROM gpu_allocations GROUP BY job_id")
        )
        return {row.job_id: row.gpu_ids for row in rows}

    @invariant()
    def the_books_balance_and_the_model_agrees(self) -> None:
        found, view = self.world.run(self.look())
        assert found == []
        model = self.model
        for job_id, *_, charged, _ in view.jobs or []:
            if model.jobs[job_id].charged is None:
                model.learn_what_was_seen(model.jobs[job_id], charged)
        assert {job[0]: tuple(job[1:]) for job in view.jobs or []} == {
            job.id: (job.status, job.reason, job.events, job.charged, job.cancelled_by) for job in model.jobs.values()
        }
        months = {tuple(name.split("/")): tuple(numbers) for name, numbers in (view.months or {}).items()}
        expected = {
            (str(user), f"{start:%Y-%m}"): (month.limit, month.reserved, month.used)
            for (user, start), month in model.months.items()
        }
        assert {name: expected.get(name) for name in months} == months
        assert all(expected[name][1:] == (0, 0) for name in expected.keys() - months.keys())
        assert {int(gpu_id): job_id for gpu_id, job_id in (view.held or {}).items()} == {
            gpu_id: gpu.job for gpu_id, gpu in model.gpus.items() if gpu.job is not None
        }
        assert set(view.offered or []) == {
            gpu_id for gpu_id, gpu in model.gpus.items() if not gpu.is_drained and not gpu.is_quarantined
        }

    async def look(self) -> tuple[Sequence[Row[Any]], Row[Any]]:
        """Without the snapshot that a sweep of a living service needs: between two steps nothing is under way."""
        async with self.world.database.autocommit() as connection:
            found = (await connection.exec_driver_sql(_SWEEP)).all()
            return found, (await connection.execute(_VIEW)).one()


def _machine(world: World, number: int) -> Any:
    """The same histories every time; others in every long run."""

    def begin() -> History:
        return History(world)

    return begin if IS_LONG else seed(number)(begin)


@pytest.fixture(scope="session")
def reached_by_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of a run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reached"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize("number", SEEDS)
def test_every_history_agrees_with_the_model(
    fresh_database_url: str, tmp_path: Path, reached_by_all: Path, number: int
) -> None:
    """Whichever of them is the last to end sees what all have reached."""
    world = World(fresh_database_url, tmp_path)
    try:
        run_state_machine_as_test(
            _machine(world, number),
            settings=settings(
                max_examples=EXAMPLES // len(SEEDS),
                stateful_step_count=STEPS,
                database=None,
                deadline=None,
                phases=[Phase.generate, Phase.shrink] if IS_LONG else [Phase.generate],  # shrinking takes minutes
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        world.close()
    (reached_by_all / f"{number}.json").write_text(json.dumps([*world.reached]), encoding="utf-8")
    files = list(reached_by_all.iterdir())
    if len(files) == len(SEEDS):
        reached = {name for file in files for name in json.loads(file.read_text(encoding="utf-8"))}
        assert reached >= EVERYTHING, f"not reached: {EVERYTHING - reached}"
