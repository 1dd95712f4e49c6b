"""The local engine under the conformance suite: real processes, on stand-ins for GPUs."""

import asyncio
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.clock import system_clock
from app.domain.execution import Executor, GpuSlot, JobSpec
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.spec import LocalOptions
from tests.executors.engines import make_spec
from tests.executors.local.runs import one_user, runs_directory

LINES_AT_ONCE = 10


@pytest.fixture
def local_engine() -> "Iterator[LocalEngine]":
    with runs_directory() as runs:
        yield LocalEngine(runs)


class LocalEngine:
    """Time passes by itself; the command is a script that behaves as asked."""

    overrun = timedelta(seconds=4)
    shortest_limit = timedelta(seconds=2)

    def __init__(self, runs: Path) -> None:
        self.options = LocalOptions(runs, users=one_user(), kill_grace=timedelta(seconds=0.5))
        self.replace_executor()

    def replace_executor(self) -> None:
        self._devices = open_devices("2xCPU")
        self.executor: Executor = LocalExecutor(self._devices, self.options, system_clock)

    def spec(
        self,
        *,
        runs_for: timedelta = timedelta(seconds=1),
        time_limit: timedelta = timedelta(minutes=10),
        exit_code: int = 0,
        signal: int | None = None,
        ignores_term: bool = False,
        lines: int | None = None,
    ) -> JobSpec:
        groups = -(-(lines or 1) // LINES_AT_ONCE)
        script = [
            *(["trap '' TERM"] if ignores_term else []),
            "echo the run begins",
            f"for group in $(seq {groups}); do",
            f"  for line in $(seq {LINES_AT_ONCE}); do",
            f"    number=$(( (group - 1) * {LINES_AT_ONCE} + line ))",
            f'    [ "$number" -le {lines or 0} ] && echo "line $number of the run"',
            "  done",
            f"  sleep {runs_for.total_seconds() / groups}",
            "done",
            f"kill -{signal} $$" if signal is not None else f"exit {exit_code}",
        ]
        return self._make_spec("\n".join(script), time_limit)

    def refused_spec(self) -> JobSpec:
        return make_spec(slots=[GpuSlot("elsewhere", 0, "GPU-0"), GpuSlot("elsewhere", 1, "GPU-1")])

    def _make_spec(self, command: str, time_limit: timedelta) -> JobSpec:
        slots = [device.info.slot for device in self._devices.list()]
        return make_spec(command, time_limit=time_limit, launched_at=system_clock(), slots=slots)

    def beginnings(self, log: bytes) -> int:
        return log.count(b"the run begins\n")

    def line_numbers(self, log: bytes) -> list[int]:
        return [int(number) for number in re.findall(rb"line (\d+) of the run\n", log)]

    async def let_time_pass(self) -> None:
        await asyncio.sleep(0.02)
