"""Real commands on this machine, on stand-ins for GPUs: how soon they begin, and what watching over them costs."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from shutil import rmtree
from signal import SIGTERM
from statistics import median
from uuid import uuid4

from sqlalchemy import URL

from app.core.clock import system_clock
from app.domain.execution import GpuSlot, JobSpec, RunState
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.processes import signal_process
from app.executors.local.run_directory import RunDirectory
from app.executors.local.spec import LocalOptions
from benchmarks.desk import Desk, wait_for
from benchmarks.people import new_signing_key, sign_up
from benchmarks.postgres import new_database
from benchmarks.processes import cpu_seconds, resident_kib
from benchmarks.report import Finding
from benchmarks.rounds import Effort
from benchmarks.service import serving

STAND_INS = 32
TICK_SECONDS = 0.5
LAUNCHES_AT_ONCE = 16
LOUD = "timeout {seconds} cat /dev/zero"


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    key = new_signing_key()
    with new_database(server_url, "local") as database, _runs_directory() as runs:
        [admin] = sign_up(database, 1, key, admin=True)
        settings = {
            "DATABASE_URL": str(database),
            "JWT_SECRET_KEY": key,
            "DISPATCH_MODE": "automatic",
            "DISPATCHER_TICK_SECONDS": str(TICK_SECONDS),
            "EXECUTOR": "local",
            "LOCAL_GPUS": f"{STAND_INS}xCPU",
            "LOCAL_RUNS_DIR": str(runs),
            "LOCAL_TRUST_USERS": "true",
            "LOG_LEVEL": "WARNING",
        }
        with serving("app.main:app", "/readyz", settings) as service:
            desk = Desk(service, admin.token, database, "CPU")
            wait_for(lambda: database.fetch("SELECT id FROM gpus"))
            yield _first_lines(desk, rounds=effort.rounds * 6)
            yield from _quiet_wrapper(desk, runs, effort.idle_seconds)
            yield _loud_job(desk, runs, seconds=max(3.0, effort.idle_seconds / 2))
    with _runs_directory() as runs:
        yield from asyncio.run(_adoption(runs, number=500 if effort.rounds > 3 else 50, seconds=effort.idle_seconds))


def _first_lines(desk: Desk, rounds: int) -> Finding:
    """The command says itself when it began, so that what reads its log costs nothing here."""
    seconds = []
    for _ in range(rounds):
        job_id, approved_at = desk.approve("date +%s.%N")
        seconds.append(_time_told(desk, job_id) - approved_at)
    limit = 0.3 + TICK_SECONDS
    return Finding(
        "from approval to the command's first line",
        f"{median(seconds) * 1000:.0f} ms",
        f"< 300 ms and a tick of {TICK_SECONDS * 1000:.0f} ms",
        median(seconds) < limit,
        f"{rounds} jobs, one after the other; {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f} ms",
    )


def _time_told(desk: Desk, job_id: int) -> float:
    wait_for(lambda: desk.log(job_id).endswith("\n"))
    return float(desk.log(job_id))


def _quiet_wrapper(desk: Desk, runs: Path, seconds: float) -> Sequence[Finding]:
    job_id, _ = desk.approve("echo begun; sleep 3600")
    wait_for(lambda: desk.log(job_id) == "begun\n")
    started = RunDirectory(runs / str(desk.run_of(job_id))).started()
    assert started is not None
    before = cpu_seconds(started.pid)
    time.sleep(seconds)
    share = (cpu_seconds(started.pid) - before) / seconds
    mib = resident_kib(started.pid) / 1024
    desk.cancel(job_id)
    return [
        Finding("memory of a run's wrapper", f"{mib:.1f} MiB resident", "< 12 MiB", mib < 12),
        Finding(
            "wrapper of a quiet job", f"{share:.2%} of a core", "< 1 % of a core", share < 0.01, f"over {seconds:.0f} s"
        ),
    ]


def _loud_job(desk: Desk, runs: Path, seconds: float) -> Finding:
    """What a flood of output does to the dispatcher, by the time that its ticks take."""
    quiet = _tick_milliseconds(desk, seconds)
    job_id, _ = desk.approve(LOUD.format(seconds=seconds + 5))
    wait_for(lambda: len(desk.log(job_id)) > 0)
    loud = _tick_milliseconds(desk, seconds)
    run = RunDirectory(runs / str(desk.run_of(job_id)))
    wait_for(run.is_over)
    evidence = run.evidence()
    assert evidence is not None
    rate = evidence["log_bytes"] / evidence["elapsed_seconds"] / 2**30
    return Finding(
        f"dispatcher's tick while a job prints {rate:.1f} GiB/s",
        f"{loud:.1f} ms",
        "not slowed down by 1 GiB/s",
        rate >= 1 and loud < quiet + 10,
        f"{quiet:.1f} ms while nothing runs; all share the machine's {os.cpu_count()} cores",
    )


def _tick_milliseconds(desk: Desk, seconds: float) -> float:
    ticks, spent = desk.ticks()
    time.sleep(seconds)
    more_ticks, more_spent = desk.ticks()
    return (more_spent - spent) / (more_ticks - ticks) * 1000


async def _adoption(runs: Path, number: int, seconds: float) -> Sequence[Finding]:
    """Runs that an earlier dispatcher started, and one that has just come and knows nothing."""
    options = LocalOptions(runs)
    earlier = LocalExecutor(open_devices("1xCPU"), options, system_clock)
    [gpu] = await earlier.inventory()
    specs = [_quiet_run(job_id, gpu.slot) for job_id in range(number)]
    limiter = asyncio.Semaphore(LAUNCHES_AT_ONCE)

    async def start(spec: JobSpec) -> None:
        async with limiter:
            await earlier.start(spec)

    await asyncio.gather(*map(start, specs))
    run_ids = [spec.run_id for spec in specs]
    executor = LocalExecutor(open_devices("1xCPU"), options, system_clock)
    began = time.perf_counter()
    await executor.adopt(specs)
    seen = await executor.poll(run_ids)
    adopted_in = time.perf_counter() - began
    assert [seen[run_id].state for run_id in run_ids] == [RunState.RUNNING] * number
    due = {run_id: seen[run_id].unchanged_until for run_id in run_ids}
    before, until = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < until:
        now = system_clock()
        asked = [run_id for run_id, at in due.items() if at is not None and at <= now]
        for run_id, observation in (await executor.poll(asked)).items():
            due[run_id] = observation.unchanged_until
        await asyncio.sleep(TICK_SECONDS)
    share = (time.process_time() - before) / seconds
    return [
        Finding(f"{number} local runs adopted", f"{adopted_in:.2f} s", "< 5 s", adopted_in < 5, "all seen running"),
        Finding(
            f"watching over {number} quiet runs",
            f"{share:.1%} of a core",
            "< 10 % of a core",
            share < 0.1,
            f"over {seconds:.0f} s, their samples included",
        ),
    ]


def _quiet_run(job_id: int, slot: GpuSlot) -> JobSpec:
    hour = timedelta(hours=1)
    command, email, now = "sleep 3600", "bench@example.org", system_clock()
    return JobSpec(uuid4(), job_id, "bench", email, command, "CPU", 1, hour, now, slots=(slot,))


@contextmanager
def _runs_directory() -> Iterator[Path]:
    """Removed at the end, with all that runs there."""
    runs = Path(tempfile.mkdtemp(prefix="gtm-bench-"))
    try:
        yield runs
    finally:
        directories = [RunDirectory(path) for path in runs.iterdir()]
        for directory in directories:
            directory.ask_to_stop(timedelta(0))
            if (started := directory.started()) is not None and directory.is_held():
                signal_process(started.pid, started.start_ticks, started.boot_id, SIGTERM)
        wait_for(lambda: not any(directory.is_held() for directory in directories))
        rmtree(runs)
