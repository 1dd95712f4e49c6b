"""The Slurm engine on a real Slurm, with commands that really run. Time passes by waiting."""

import asyncio
import re
import shlex
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from app.core.clock import system_clock
from app.core.config import Settings
from app.domain.execution import Executor, JobSpec
from app.executors.registry import create_executor
from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixtures import announce, slurm_cluster

__all__ = ["SlurmEngine", "slurm_cluster", "slurm_engine"]

BEGINNING = "the command begins"


@pytest.fixture
def slurm_engine(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator["SlurmEngine"]:
    announce(slurm_cluster, monkeypatch)
    engine = SlurmEngine(slurm_cluster)
    yield engine
    engine.end_what_still_runs()


class SlurmEngine:
    shortest_limit = timedelta(minutes=1)
    overrun = timedelta(seconds=45)
    """slurmctld looks for overdue jobs every 30 s, and KillWait comes on top."""

    def __init__(self, cluster: SlurmCluster, **settings: object) -> None:
        self.cluster = cluster
        self._settings = Settings.model_validate({"executor": "slurm", "slurm_log_dir": cluster.job_logs, **settings})
        self._specs: list[JobSpec] = []
        self.replace_executor()

    def replace_executor(self) -> None:
        self.executor: Executor = create_executor(self._settings, system_clock)

    def spec(
        self,
        *,
        runs_for: timedelta = timedelta(seconds=2),
        time_limit: timedelta = timedelta(minutes=10),
        exit_code: int = 0,
        signal: int | None = None,
        ignores_term: bool = False,
        lines: int | None = None,
        num_gpus: int = 1,
        gpu_type: str = "a100",
        command: str | None = None,
    ) -> JobSpec:
        ending = f"exit {exit_code}" if signal is None else f"kill -{signal:d} $$"
        spec = JobSpec(
            run_id=uuid4(),
            job_id=42,
            name="آموزش مدل",
            owner_email="sara@example.org",
            command=command or shell_command(runs_for, ending, ignores_term=ignores_term, lines=lines),
            gpu_type=gpu_type,
            num_gpus=num_gpus,
            time_limit=time_limit,
            launched_at=system_clock().replace(microsecond=0),  # Slurm's times are whole seconds
            environment={"API_KEY": "canary-7d1f"},
        )
        self._specs.append(spec)
        return spec

    def refused_spec(self) -> JobSpec:
        return self.spec(gpu_type="h900")

    def beginnings(self, log: bytes) -> int:
        return log.count(BEGINNING.encode())

    def line_numbers(self, log: bytes) -> list[int]:
        return [int(number) for number in re.findall(rb"^line (\d+)$", log, re.MULTILINE)]

    async def let_time_pass(self) -> None:
        await asyncio.sleep(0.1)

    def jobs_of(self, *specs: JobSpec) -> list[str]:
        """Slurm's numbers of the jobs that stand in its queue for these runs."""
        queue = self.cluster.run("squeue", "--noheader", "--format=%A %j").splitlines()
        return [line.split()[0] for line in queue if any(str(spec.run_id) in line for spec in specs)]

    def end_what_still_runs(self) -> None:
        if jobs := self.jobs_of(*self._specs):
            self.cluster.run("scancel", *jobs)


def shell_command(runs_for: timedelta, ending: str, *, ignores_term: bool, lines: int | None) -> str:
    """A shell script that says that it begins, prints its lines spread over its time, and ends so."""
    seconds = runs_for.total_seconds()
    number = lines or 1
    return "\n".join(
        [
            "trap '' TERM" if ignores_term else ":",
            f"echo {shlex.quote(BEGINNING)}",
            f'for i in $(seq {number}); do echo "line $i"; sleep {seconds / number:g}; done',
            ending,
        ]
    )
