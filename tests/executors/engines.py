"""What the conformance suite needs to know of an engine beyond its contract."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID, uuid4

from app.core.clock import Clock
from app.domain.execution import Executor, GpuSlot, JobSpec
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet

LAUNCHED_AT = datetime(2026, 3, 21, 8, 30, tzinfo=UTC)


class EngineUnderTest(Protocol):
    """An engine with the means to make its runs behave as a test needs, and to let time pass."""

    executor: Executor
    shortest_limit: timedelta
    """The shortest time limit that the engine keeps."""
    overrun: timedelta
    """How much longer than its time limit a run may be measured."""

    def replace_executor(self) -> None:
        """Forget the executor as if its process had been killed, and make another one."""
        ...

    def spec(
        self,
        *,
        runs_for: timedelta = timedelta(seconds=2),
        time_limit: timedelta = timedelta(minutes=10),
        exit_code: int = 0,
        signal: int | None = None,
        ignores_term: bool = False,
        lines: int | None = None,
    ) -> JobSpec:
        """A run that says in its log that it begins, prints numbered lines, and ends as asked."""
        ...

    def refused_spec(self) -> JobSpec | None:
        """A run that the engine cannot start, where there is such a thing."""
        ...

    def beginnings(self, log: bytes) -> int:
        """How many times the command began, by its log."""
        ...

    def line_numbers(self, log: bytes) -> list[int]:
        """The numbers of the lines that the command printed, as they stand in the log."""
        ...

    async def let_time_pass(self) -> None:
        """A moment in which a run gets a little further."""
        ...


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = LAUNCHED_AT) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


FLEET = parse_fleet("node1=A100x8,node2=T4x4")


def make_simulated_executor(clock: Clock, *, speedup: float = 360, failure_rate: float = 0.0) -> SimulatedExecutor:
    return SimulatedExecutor(FLEET, speedup=speedup, failure_rate=failure_rate, clock=clock)


def make_spec(
    command: str = "python train.py",
    *,
    run_id: UUID | None = None,
    name: str = "آموزش مدل",
    num_gpus: int = 2,
    time_limit: timedelta = timedelta(hours=1),
    launched_at: datetime = LAUNCHED_AT,
    slots: Sequence[GpuSlot] | None = None,
    data_location: str | None = None,
) -> JobSpec:
    return JobSpec(
        run_id=run_id or uuid4(),
        job_id=42,
        name=name,
        owner_email="sara@example.org",
        command=command,
        gpu_type="A100",
        num_gpus=num_gpus,
        time_limit=time_limit,
        launched_at=launched_at,
        slots=tuple(gpu.slot for gpu in FLEET[:num_gpus]) if slots is None else tuple(slots),
        data_location=data_location,
        environment={"API_KEY": "canary-7d1f"},
    )
