"""A dispatcher in a test's hands: it ticks when told, on a clock that stands still until it is moved."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar

import pytest
from sqlalchemy import Row, text

from app.api.state import AppState
from app.db.queries import metrics
from app.dispatcher.loop import Dispatcher, DispatcherOptions
from app.domain.execution import Executor
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from app.models import Base
from app.services import alerts, invariants, jobs, quotas
from tests.conftest import FakeClock
from tests.dispatcher.scripted_engine import ScriptedEngine
from tests.factories import ORIGIN, Person, approve_job, make_job, start_job
from tests.owner import become_owner
from tests.waiting import eventually

Engine = TypeVar("Engine", bound=Executor)

TICK = timedelta(seconds=0.5)
FLEET = "node1=A100x8,node2=V100x4"


@dataclass
class Scene(Generic[Engine]):
    """A dispatcher, its engine, an owner of jobs and an admin who decides on them."""

    state: AppState
    engine: Engine
    clock: FakeClock
    owner: Person
    admin: Person
    options: DispatcherOptions
    dispatcher: Dispatcher = field(init=False)

    def __post_init__(self) -> None:
        self.dispatcher = self.make_dispatcher()

    def make_dispatcher(self, engine: Executor | None = None, **options: Any) -> Dispatcher:
        return Dispatcher(
            self.state.database, engine or self.engine, replace(self.options, **options), self.state.clock
        )

    async def tick(self, **later: float) -> None:
        """`await scene.tick(minutes=5)`: let time pass, then let the dispatcher work."""
        self.clock.advance(timedelta(**later))
        await self.dispatcher.tick()

    async def let_the_lease_expire(self) -> None:
        """What the database does when nobody renews it; whoever holds it does not know yet."""
        await self.sql("UPDATE dispatcher_lease SET expires_at = clock_timestamp()")

    async def take_over(self, engine: Executor | None = None, **options: Any) -> None:
        """The dispatcher is gone; another one, perhaps with an engine of its own, does the next tick."""
        await self.let_the_lease_expire()
        self.dispatcher = self.make_dispatcher(engine, **options)
        await self.dispatcher.tick()

    async def tick_until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """For an engine that answers late: no time passes on the clock."""

        async def is_so_after_a_tick() -> object:
            await self.dispatcher.tick()
            return await condition()

        await eventually(is_so_after_a_tick)

    async def submit(self, **facts: Any) -> int:
        return int((await make_job(self.state, self.owner, **facts)).id)

    async def approve(self, **facts: Any) -> int:
        """Submit and approve a job."""
        job_id = await self.submit(**facts)
        await self.decide(job_id)
        return job_id

    async def decide(self, job_id: int) -> None:
        await approve_job(self.state, job_id, self.admin)

    async def start(self, **facts: Any) -> int:
        """Submit, approve and start a job: decided, but not launched."""
        job_id = await self.approve(**facts)
        await start_job(self.state, job_id, self.admin)
        return job_id

    async def cancel(self, job_id: int, by: Person | None = None) -> None:
        async with self.state.database.transaction() as connection:
            caller = (by or self.owner).caller
            await jobs.cancel(connection, caller, job_id, reason=None, now=self.clock(), origin=ORIGIN)

    async def set_limit(self, seconds: int) -> None:
        async with self.state.database.transaction() as connection:
            await quotas.set_limit(
                connection,
                self.owner.id,
                seconds,
                note="as asked",
                actor=self.admin.caller.actor,
                policy=self.options.policy,
                now=self.clock(),
            )

    async def job(self, job_id: int) -> Row[Any]:
        [row] = await self.sql("SELECT * FROM jobs WHERE id = :id", id=job_id)
        return row

    async def verdict(self, job_id: int) -> tuple[str, str | None, int]:
        """Where the job is, why it ended, and what it cost in GPU-seconds."""
        job = await self.job(job_id)
        return job.status, job.reason, job.charged_seconds

    async def overstaying(self) -> set[int]:
        """The jobs of which admins are told that they should have ended, as the metrics count them."""
        async with self.state.database.autocommit() as connection:
            measures = await metrics.snapshot(connection, now=self.clock())
            told = await alerts.read(connection, now=self.clock())
        found = {int(row.id) for row in told.overstaying}
        assert [measure.value for measure in measures if measure.name == "overstaying"] == [len(found)]
        return found

    async def gpus(self, condition: str = "true") -> int:
        [row] = await self.sql(f"SELECT count(*) FROM gpus WHERE {condition}")  # noqa: S608
        return int(row[0])

    async def sql(self, statement: str, *, as_owner: bool = False, **parameters: Any) -> list[Row[Any]]:
        """As the service, or as the role that owns the tables."""
        async with self.state.database.transaction() as connection:
            if as_owner:
                await become_owner(connection)
            result = await connection.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    async def everything(self) -> dict[str, list[str]]:
        """Every row of every table."""
        return {
            table.name: [row[0] for row in await self.sql(f"SELECT t::text FROM {table.name} t ORDER BY 1")]  # noqa: S608
            for table in Base.metadata.sorted_tables
        }


@pytest.fixture
def renewed_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases are renewed every 50 ms, and still last 15 s: however slow this machine is, none is lost meanwhile."""
    monkeypatch.setattr("app.dispatcher.lease.RENEWALS_PER_TTL", 300)
    monkeypatch.setattr("app.dispatcher.lease.LOOKS_PER_TTL", 1500)


@pytest.fixture
def options(state: AppState) -> DispatcherOptions:
    """A tick waits for the engine however slow this machine is, so that what it has done is the same every time."""
    return DispatcherOptions(
        tick=TICK,
        starts_by_itself=False,
        starvation_limit=timedelta(hours=24),
        policy=state.quota_policy,
        patience=timedelta(seconds=30),
    )


@pytest.fixture
async def simulated(
    state: AppState, clock: FakeClock, user: Person, admin: Person, options: DispatcherOptions
) -> AsyncIterator[Scene[SimulatedExecutor]]:
    """The fleet is known. A simulated second is a second of the clock. Afterwards the books must balance."""
    engine = SimulatedExecutor(parse_fleet(FLEET), speedup=1, failure_rate=0, clock=clock)
    scene = Scene(replace(state, engine=engine), engine, clock, user, admin, options)
    await scene.dispatcher.tick()
    yield scene
    await scene.dispatcher._resign()
    await the_books_balance(scene)


@pytest.fixture
async def scripted(
    state: AppState, clock: FakeClock, user: Person, admin: Person, options: DispatcherOptions
) -> AsyncIterator[Scene[ScriptedEngine]]:
    """As `simulated`, with an engine that does what the test says."""
    engine = ScriptedEngine(fleet=FLEET)
    scene = Scene(replace(state, engine=engine), engine, clock, user, admin, options)
    await scene.dispatcher.tick()
    yield scene
    await scene.dispatcher._resign()
    await the_books_balance(scene)


@pytest.fixture
async def queueing(
    state: AppState, clock: FakeClock, user: Person, admin: Person, options: DispatcherOptions
) -> AsyncIterator[Scene[ScriptedEngine]]:
    """As `scripted`, with an engine that has a queue of its own and chooses the GPUs."""
    engine = ScriptedEngine(fleet=FLEET, places_gpus=False)
    scene = Scene(replace(state, engine=engine), engine, clock, user, admin, options)
    await scene.dispatcher.tick()
    yield scene
    await scene.dispatcher._resign()
    await the_books_balance(scene)


async def the_books_balance(scene: Scene[Any]) -> None:
    async with scene.state.database.transaction() as connection:
        assert await invariants.broken(connection) == []
