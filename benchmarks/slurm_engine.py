"""Jobs on a real Slurm, whose nodes and GPUs are pretended: what the service adds to the time that Slurm takes itself,
and how often it asks Slurm about many jobs.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from benchmarks.desk import Desk, wait_for
from benchmarks.people import new_signing_key, sign_up
from benchmarks.postgres import new_database
from benchmarks.processes import cpu_seconds
from benchmarks.report import Finding
from benchmarks.rounds import Effort
from benchmarks.service import serving
from tests.slurm.cluster import SlurmCluster, what_is_missing
from tests.slurm.layout import Options

CLUSTER = Options(nodes=2, gpus=4)
TICK_SECONDS = 0.5
COUNTED = ("squeue", "sacct")
TELL_TIME = "date +%s.%N"


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    if missing := what_is_missing(CLUSTER):
        print(f"left out: slurm: {missing}")
        return
    key = new_signing_key()
    with (
        new_database(server_url, "slurm") as database,
        SlurmCluster.start(CLUSTER) as cluster,
        TemporaryDirectory() as directory,
    ):
        [admin] = sign_up(database, 1, key, admin=True)
        calls = CountedCalls(Path(directory))
        settings = {
            "DATABASE_URL": str(database),
            "JWT_SECRET_KEY": key,
            "DISPATCH_MODE": "automatic",
            "DISPATCHER_TICK_SECONDS": str(TICK_SECONDS),
            "EXECUTOR": "slurm",
            "SLURM_LOG_DIR": str(cluster.job_logs),
            "LOG_LEVEL": "WARNING",
            "PATH": calls.put_before(os.environ["PATH"]),
            **cluster.environment,
        }
        with serving("app.main:app", "/readyz", settings) as service:
            desk = Desk(service, admin.token, database, CLUSTER.gpu_type)
            wait_for(lambda: database.fetch("SELECT id FROM gpus"))
            yield _first_lines(desk, cluster, rounds=effort.rounds * 4)
            yield _questions(desk, calls, number=200 if effort.rounds > 3 else 20, seconds=effort.idle_seconds)


@dataclass(frozen=True, slots=True)
class CountedCalls:
    """Scripts in the place of Slurm's commands, which note that they were called, and go on with the command."""

    directory: Path

    def put_before(self, path: str) -> str:
        """A search path on which the scripts come first."""
        for name in COUNTED:
            script = self.directory / name
            script.write_text(
                f'#!/bin/sh\necho {name} >>{self._noted}\nexec {shutil.which(name)} "$@"\n', encoding="utf-8"
            )
            script.chmod(0o755)
        self._noted.touch()
        return f"{self.directory}:{path}"

    def during(self, seconds: float) -> Counter[str]:
        before = self._so_far()
        time.sleep(seconds)
        return self._so_far() - before

    def _so_far(self) -> Counter[str]:
        return Counter(self._noted.read_text(encoding="utf-8").split())

    @property
    def _noted(self) -> Path:
        return self.directory / "calls"


def _first_lines(desk: Desk, cluster: SlurmCluster, rounds: int) -> Finding:
    """In turns with the same job by hand. The command says itself when it began, so that what waits for it is free."""
    _by_hand(cluster), _by_us(desk, cluster)
    pairs = [(_by_hand(cluster), _by_us(desk, cluster)) for _ in range(rounds)]
    by_hand, ours = (median(times) for times in zip(*pairs, strict=True))
    more = sorted(us - hand for hand, us in pairs)
    return Finding(
        "from approval to the first line of a command on Slurm",
        f"{median(more) * 1000:.0f} ms more than by hand",
        "< 1 s more than the same sbatch by hand",
        median(more) < 1,
        f"{ours * 1000:.0f} ms, by hand {by_hand * 1000:.0f} ms; {rounds} pairs in turns, "
        f"{more[0] * 1000:.0f} to {more[-1] * 1000:.0f} ms more; up to {TICK_SECONDS * 1000:.0f} ms wait for the tick",
    )


def _by_hand(cluster: SlurmCluster) -> float:
    log = cluster.job_logs / "by-hand.log"
    log.unlink(missing_ok=True)
    began = time.time()
    cluster.run(
        "sbatch",
        "--no-requeue",
        f"--gres=gpu:{CLUSTER.gpu_type}:1",
        "--time=6",
        f"--output={log}",
        f"--wrap=exec /bin/bash -l -c '{TELL_TIME}'",
    )
    return _time_told(log) - began


def _by_us(desk: Desk, cluster: SlurmCluster) -> float:
    job_id, approved_at = desk.approve(TELL_TIME)
    wait_for(lambda: desk.run_of(job_id))
    return _time_told(cluster.job_logs / f"{desk.run_of(job_id)}.log") - approved_at


def _time_told(log: Path) -> float:
    wait_for(lambda: log.exists() and log.read_text().endswith("\n"))
    return float(log.read_text())


def _questions(desk: Desk, calls: CountedCalls, number: int, seconds: float) -> Finding:
    """Of a dispatcher that has one job in Slurm, and then many: some run, the others wait in its queue."""
    _submit(desk, 1)
    with_one = calls.during(seconds)
    began = time.monotonic()
    _submit(desk, number - 1)
    handed_over_in = time.monotonic() - began
    before = cpu_seconds(desk.service.pid)
    with_many = calls.during(seconds)
    share = (cpu_seconds(desk.service.pid) - before) / seconds
    return Finding(
        f"{number} jobs in Slurm: its commands in {seconds:.0f} s",
        f"{with_many['squeue']} squeue, {with_many['sacct']} sacct",
        f"no more than for one job: {with_one['squeue']} squeue",
        with_many["squeue"] <= with_one["squeue"] + 1 and not with_many["sacct"],
        f"{share:.1%} of a core for the service; submitted, approved and handed over in {handed_over_in:.0f} s",
    )


def _submit(desk: Desk, number: int) -> None:
    """Until Slurm runs or queues all of them."""
    waiting = {desk.approve("sleep 3600")[0] for _ in range(number)}
    question = "SELECT id FROM jobs WHERE engine_job_id IS NOT NULL AND finished_at IS NULL"
    wait_for(lambda: waiting <= {row["id"] for row in desk.database.fetch(question)})
