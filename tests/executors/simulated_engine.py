"""The simulated engine under the conformance suite."""

import re
from datetime import timedelta

import pytest

from app.domain.execution import Executor, GpuSlot, JobSpec
from tests.executors.engines import MovableClock, make_simulated_executor, make_spec


@pytest.fixture
def simulated_engine() -> "SimulatedEngine":
    return SimulatedEngine()


class SimulatedEngine:
    """Time passes by moving the clock; the command asks for its behaviour by directives."""

    shortest_limit = timedelta(seconds=2)
    overrun = timedelta(0)

    def __init__(self) -> None:
        self._clock = MovableClock()
        self.replace_executor()

    def replace_executor(self) -> None:
        self.executor: Executor = make_simulated_executor(self._clock, speedup=5)

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
        wishes = [
            f"duration={runs_for.total_seconds():g}s",
            f"exit={exit_code}" if signal is None else f"signal={signal}",
            *(["fault=ignore-term"] if ignores_term else []),
            *([f"lines={lines}"] if lines is not None else []),
        ]
        return make_spec(f"python train.py  #SIM {' '.join(wishes)}", time_limit=time_limit, launched_at=self._clock())

    def refused_spec(self) -> JobSpec:
        return make_spec(slots=[GpuSlot("node9", 0, "GPU-0"), GpuSlot("node9", 1, "GPU-1")])

    def beginnings(self, log: bytes) -> int:
        return log.count(b"This is a simulated run")

    def line_numbers(self, log: bytes) -> list[int]:
        lines = re.findall(rb"epoch +(\d+)/\d+  (?:step +(\d+)00/|validation)", log)
        return [(int(epoch) - 1) * 10 + int(step or 10) for epoch, step in lines]

    async def let_time_pass(self) -> None:
        self._clock.advance(timedelta(milliseconds=20))
