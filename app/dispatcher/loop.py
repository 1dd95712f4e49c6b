"""The loop between the database and the engine.

Each tick, while this process holds the lease:

1. take over: on a new term, or when the clock was set back, forget everything and read the runs that are under way;
2. adopt them; notice those of other engines, which end as lost unless their engine comes back;
3. read the fleet, and put GPUs back into service whose lost runs are proved gone; look for foreign jobs;
4. launch the runs that were decided on;
5. stop the runs that somebody cancelled;
6. observe the runs that may have changed: settle those that ended, note the progress of the others;
7. start approved jobs (`DISPATCH_MODE=automatic`), and say why the others wait;
8. tidy up, now and then.

What needs the engine is an errand (`errands.py`), so that a call that hangs holds up one run or one reading, and not
the tick. No transaction is open while the engine works. Every write carries the term of the lease, so that a dispatcher
that was paused and overtaken changes nothing. One run that makes trouble never holds up another.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
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
from app.db.queries import engines, gpus, housekeeping, lease, runs
from app.db.queries import jobs as job_queries
from app.db.queries.jobs import Move
from app.db.queries.runs import HEAD_OF_QUEUE, QueuePlace
from app.dispatcher.backoff import Backoff
from app.dispatcher.errands import Errands
from app.dispatcher.evidence import admissible, storable
from app.dispatcher.lease import LEASE_TTL, Lease
from app.dispatcher.settlement import begin, call_off, give_up, settle
from app.dispatcher.tracking import TrackedRun, Watchlist, cancellation, tracked
from app.domain.errors import NoCapacity, QuotaExceeded
from app.domain.execution import (
    OVERSTAYS_AFTER,
    EndReason,
    Executor,
    JobSpec,
    LaunchError,
    Observation,
    RunState,
    StartPostponed,
    TimeKeeping,
)
from app.domain.identity import Actor
from app.domain.job_request import JobRequest
from app.domain.job_state import JobStatus
from app.domain.scheduling import WaitingJob, explain_waits, plan_starts
from app.services import foreign_jobs, jobs, transitions
from app.services.jobs import EngineKind
from app.services.quotas import QuotaPolicy
from app.services.runs import spec_of

KILL_GRACE = timedelta(seconds=30)
LOST_AFTER = timedelta(minutes=10)
LAUNCH_DEADLINE = timedelta(minutes=2)
"""How long a run that was given GPUs may keep them while its engine cannot be asked to start it."""
STOP_AGAIN_AFTER = timedelta(minutes=2)
"""How soon an engine is asked again to stop a run that goes on."""
GOES_ON_THOUGH_STOPPED = "It went on though it was to end, and was stopped again."
GOES_ON_BEYOND_LIMIT = "It went on beyond its time limit, and was stopped."
WAITS_AGAIN = "It was put back into the engine's queue after it had begun, and was stopped: a job begins once."
INVENTORY_INTERVAL = timedelta(seconds=30)
FOREIGN_JOBS_INTERVAL = timedelta(seconds=5)
TIDY_INTERVAL = timedelta(minutes=1)
EXPLAIN_INTERVAL = timedelta(seconds=2)
RETRY_INTERVAL = timedelta(seconds=5)
"""How soon an engine that could not adopt or poll runs is asked again."""
LONGEST_TRUST = timedelta(hours=1)
"""How long an engine is believed that says of a run that nothing will change."""
LAUNCHES_AT_ONCE = 16
STOPS_AT_ONCE = 16
POLLS_AT_ONCE = 2
BATCH = 1000
MOST_STARTS = 100
"""Per tick and GPU type: an approved job that could start as well does so in the next one."""
LONGEST_QUEUE = 10_000
"""So many waiting jobs are told the reason at a time; those of a longer queue by turns."""
REFUSED_MOVE_INTERVAL = timedelta(minutes=1)
LONGEST_TICK_SECONDS = 300.0
LONGEST_BACKOFF_SECONDS = 15.0
MOST_DOUBLINGS = 16
SQLSTATE_CLASSES_OF_VALUES = ("22", "23", "GT")
"""Data exceptions, broken constraints, our own guards: trying again changes nothing, leaving out the culprit does."""

log = structlog.get_logger("dispatcher")


@dataclass(frozen=True, slots=True)
class DispatcherOptions:
    """`patience`: how long a tick waits for one answer of the engine; the answer may take `engine_timeout`."""

    tick: timedelta
    starts_by_itself: bool
    starvation_limit: timedelta
    policy: QuotaPolicy
    cancels_foreign_jobs: bool = False
    lease_ttl: timedelta = LEASE_TTL
    patience: timedelta = timedelta(seconds=0.5)
    engine_timeout: timedelta = timedelta(seconds=60)


class TermOver(Exception):
    """The lease has run out meanwhile: it is for another dispatcher to act."""


class Dispatcher:
    """One process's dispatcher. Only the one that holds the lease acts; the others wait to take over."""

    def __init__(self, database: Database, executor: Executor, options: DispatcherOptions, clock: Clock) -> None:
        self._database = database
        self._executor = executor
        self._options = options
        self._clock = clock
        self._engine = EngineKind(executor.name, executor.places_gpus)
        self._lease = Lease(database, options.lease_ttl)
        self._errands = Errands(patience=options.patience, time_limit=options.engine_timeout)
        self._launches = asyncio.Semaphore(LAUNCHES_AT_ONCE)
        self._stops = asyncio.Semaphore(STOPS_AT_ONCE)
        self._poll_numbers = count()
        self._pen = asyncio.Lock()
        """Held by the errand that writes. One after the other they neither empty the pool nor wait in a circle."""
        self._term: int | None = None
        self._unadopted: Sequence[Row[Any]] | None = None
        self._watchlist = Watchlist()
        self._stopping: dict[UUID, datetime] = {}
        """When the engine was last asked to stop them."""
        self._troubles = Backoff()
        self._postponed = Backoff()
        """Runs that their engine cannot start now. However long that lasts, it is no reason to give them up."""
        self._explained: QueuePlace = HEAD_OF_QUEUE
        self._due_at: dict[str, datetime] = {}
        self._looked_at_clock = clock()

    async def run(self) -> None:
        """Tick until cancelled. Trouble with the database or the engine is logged and tried again, never fatal.

        The lease is renewed beside the ticks, so that a long one does not lose it.
        """
        renewing = asyncio.create_task(self._lease.keep())
        failures = 0
        try:
            while True:
                try:
                    await self._tick_in_time()
                    failures = 0
                except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
                    failures += 1
                    log.warning("tick failed", error=type(error).__name__, failures=failures)
                except Exception:
                    failures += 1
                    log.exception("tick failed", failures=failures)
                await asyncio.sleep(pause_after(failures, self._options.tick))
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])
            await self._resign()

    async def _tick_in_time(self) -> None:
        """One that does not end must not keep others from trying: it is broken off, and the lease given back."""
        try:
            async with asyncio.timeout(LONGEST_TICK_SECONDS) as limit:
                await self.tick()
        finally:
            if limit.expired():
                await self._resign()

    async def tick(self) -> None:
        """One round. Public, so that tests can step through time."""
        try:
            term = await self._lease.hold()
            if term is None:
                await self._forget()
                return
            with TICK_SECONDS.time():
                if term != self._term or self._was_clock_set_back():
                    await self._take_over(term)
                await self._adopt()
                await self._notice_other_engines()
                await self._read_fleet(term)
                await self._look_for_foreign_jobs(term)
                await self._launch(term)
                await self._stop_cancelled(term)
                await self._observe(term)
                await self._start_approved(term)
                await self._explain_waits(term)
                await self._tidy()
        except BaseException:
            # What was half done is not known: the next tick reads it from the database again.
            self._term = None
            raise

    def _was_clock_set_back(self) -> bool:
        """What is due at some time would have to wait until it is that late again."""
        before, self._looked_at_clock = self._looked_at_clock, self._clock()
        return self._looked_at_clock < before

    async def _take_over(self, term: int) -> None:
        await self._forget()
        async with self._database.autocommit() as connection:
            live = await runs.live(connection, engine=self._engine.name)
        self._term, self._unadopted = term, live
        log.info("took over", term=term, runs=len(live))

    async def _forget(self) -> None:
        self._term = None
        await self._errands.abandon()
        self._unadopted = None
        self._watchlist.clear()
        self._stopping.clear()
        self._troubles.clear()
        self._postponed.clear()
        self._due_at.clear()

    async def _adopt(self) -> None:
        if self._unadopted is not None and self._is_due("adopt", RETRY_INTERVAL):
            self._errands.begin(("adopt", None), partial(self._adopt_all, self._unadopted))
        await self._errands.wait()

    async def _adopt_all(self, live: Sequence[Row[Any]]) -> None:
        """From then on they are watched, and stopped where somebody cancelled them."""
        specs = [spec_of(row) for row in live]
        crash_point("dispatcher.before-adopt")
        try:
            await self._errands.ask(partial(self._executor.adopt, specs))
        except Exception:
            log.exception("runs could not be adopted", runs=len(live))
            return
        crash_point("dispatcher.after-adopt")
        self._unadopted = None
        for row in live:
            self._watchlist.add(tracked(row))

    async def _notice_other_engines(self) -> None:
        """Nobody can say here how they do, as with runs that their engine has forgotten."""
        if not self._is_due("other engines", INVENTORY_INTERVAL):
            return
        async with self._database.autocommit() as connection:
            found = await runs.of_other_engines(connection, engine=self._engine.name)
        new = [row for row in found if self._watchlist.get(row.run_id) is None]
        if new:
            log.warning("runs of other engines are left alone", runs=dict(Counter(row.executor for row in new)))
        for row in new:
            self._watchlist.add(tracked(row))

    async def _read_fleet(self, term: int) -> None:
        if self._is_due("fleet", INVENTORY_INTERVAL):
            self._errands.begin(("inventory", None), partial(self._read_inventory, term))
            self._errands.begin(("proved gone", None), partial(self._end_quarantine, term))
        await self._errands.wait()

    async def _read_inventory(self, term: int) -> None:
        try:
            inventory = await self._errands.ask(self._executor.inventory)
        except Exception:
            log.exception("the fleet could not be read")
            return
        keeping = await self._time_keeping()
        async with self._pen, self._database.transaction() as connection:
            if await lease.fence(connection, term=term):
                now = self._clock()
                if keeping is not None:
                    await engines.note(connection, self._engine.name, keeping, now=now)
                await gpus.sync_inventory(connection, executor=self._engine.name, gpus=inventory, now=now)

    async def _time_keeping(self) -> TimeKeeping | None:
        """None: it cannot be told now, and what was told before holds."""
        try:
            return await self._errands.ask(self._executor.time_keeping)
        except Exception:
            log.exception("the engine does not tell how it keeps time limits")
            return None

    async def _end_quarantine(self, term: int) -> None:
        """By proof that nothing is left of a lost run. Of what is left, another stop may make an end."""
        async with self._database.autocommit() as connection:
            lost = await gpus.lost_runs(connection, executor=self._engine.name)
        if not lost:
            return
        try:
            gone = await self._errands.ask(partial(self._executor.proved_gone, lost))
        except Exception:
            log.exception("lost runs could not be asked about", runs=len(lost))
            return
        async with self._pen, self._database.transaction() as connection:
            if await lease.fence(connection, term=term):
                back = await gpus.end_quarantine(connection, gone, executor=self._engine.name)
                if back:
                    log.info("quarantine ended: the lost runs are proved gone", gpus=back)
        for run_id in set(lost).difference(gone, self._stopping):
            self._errands.begin(("stop", run_id), partial(self._stop, run_id))

    async def _look_for_foreign_jobs(self, term: int) -> None:
        """Where the engine has a queue of its own, a job can submit others to it."""
        if not self._engine.places_gpus and self._is_due("foreign jobs", FOREIGN_JOBS_INTERVAL):
            self._errands.begin(("foreign jobs", None), partial(self._note_foreign_jobs, term))
            await self._errands.wait()

    async def _note_foreign_jobs(self, term: int) -> None:
        try:
            named = await self._errands.ask(self._executor.named_jobs)
        except Exception as error:
            log.warning("the engine does not tell which jobs it holds", error=str(error) or type(error).__name__)
            return
        async with self._pen, self._database.transaction() as connection:
            if not await lease.fence(connection, term=term):
                return
            found = await foreign_jobs.note(connection, named, engine=self._engine.name, term=term, now=self._clock())
        if self._options.cancels_foreign_jobs:
            for row in found:
                self._errands.begin(("foreign job", row.id), partial(self._cancel_foreign_job, row, term))

    async def _cancel_foreign_job(self, row: Row[Any], term: int) -> None:
        """Once more at each look, until it is gone."""
        try:
            await self._errands.ask(partial(self._executor.cancel_foreign_job, row.engine_job_id), self._stops)
        except Exception as error:
            log.warning("a foreign job cannot be cancelled", engine_job_id=row.engine_job_id, error=str(error))
            return
        async with self._pen, self._database.transaction() as connection:
            if await lease.fence(connection, term=term):
                await foreign_jobs.note_cancelled(connection, row, term=term, now=self._clock())

    async def _launch(self, term: int) -> None:
        async with self._database.autocommit() as connection:
            decided = await runs.to_launch(connection, engine=self._engine.name, limit=BATCH)
        for row in decided:
            name, now = ("launch", row.run_id), self._clock()
            if self._troubles.is_due(name, now) and self._postponed.is_due(row.run_id, now):
                self._errands.begin(name, partial(self._launch_one, row, term))
        await self._errands.wait()

    async def _launch_one(self, row: Row[Any], term: int) -> None:
        run = tracked(row)
        if row.approved_digest not in (None, JobRequest.of(row).digest):
            log.error("a job is not launched: it is not what was approved", job_id=row.id)
            message = "What stands in the database is not what was approved, and was not launched."
            await self._write(_ending(run, give_up(run, EndReason.LOST, message)), term)
            return
        crash_point("dispatcher.before-launch")
        try:
            await self._errands.ask(partial(self._start, spec_of(row), term), self._launches)
        except TermOver:
            return
        except StartPostponed as postponed:
            if self._postponed.failed(run.run_id, self._clock()):
                log.warning("a start is postponed", job_id=row.id, reason=str(postponed))
            await self._write([], term, reports=[_report(run.run_id, _waits_because_of(postponed))])
            return
        except LaunchError as error:
            end = give_up(run, EndReason.LAUNCH_FAILURE, storable(str(error)))
            await self._write(_ending(run, end), term)
            return
        except Exception as error:
            is_first = self._note_failure("launch", run.run_id, error)
            if is_first and not self._engine.places_gpus:
                await self._write([], term, reports=[_report(run.run_id, _waits_because_of(error))])
            await self._lose_if_late("launch", run, "The engine could not be asked to start this run.", term)
            return
        crash_point("dispatcher.after-launch")
        await self._note_launched(run, term)
        crash_point("dispatcher.after-note")

    async def _start(self, spec: JobSpec, term: int) -> None:
        """Looked at in the last moment: the successor may have settled this run, and its engine forgotten it."""
        if self._lease.term != term:
            raise TermOver
        await self._executor.start(spec)

    def _note_failure(self, what: str, run_id: UUID, error: Exception) -> bool:
        """Whether it is the first one, which is logged with all that is known of it."""
        is_first = self._troubles.failed((what, run_id), self._clock())
        if is_first:
            log.error(f"{what} failed", run_id=str(run_id), exc_info=error)
        else:
            log.warning(f"{what} failed again", run_id=str(run_id), error=str(error) or type(error).__name__)
        return is_first

    async def _lose_if_late(self, what: str, run: TrackedRun, message: str, term: int) -> None:
        """A run that waits for its engine keeps GPUs from others, where we have given them to it; else it can wait."""
        since = self._troubles.since((what, run.run_id))
        if self._engine.places_gpus and since is not None and self._clock() - since >= LAUNCH_DEADLINE:
            await self._write(_ending(run, give_up(run, EndReason.LOST, message)), term)

    async def _note_launched(self, run: TrackedRun, term: int) -> None:
        self._troubles.forget(("launch", run.run_id))
        self._postponed.forget(run.run_id)
        async with self._pen, self._database.autocommit() as connection:
            await runs.note_launched(connection, run.run_id, term=term, now=self._clock())
        self._watchlist.add(run)

    async def _stop_cancelled(self, term: int) -> None:
        async with self._database.autocommit() as connection:
            cancelled = await runs.to_stop(connection, engine=self._engine.name)
        for row in cancelled:
            if (run := self._watchlist.get(row.run_id)) is not None:
                run.cancelled_as = cancellation(row)
            if row.run_id in self._stopping or not self._troubles.is_due(("stop", row.run_id), self._clock()):
                continue
            if run is not None:
                self._errands.begin(("stop", row.run_id), partial(self._stop, row.run_id))
            elif row.launched_at is None and ("launch", row.run_id) not in self._errands:
                self._errands.begin(("stop", row.run_id), partial(self._call_off, row, term))
        await self._errands.wait()

    async def _stop(self, run_id: UUID) -> bool:
        crash_point("dispatcher.before-stop")
        try:
            await self._errands.ask(partial(self._executor.stop, run_id, KILL_GRACE), self._stops)
        except Exception as error:
            self._note_failure("stop", run_id, error)
            return False
        crash_point("dispatcher.after-stop")
        self._troubles.forget(("stop", run_id))
        self._stopping[run_id] = self._clock()
        self._watchlist.ask_again(run_id, self._clock())
        return True

    async def _call_off(self, row: Row[Any], term: int) -> None:
        """A cancelled run that no engine has confirmed. After a stop it never begins; it may have, before a crash."""
        run = tracked(row)
        if not await self._stop(row.run_id):
            await self._lose_if_late("stop", run, "The engine could not be asked to stop this run.", term)
            return
        try:
            seen = await self._errands.ask(partial(self._executor.poll, [row.run_id]), self._stops)
        except Exception:
            log.exception("a cancelled run could not be observed", job_id=row.id, run_id=str(row.run_id))
            self._stopping.pop(row.run_id, None)
            return
        if row.run_id in seen:
            await self._note_launched(run, term)
        else:
            await self._write([call_off(run, cancellation(row))], term)

    async def _observe(self, term: int) -> None:
        now = self._clock()
        due = self._watchlist.take_due(now)
        if strangers := [run_id for run_id in due if not self._is_ours(run_id)]:
            await self._note(strangers, {}, now=now, term=term)
        for batch in _batches([run_id for run_id in due if self._is_ours(run_id)]):
            if self._errands.count("poll") < POLLS_AT_ONCE:
                self._errands.begin(("poll", next(self._poll_numbers)), partial(self._poll, batch, now, term))
                await self._errands.wait()
            else:
                self._ask_again(batch, now)

    async def _poll(self, batch: Sequence[UUID], now: datetime, term: int) -> None:
        try:
            seen = await self._errands.ask(partial(self._executor.poll, batch))
        except Exception:
            log.exception("runs could not be observed", runs=len(batch))
            self._ask_again(batch, now + RETRY_INTERVAL)
            return
        await self._note(batch, seen, now=now, term=term)

    def _ask_again(self, batch: Sequence[UUID], at: datetime) -> None:
        for run_id in batch:
            self._watchlist.ask_again(run_id, at)

    async def _note(
        self, asked: Collection[UUID], seen: Mapping[UUID, Observation], *, now: datetime, term: int
    ) -> None:
        moves: list[Move] = []
        reports: list[dict[str, Any]] = []
        unknown: list[UUID] = []
        for run_id in asked:
            run = self._watchlist.get(run_id)
            if run is None:
                continue
            observation = admissible(seen[run_id]) if run_id in seen else None
            if observation is None:
                if run.unknown_since is None:
                    run.unknown_since = now
                    unknown.append(run_id)
                moves.extend(self._unknown(run, run.unknown_since, now))
                continue
            run.unknown_since = None
            run.measured_seconds = max(run.measured_seconds, _measured_seconds(observation))
            if observation.state is RunState.ENDED:
                if observation.placement or observation.engine_job_id:
                    reports.append(_report(run_id, observation))
                moves.extend(_ending(run, settle(run, observation), observation.started_at))
                continue
            if run.status is JobStatus.APPROVED and observation.state is RunState.RUNNING:
                moves.append(begin(run, observation.started_at))
                run.status = JobStatus.RUNNING
            if (why := self._why_to_stop(run, observation, now)) is not None:
                log.error("a run is stopped", job_id=run.job_id, run_id=str(run_id), why=why)
                run.stopped_for = why
                self._errands.begin(("stop", run_id), partial(self._stop, run_id))
            reports.append(_report(run_id, observation))
            self._watchlist.ask_again(run_id, min(observation.unchanged_until or now, now + LONGEST_TRUST))
        await self._write(moves, term, reports=reports, unknown=unknown)

    def _why_to_stop(self, run: TrackedRun, seen: Observation, now: datetime) -> str | None:
        """The second line behind every limit and every stop: an engine that does not keep one is asked again.

        One with a queue of its own may have suspended the run, or given it more time: then its limit is its own affair.
        A run that is in that queue once more was put there by somebody else, perhaps by itself.
        """
        if not self._troubles.is_due(("stop", run.run_id), now):
            return None
        if (asked_at := self._stopping.get(run.run_id)) is not None:
            return run.stopped_for or GOES_ON_THOUGH_STOPPED if now - asked_at >= STOP_AGAIN_AFTER else None
        if self._engine.places_gpus:
            return GOES_ON_BEYOND_LIMIT if seen.elapsed > run.longest_hold + OVERSTAYS_AFTER else None
        waits_again = run.status is JobStatus.RUNNING and seen.state is RunState.STARTING
        return WAITS_AGAIN if waits_again else None

    def _is_ours(self, run_id: UUID) -> bool:
        run = self._watchlist.get(run_id)
        return run is None or run.engine == self._engine.name

    def _unknown(self, run: TrackedRun, since: datetime, now: datetime) -> Sequence[Move]:
        """Not knowing a run is not its end. After a long while it is given up, and its GPUs are kept aside."""
        if now - since < LOST_AFTER:
            self._watchlist.ask_again(run.run_id, now + self._options.tick)
            return []
        message = "The engine no longer knows this run."
        if not self._is_ours(run.run_id):
            message = f'This run belonged to the engine "{run.engine}", and "{self._engine.name}" has taken its place.'
        return _ending(run, give_up(run, EndReason.LOST, message))

    async def _write(
        self,
        moves: Sequence[Move],
        term: int,
        *,
        reports: Sequence[dict[str, Any]] = (),
        unknown: Collection[UUID] = (),
    ) -> None:
        """Reports before moves: nothing is noted any more of a job that is final."""
        async with self._pen:
            if reports or unknown:
                async with self._database.autocommit() as connection:
                    if reports:
                        await runs.note_reports(connection, reports, term=term, now=self._clock())
                    if unknown:
                        await runs.note_unknown(connection, unknown, term=term, now=self._clock())
            await self._apply(moves, term)

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
        if not moved.issuperset(move.job_id for move in moves):
            log.warning("moves were refused: others were faster, or the term is over", term=term)
        for move in moves:
            if move.reason is not None and move.run_id is not None:
                self._end(move, move.run_id, has_moved=move.job_id in moved)

    def _end(self, move: Move, run_id: UUID, *, has_moved: bool) -> None:
        """What was lost may still run: as far as the engine can, it ends that, too."""
        run = self._watchlist.get(run_id)
        self._watchlist.discard([run_id])
        self._stopping.pop(run_id, None)
        for what in ("launch", "stop"):
            self._troubles.forget((what, run_id))
        self._postponed.forget(run_id)
        if not has_moved:
            return
        log.info("job ended", job_id=move.job_id, status=move.to_status, reason=move.reason)
        if move.reason is EndReason.LOST and (run is None or run.engine == self._engine.name):
            self._errands.begin(("stop", run_id), partial(self._stop, run_id))

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
        """Where the engine has a queue of its own, it decides which GPUs are free."""
        if not self._options.starts_by_itself:
            return
        now, starvation_limit = self._clock(), self._options.starvation_limit
        async with self._database.autocommit() as connection:
            types = await gpus.types(connection)
            free = {row.name: row.free if self._engine.places_gpus else MOST_STARTS for row in types}
            rows = await runs.candidates(
                connection, free, starved_since=now - starvation_limit, now=now, limit=MOST_STARTS
            )
        queue = [WaitingJob(row.id, row.gpu_type, row.num_gpus, row.decided_at, lacks_quota=False) for row in rows]
        for job_id in plan_starts(queue, free, now=now, starvation_limit=starvation_limit):
            await self._start_one(job_id, term)
        if queue:
            await self._launch(term)

    async def _start_one(self, job_id: int, term: int) -> None:
        try:
            async with self._database.transaction() as connection:
                if not await lease.fence(connection, term=term):
                    return
                job = await job_queries.lock(connection, job_id)
                if job is None or job.status != JobStatus.APPROVED or job.run_id is not None:
                    return
                await jobs.launch(
                    connection,
                    job,
                    actor=Actor.dispatcher(term),
                    engine=self._engine,
                    policy=self._options.policy,
                    now=self._clock(),
                    term=term,
                )
                crash_point("dispatcher.before-start-commit")
            crash_point("dispatcher.after-start-commit")
        except (NoCapacity, QuotaExceeded) as refusal:
            log.info("start put off", job_id=job_id, code=refusal.code)

    async def _explain_waits(self, term: int) -> None:
        """Of a queue that is longer than one reading, the next part each time."""
        if not self._is_due("explain", EXPLAIN_INTERVAL):
            return
        async with self._database.autocommit() as connection:
            rows = await runs.queue(connection, after=self._explained, now=self._clock(), limit=LONGEST_QUEUE)
            free = {row.name: row.free for row in await gpus.types(connection)} if rows else {}
        queue = [WaitingJob(row.id, row.gpu_type, row.num_gpus, row.decided_at, row.lacks_quota) for row in rows]
        reasons = explain_waits(queue, free, starts_by_itself=self._options.starts_by_itself)
        known = {row.id: row.wait_reason for row in rows}
        news = {job_id: reason for job_id, reason in reasons.items() if known[job_id] != reason}
        if news:
            async with self._database.autocommit() as connection:
                await runs.explain(connection, news, term=term)
        is_last = len(rows) < LONGEST_QUEUE
        self._explained = HEAD_OF_QUEUE if is_last else QueuePlace(rows[-1].gpu_type, rows[-1].decided_at, rows[-1].id)

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
        """What is under way is left to the next dispatcher."""
        await self._forget()
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
        "measured_seconds": _measured_seconds(seen),
        "queue_reason": seen.queue_reason,
        "expected_start_at": seen.expected_start_at.isoformat() if seen.expected_start_at else None,
        "placement": seen.placement,
        "engine_job_id": seen.engine_job_id,
    }


def _measured_seconds(seen: Observation) -> int:
    """How long the command has run for certain. One that starts may never begin."""
    return math.floor(seen.elapsed.total_seconds()) if seen.state is RunState.RUNNING else 0


def _waits_because_of(error: Exception) -> Observation:
    return Observation(RunState.STARTING, queue_reason=storable(str(error) or type(error).__name__))


def _ending(run: TrackedRun, end: Move, started_at: datetime | None = None) -> Sequence[Move]:
    """A run that was never seen running has to begin before it can end, but not to be cancelled in a queue."""
    if run.status is not JobStatus.APPROVED:
        return [end]
    if end.to_status is JobStatus.CANCELLED and started_at is None and not end.charged_seconds:
        return [replace(end, from_status=JobStatus.APPROVED)]
    return [begin(run, started_at), end]


def _sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _batches(run_ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    return [run_ids[begin_at : begin_at + BATCH] for begin_at in range(0, len(run_ids), BATCH)]
