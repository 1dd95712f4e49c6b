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
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.core.clock import Clock
from app.core.crash_points import crash_point
from app.core.metrics import TICK_SECONDS
from app.db.engine import Database
from app.db.queries import gpus, housekeeping, lease, runs
from app.db.queries import jobs as job_queries
from app.db.queries.jobs import Move
from app.dispatcher.evidence import admissible, storable
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
LONGEST_QUEUE = 10_000
REFUSED_MOVE_INTERVAL = timedelta(minutes=1)
LONGEST_BACKOFF_SECONDS = 15.0
MOST_DOUBLINGS = 16
SQLSTATE_CLASSES_OF_VALUES = ("22", "23", "GT")
"""Data exceptions, broken constraints, our own guards: trying again changes nothing, leaving out the culprit does."""

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
                except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
                    failures += 1
                    log.warning("tick failed", error=type(error).__name__, failures=failures)
                except Exception:
                    failures += 1
                    log.exception("tick failed", failures=failures)
                await asyncio.sleep(pause_after(failures, self._options.tick))
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
        crash_point("dispatcher.before-adopt")
        self._watchlist.clear()
        self._stopping.clear()
        self._launch_troubles.clear()
        self._due_at.clear()
        async with self._database.autocommit() as connection:
            live = await runs.live(connection)
        await self._executor.adopt([spec_of(row) for row in live])
        crash_point("dispatcher.after-adopt")
        for row in live:
            self._watchlist.add(tracked(row))
        self._term = term
        log.info("took over", term=term, runs=len(live))

    async def _read_fleet(self, term: int) -> None:
        if not self._is_due("fleet", INVENTORY_INTERVAL):
            return
        try:
            inventory = await self._executor.inventory()
        except Exception:
            log.exception("the fleet could not be read")
            return
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
        launched = [row for row, ends in zip(decided, outcomes, strict=True) if ends == []]
        if launched:
            async with self._database.autocommit() as connection:
                run_ids = [row.run_id for row in launched]
                await runs.note_launched(connection, run_ids, term=term, now=self._clock())
            crash_point("dispatcher.after-note")
            for row in launched:
                self._watchlist.add(tracked(row))
        await self._apply([move for ends in outcomes for move in ends or ()], term)

    async def _launch_one(self, row: Row[Any], limiter: asyncio.Semaphore, term: int) -> Sequence[Move] | None:
        """Empty: launched. Moves: it never will be, and so it ends. None: not known, try again."""
        run, spec = tracked(row), spec_of(row)
        try:
            async with limiter:
                if self._lease.term != term:
                    return None
                await self._executor.start(spec)
        except LaunchError as error:
            return _ending(run, give_up(run, EndReason.LAUNCH_FAILURE, storable(str(error))))
        except Exception:
            log.exception("launch failed", job_id=row.id, run_id=str(row.run_id))
            now = self._clock()
            if now - self._launch_troubles.setdefault(row.run_id, now) < LAUNCH_DEADLINE:
                return None
            del self._launch_troubles[row.run_id]
            return _ending(run, give_up(run, EndReason.LOST, "The engine could not be asked to start this run."))
        self._launch_troubles.pop(row.run_id, None)
        return []

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
            crash_point("dispatcher.after-stop")
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
        moves: list[Move] = []
        reports: list[dict[str, Any]] = []
        for run_id in asked:
            run = self._watchlist.get(run_id)
            if run is None:
                continue
            observation = admissible(seen[run_id]) if run_id in seen else None
            if observation is None:
                moves.extend(self._unknown(run, now))
                continue
            run.unknown_since = None
            if observation.state is RunState.ENDED:
                if observation.placement or observation.engine_job_id:
                    reports.append(_report(run_id, observation))
                moves.extend(_ending(run, settle(run, observation)))
                continue
            if run.status is JobStatus.APPROVED and observation.state is RunState.RUNNING:
                moves.append(begin(run))
                run.status = JobStatus.RUNNING
            reports.append(_report(run_id, observation))
            self._watchlist.ask_again(run_id, observation.unchanged_until or now)
        # Before the moves: nothing is noted any more of a job that is final.
        if reports:
            async with self._database.autocommit() as connection:
                await runs.note_reports(connection, reports, term=term, now=now)
        await self._apply(moves, term)

    def _unknown(self, run: TrackedRun, now: datetime) -> Sequence[Move]:
        """Not knowing a run is not its end. After a long while it is given up, and its GPUs are kept aside."""
        run.unknown_since = run.unknown_since or now
        if now - run.unknown_since < LOST_AFTER:
            self._watchlist.ask_again(run.run_id, now + self._options.tick)
            return []
        return _ending(run, give_up(run, EndReason.LOST, "The engine no longer knows this run."))

    async def _apply(self, moves: Sequence[Move], term: int) -> None:
        """Move jobs together. Where the database refuses a value, the move that it stands in is found and set aside."""
        if not moves:
            return
        try:
            moved = await self._move(moves, term)
        except DBAPIError as error:
            if _sqlstate(error)[:2] not in SQLSTATE_CLASSES_OF_VALUES:
                raise
            if len(moves) > 1:
                half = len(moves) // 2
                await self._apply(moves[:half], term)
                await self._apply(moves[half:], term)
                return
            log.exception("a move is refused", job_id=moves[0].job_id)
            if moves[0].run_id is not None:
                self._watchlist.ask_again(moves[0].run_id, self._clock() + REFUSED_MOVE_INTERVAL)
            return
        final = [move for move in moves if move.reason is not None]
        self._watchlist.discard(move.run_id for move in final if move.run_id)
        self._stopping.difference_update(move.run_id for move in final if move.run_id)
        if not moved.issuperset(move.job_id for move in moves):
            log.warning("moves were refused: others were faster, or the term is over", term=term)
        for move in final:
            if move.job_id in moved:
                log.info("job ended", job_id=move.job_id, status=move.to_status, reason=move.reason)

    async def _move(self, moves: Sequence[Move], term: int) -> set[int]:
        """In one transaction the beginnings first: a job has to run before it can end."""
        crash_point("dispatcher.before-settle")
        actor, now = Actor.dispatcher(term), self._clock()
        moved: set[int] = set()
        async with self._database.transaction() as connection:
            for begins in (True, False):
                step = [move for move in moves if (move.to_status is JobStatus.RUNNING) is begins]
                if step:
                    moved |= await transitions.apply(connection, step, actor=actor, now=now, term=term)
            crash_point("dispatcher.before-settle-commit")
        crash_point("dispatcher.after-settle")
        return moved

    async def _start_approved(self, term: int) -> None:
        if not self._options.starts_by_itself and not self._is_due("explain", EXPLAIN_INTERVAL):
            return
        async with self._database.autocommit() as connection:
            rows = await runs.queue(connection, now=self._clock(), limit=LONGEST_QUEUE)
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
                    crash_point("dispatcher.before-start-commit")
                crash_point("dispatcher.after-start-commit")
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

    async def _resign(self) -> None:
        try:
            await self._lease.resign()
        except (DBAPIError, PoolTimeout, OSError, TimeoutError):
            log.warning("the lease could not be given back; it will expire")


def pause_after(failures: int, tick: timedelta) -> float:
    """Seconds until the next tick: doubled with each failure in a row, up to the longest backoff."""
    return min(LONGEST_BACKOFF_SECONDS, tick.total_seconds() * 2.0 ** min(failures, MOST_DOUBLINGS))


def _report(run_id: UUID, seen: Observation) -> dict[str, Any]:
    return {
        "run_id": str(run_id),
        "progress": seen.progress,
        "queue_reason": seen.queue_reason,
        "expected_start_at": seen.expected_start_at.isoformat() if seen.expected_start_at else None,
        "placement": seen.placement,
        "engine_job_id": seen.engine_job_id,
    }


def _ending(run: TrackedRun, end: Move) -> Sequence[Move]:
    """A run that was never seen running has to begin before it can end."""
    return [begin(run), end] if run.status is JobStatus.APPROVED else [end]


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _batches(run_ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    return [run_ids[begin_at : begin_at + BATCH] for begin_at in range(0, len(run_ids), BATCH)]
