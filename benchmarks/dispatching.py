"""The dispatcher on many simulated runs: how fast it settles ends, and what it costs while nothing ends."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import URL

from app.core.clock import Clock, system_clock
from app.core.config import Settings
from app.core.logging import configure_logging
from app.db.engine import Database
from app.dispatcher.build import create_dispatcher
from app.dispatcher.loop import Dispatcher
from app.domain.execution import GpuInfo
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from benchmarks.people import new_signing_key, sign_up
from benchmarks.postgres import BenchDatabase, new_database
from benchmarks.report import Finding
from benchmarks.rounds import Effort

GPUS_PER_NODE = 64
LONGEST_RUN = timedelta(days=1)
SETTLING_IN_SECONDS = 5.0

# What `jobs.submit`, `approve`, `start` and a launch leave behind, for many jobs at once: one GPU each.
_START_RUNS = """
SET session_replication_role = replica;
TRUNCATE gpu_allocations, job_events, quota_entries, job_counts, idempotency_keys, jobs;
UPDATE dispatcher_lease SET holder = NULL, expires_at = '-infinity';
WITH gpu AS (
    SELECT id AS gpu_id, row_number() OVER (ORDER BY id) AS n FROM gpus
), quota AS (
    SELECT id AS quota_id, user_id, row_number() OVER (ORDER BY id) - 1 AS n FROM user_quotas
), job AS (
    INSERT INTO jobs (user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, is_sensitive,
                      reserved_seconds, status, event_seq, created_at, updated_at, decided_at, decided_by, run_id,
                      executor, launched_at, started_at)
    SELECT q.user_id, q.quota_id, 'run', 'A100', 1, 86400, 'python train.py', false,
           86400, 'RUNNING', 3, now(), now(), now(), q.user_id, gen_random_uuid(),
           'simulated', now(), now()
    FROM gpu JOIN quota q ON q.n = gpu.n % (SELECT count(*) FROM quota)
    RETURNING id, user_id, quota_id, run_id
), numbered AS (
    SELECT *, row_number() OVER (ORDER BY id) AS n FROM job
), allocation AS (
    INSERT INTO gpu_allocations (gpu_id, job_id, run_id) SELECT gpu_id, id, run_id FROM numbered JOIN gpu USING (n)
), event AS (
    INSERT INTO job_events (job_id, user_id, seq, from_status, to_status, actor_user_id)
    SELECT id, user_id, seq, from_status, to_status, user_id
    FROM job, (VALUES (1, NULL, 'PENDING'), (2, 'PENDING', 'APPROVED'), (3, 'APPROVED', 'RUNNING'))
         AS step (seq, from_status, to_status)
), entry AS (
    INSERT INTO quota_entries (quota_id, user_id, job_id, kind, reserved_delta, actor_user_id)
    SELECT quota_id, user_id, id, 'RESERVE', 86400, user_id FROM job
), reserved AS (
    UPDATE user_quotas q SET reserved_seconds = 86400 * r.jobs, used_seconds = 0
    FROM (SELECT quota_id, count(*) AS jobs FROM job GROUP BY quota_id) r WHERE q.id = r.quota_id
)
INSERT INTO job_counts (user_id, status, jobs) SELECT user_id, 'RUNNING', count(*) FROM job GROUP BY user_id;
SET session_replication_role = origin;
ANALYZE;
"""


class HandClock:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    nodes = -(-effort.runs // GPUS_PER_NODE)
    fleet = parse_fleet(",".join(f"node{number}=A100x{GPUS_PER_NODE}" for number in range(nodes)))[: effort.runs]
    with new_database(server_url, "dispatching") as database:
        sign_up(database, 200, new_signing_key())
        asyncio.run(_enter_fleet(database, fleet))
        rates = [_settling_rate(database, fleet) for _ in range(effort.rounds)]
        yield Finding(
            "simulated ends settled by one dispatcher",
            f"{median(rates):,.0f} per second",
            "≥ 1,000 per second",
            median(rates) >= 1000,
            f"{effort.runs:,} runs end at once; rounds from {min(rates):,.0f} to {max(rates):,.0f}",
        )
        database.execute(_START_RUNS)
        yield asyncio.run(_idle_cost(database, fleet, effort))


async def _enter_fleet(database: BenchDatabase, fleet: tuple[GpuInfo, ...]) -> None:
    async with _dispatcher(database, fleet, HandClock()) as dispatcher:
        await dispatcher.tick()


def _settling_rate(database: BenchDatabase, fleet: tuple[GpuInfo, ...]) -> float:
    database.execute(_START_RUNS)
    seconds = asyncio.run(_settle_all(database, fleet))
    open_jobs = database.fetch("SELECT count(*) FROM jobs WHERE finished_at IS NULL")[0][0]
    assert open_jobs == 0, f"{open_jobs} runs were not settled"
    return len(fleet) / seconds


async def _settle_all(database: BenchDatabase, fleet: tuple[GpuInfo, ...]) -> float:
    """Adopt all runs, move the clock beyond their ends, and measure the tick that settles them."""
    clock = HandClock()
    async with _dispatcher(database, fleet, clock) as dispatcher:
        await dispatcher.tick()
        clock.now += LONGEST_RUN
        began = time.perf_counter()
        await dispatcher.tick()
        return time.perf_counter() - began


async def _idle_cost(database: BenchDatabase, fleet: tuple[GpuInfo, ...], effort: Effort) -> Finding:
    """Let the dispatcher tick by itself, in real time, with runs that end long after we have looked."""
    async with _dispatcher(database, fleet, system_clock) as dispatcher:
        ticking = asyncio.create_task(dispatcher.run())
        await asyncio.sleep(SETTLING_IN_SECONDS)
        began, before = time.perf_counter(), time.process_time()
        postgres_before = await database.server_cpu_seconds()
        await asyncio.sleep(effort.idle_seconds)
        seconds = time.perf_counter() - began
        share = (time.process_time() - before) / seconds
        postgres_share = (await database.server_cpu_seconds() - postgres_before) / seconds
        ticking.cancel()
        await asyncio.wait([ticking])
        observed = await database.query("SELECT count(*) FROM jobs WHERE progress IS NOT NULL AND finished_at IS NULL")
    assert observed[0]["count"] == effort.runs, f"only {observed[0]['count']} runs were observed"
    return Finding(
        f"dispatcher with {effort.runs:,} simulated runs and no ends",
        f"{share:.1%} of a core",
        "< 10 % of a core",
        share < 0.10,
        f"over {seconds:.0f} s at the usual tick; PostgreSQL used {postgres_share:.1%} for it",
    )


@asynccontextmanager
async def _dispatcher(database: BenchDatabase, fleet: tuple[GpuInfo, ...], clock: Clock) -> AsyncIterator[Dispatcher]:
    """With the settings that a service has if nobody changes them."""
    settings = Settings(_env_file=None)
    executor = SimulatedExecutor(fleet, speedup=1.0, failure_rate=settings.simulation_failure_rate, clock=clock)
    pool = Database(str(database), settings.database_pool_size)
    with _logging_to_nowhere(settings):
        yield create_dispatcher(pool, executor, settings, clock)
    await pool.dispose()


@contextmanager
def _logging_to_nowhere(settings: Settings) -> Iterator[None]:
    """Every line is made and written, as it would be in production, and nobody sees it."""
    configure_logging(settings.log_format, settings.log_level)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
        yield
