"""The loop between the database and the engine.

Each tick, while this process holds the lease:

1. take over: on a new term, forget everything, read the fleet, adopt the runs that are under way;
2. launch the runs that were decided on;
3. stop the runs that somebody cancelled;
4. observe the runs that may have changed: settle those that ended, note the progress of the others;
5. start approved jobs (`DISPATCH_MODE=automatic`), and say why the others wait;
6. tidy up, now and then.

No transaction is open while the engine works. Every write carries the term of the lease, so that a dispatcher that was
paused and overtaken changes nothing. One run that makes trouble never holds up another.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError

from app.core.clock import Clock
from app.core.crash_points import crash_point
from app.core.metrics import TICK_SECONDS
from app.db.engine import Database
from app.db.queries import gpus, housekeeping, lease, runs
from app.db.queries import jobs as job_queries
from app.db.queries.jobs import Move
from app.dispatcher.lease import LEASE_TTL, Lease
from app.dispatcher.settlement import begin, give_up, settle
from app.dispatcher.tracking import TrackedRun, Watchlist, cancellation, tracked
from app.domain.errors import NoCapacity, QuotaExceeded
from app.domain.execution import EndReason, Executor, LaunchError, Observation, RunState
from app.domain.identity import Actor
from app.domain.job_state import JobStatus
from app.domain.scheduling import WaitingJob, explain_waits, plan_starts
from app.services import jobs, transitions
from app.services.jobs import EngineKind
from app.services.quotas import QuotaPolicy
from app.services.runs import spec_of

KILL_GRACE = timedelta(seconds=30)
LOST_AFTER = timedelta(minutes=10)
LAUNCH_DEADLINE = timedelta(minutes=2)
INVENTORY_INTERVAL = timedelta(seconds=30)
TIDY_INTERVAL = timedelta(minutes=1)
EXPLAIN_INTERVAL = timedelta(seconds=2)
LAUNCHES_AT_ONCE = 16
BATCH = 1000
LONGEST_BACKOFF_SECONDS = 15.0

log = structlog.get_logger("dispatcher")


@dataclass(frozen=True, slots=True)
class DispatcherOptions:
    tick: timedelta
    starts_by_itself: bool
    starvation_limit: timedelta
    policy: QuotaPolicy
    lease_ttl: timedelta = LEASE_TTL


class Dispatcher:
    """One process's dispatcher. Only the one that holds the lease acts; the others wait to take over."""

    def __init__(self, database: Database, executor: Executor, options: DispatcherOptions, clock: Clock) -> None:
        self._database = database
        self._executor = executor
        self._options = options
        self._clock = clock
        self._engine = EngineKind(executor.name, executor.places_gpus)
        self._lease = Lease(database, options.lease_ttl)
        self._term: int | None = None
        self._watchlist = Watchlist()
        self._stopping: set[UUID] = set()
        self._launch_troubles: dict[UUID, datetime] = {}
        self._due_at: dict[str, datetime] = {}

    async def run(self) -> None:
        """Tick until cancelled. Trouble with the database or the engine is logged and tried again, never fatal."""
        failures = 0
        try:
            while True:
                try:
                    await self.tick()
                    failures = 0
                except (DBAPIError, OSError, TimeoutError) as error:
                    failures += 1
                    log.warning("tick failed", error=type(error).__name__, failures=failures)
                except Exception:
                    failures += 1
                    log.exception("tick failed", failures=failures)
                await asyncio.sleep(self._pause(failures))
        finally:
            await self._resign()

    async def tick(self) -> None:
        """One round. Public, so that tests can step through time."""
        try:
            term = await self._lease.hold()
            if term is None:
                self._term = None
                return
            with TICK_SECONDS.time():
                if term != self._term:
                    await self._take_over(term)
                await self._read_fleet(term)
                await self._launch(term)
                await self._stop_cancelled()
                await self._observe(term)
                await self._start_approved(term)
                await self._tidy()
        except BaseException:
            # What was half done is not known: the next tick reads it from the database again.
            self._term = None
            raise

    async def _take_over(self, term: int) -> None:
        self._watchlist.clear()
        self._stopping.clear()
        self._launch_troubles.clear()
        self._due_at.clear()
        async with self._database.autocommit() as connection:
            live = await runs.live(connection)
        await self._executor.adopt([spec_of(row) for row in live])
        for row in live:
            self._watchlist.add(tracked(row))
        self._term = term
        log.info("took over", term=term, runs=len(live))

    async def _read_fleet(self, term: int) -> None:
        if not self._is_due("fleet", INVENTORY_INTERVAL):
            return
        inventory = await self._executor.inventory()
        async with self._database.transaction() as connection:
            if await lease.fence(connection, term=term):
                await gpus.sync_inventory(connection, executor=self._engine.name, gpus=inventory, now=self._clock())

    async def _launch(self, term: int) -> None:
        async with self._database.autocommit() as connection:
            decided = await runs.to_launch(connection, limit=BATCH)
        if not decided:
            return
        crash_point("dispatcher.before-launch")
        limiter = asyncio.Semaphore(LAUNCHES_AT_ONCE)
        outcomes = await asyncio.gather(*(self._launch_one(row, limiter, term) for row in decided))
        crash_point("dispatcher.after-launch")
        launched = [row for row, outcome in zip(decided, outcomes, strict=True) if outcome is None]
        failed = [outcome for outcome in outcomes if isinstance(outcome, Move)]
        if launched:
            async with self._database.autocommit() as connection:
                run_ids = [row.run_id for row in launched]
                await runs.note_launched(connection, run_ids, term=term, now=self._clock())
            for row in launched:
                self._watchlist.add(tracked(row))
        await self._apply(failed, term)

    async def _launch_one(self, row: Row[Any], limiter: asyncio.Semaphore, term: int) -> Move | Exception | None:
        """None: launched. A move: it never will be. An exception: not known, try again."""
        spec = spec_of(row)
        try:
            async with limiter:
                if self._lease.term != term:
                    return TimeoutError("the lease has run out; whoever holds it now will launch this run")
                await self._executor.start(spec)
        except LaunchError as error:
            return give_up(tracked(row), EndReason.LAUNCH_FAILURE, str(error))
        except Exception as error:
            log.exception("launch failed", job_id=row.id, run_id=str(row.run_id))
            now = self._clock()
            if now - self._launch_troubles.setdefault(row.run_id, now) < LAUNCH_DEADLINE:
                return error
            del self._launch_troubles[row.run_id]
            return give_up(tracked(row), EndReason.LOST, "The engine could not be asked to start this run.")
        self._launch_troubles.pop(row.run_id, None)
        return None

    async def _stop_cancelled(self) -> None:
        async with self._database.autocommit() as connection:
            cancelled = await runs.to_stop(connection)
        for row in cancelled:
            run = self._watchlist.get(row.run_id)
            if run is None or row.run_id in self._stopping:
                continue
            run.cancelled_as = cancellation(row)
            crash_point("dispatcher.before-stop")
            try:
                await self._executor.stop(row.run_id, KILL_GRACE)
            except Exception:
                log.exception("stop failed", job_id=row.id, run_id=str(row.run_id))
                continue
            self._stopping.add(row.run_id)
            self._watchlist.ask_again(row.run_id, self._clock())

    async def _observe(self, term: int) -> None:
        now = self._clock()
        due = self._watchlist.take_due(now)
        for batch in _batches(due):
            seen = await self._executor.poll(batch)
            await self._note(batch, seen, now=now, term=term)

    async def _note(
        self, asked: Collection[UUID], seen: Mapping[UUID, Observation], *, now: datetime, term: int
    ) -> None:
        begun: list[Move] = []
        ended: list[Move] = []
        reports: list[dict[str, Any]] = []
        for run_id in asked:
            run = self._watchlist.get(run_id)
            if run is None:
                continue
            observation = seen.get(run_id)
            if observation is None:
                ended.extend(self._unknown(run, now))
                continue
            run.unknown_since = None
            if run.status is JobStatus.APPROVED and observation.state is not RunState.STARTING:
                begun.append(begin(run))
                run.status = JobStatus.RUNNING
            if observation.state is RunState.ENDED:
                ended.append(settle(run, observation))
                continue
            reports.append(
                {
                    "run_id": str(run_id),
                    "progress": observation.progress,
                    "queue_reason": observation.queue_reason,
                }
            )
            self._watchlist.ask_again(run_id, observation.unchanged_until or now)
        await self._apply(begun, term)
        await self._apply(ended, term)
        if reports:
            async with self._database.autocommit() as connection:
                await runs.note_reports(connection, reports, term=term, now=now)

    def _unknown(self, run: TrackedRun, now: datetime) -> Sequence[Move]:
        """Not knowing a run is not its end. After a long while it is given up, and its GPUs are kept aside."""
        run.unknown_since = run.unknown_since or now
        if now - run.unknown_since < LOST_AFTER:
            self._watchlist.ask_again(run.run_id, now + self._options.tick)
            return []
        return [give_up(run, EndReason.LOST, "The engine no longer knows this run.")]

    async def _apply(self, moves: Sequence[Move], term: int) -> None:
        if not moves:
            return
        crash_point("dispatcher.before-settle")
        lost = [move.run_id for move in moves if move.reason is EndReason.LOST and move.run_id]
        async with self._database.transaction() as connection:
            if lost:
                await runs.quarantine_gpus(connection, lost, term=term)
            moved = await transitions.apply(
                connection, moves, actor=Actor.dispatcher(term), now=self._clock(), term=term
            )
        crash_point("dispatcher.after-settle")
        final = [move for move in moves if move.reason is not None]
        self._watchlist.discard(move.run_id for move in final if move.run_id)
        self._stopping.difference_update(move.run_id for move in final if move.run_id)
        if len(moved) < len(moves):
            log.warning("moves were refused", refused=len(moves) - len(moved), term=term)
        for move in final:
            if move.job_id in moved:
                log.info("job ended", job_id=move.job_id, status=move.to_status, reason=move.reason)

    async def _start_approved(self, term: int) -> None:
        if not self._options.starts_by_itself and not self._is_due("explain", EXPLAIN_INTERVAL):
            return
        async with self._database.autocommit() as connection:
            rows = await runs.queue(connection, now=self._clock(), limit=BATCH)
            if not rows:
                return
            free = {row.name: row.free for row in await gpus.types(connection)}
        queue = [WaitingJob(row.id, row.gpu_type, row.num_gpus, row.decided_at, row.lacks_quota) for row in rows]
        started: set[int] = set()
        if self._options.starts_by_itself:
            started = await self._start_planned(queue, free, term)
        waiting = [job for job in queue if job.job_id not in started]
        reasons = explain_waits(waiting, free, starts_by_itself=self._options.starts_by_itself)
        known = {row.id: row.wait_reason for row in rows}
        news = {job_id: reason for job_id, reason in reasons.items() if known[job_id] != reason}
        if news:
            async with self._database.autocommit() as connection:
                await runs.explain(connection, news, term=term)

    async def _start_planned(self, queue: Sequence[WaitingJob], free: dict[str, int], term: int) -> set[int]:
        planned = plan_starts(queue, free, now=self._clock(), starvation_limit=self._options.starvation_limit)
        started: set[int] = set()
        for job_id in planned:
            try:
                async with self._database.transaction() as connection:
                    if not await lease.fence(connection, term=term):
                        break
                    job = await job_queries.lock(connection, job_id)
                    if job is None or job.status != JobStatus.APPROVED or job.run_id is not None:
                        continue
                    if await jobs.launch(
                        connection,
                        job,
                        actor=Actor.dispatcher(term),
                        engine=self._engine,
                        policy=self._options.policy,
                        now=self._clock(),
                        term=term,
                    ):
                        started.add(job_id)
            except (NoCapacity, QuotaExceeded) as refusal:
                log.info("start put off", job_id=job_id, code=refusal.code)
        if started:
            await self._launch(term)
        return started

    async def _tidy(self) -> None:
        if self._is_due("tidy", TIDY_INTERVAL):
            async with self._database.autocommit() as connection:
                await housekeeping.forget_what_expired(connection, now=self._clock())

    def _is_due(self, what: str, interval: timedelta) -> bool:
        """True at most once per interval, and at once on a new term."""
        now = self._clock()
        if now < self._due_at.get(what, now):
            return False
        self._due_at[what] = now + interval
        return True

    def _pause(self, failures: int) -> float:
        tick = self._options.tick.total_seconds()
        return tick if failures == 0 else min(LONGEST_BACKOFF_SECONDS, tick * 2**failures)

    async def _resign(self) -> None:
        try:
            await self._lease.resign()
        except (DBAPIError, OSError, TimeoutError):
            log.warning("the lease could not be given back; it will expire")


def _batches(run_ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    return [run_ids[begin_at : begin_at + BATCH] for begin_at in range(0, len(run_ids), BATCH)]
