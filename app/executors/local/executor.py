"""An executor that runs jobs as processes of this machine.

It remembers nothing that matters: what it tells of a run stands in the run's directory, where a wrapper process of its
own keeps it (see `wrapper.py`). So a dispatcher may die at any moment, and the next one knows as much.

Files, drivers and `/proc` can make their reader wait, so that all of it is done in threads. A driver that hangs holds
up nothing but its own one.
"""

import asyncio
import errno
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from signal import SIGCONT, SIGKILL, SIGTERM, Signals
from typing import TypeVar
from uuid import UUID

import structlog

from app.core.clock import Clock
from app.core.crash_points import crash_point
from app.domain.execution import (
    GpuInfo,
    GpuSlot,
    JobSpec,
    LaunchError,
    LogChunk,
    LogUnavailable,
    NamedJob,
    Observation,
    RunState,
    StartPostponed,
    TimeKeeping,
    UtilisationSample,
)
from app.executors.local import processes, samples
from app.executors.local.devices import Device, Devices, Reading
from app.executors.local.disk import DiskWatch
from app.executors.local.driver_thread import DriverThread
from app.executors.local.ends import end_by_evidence, end_by_verdict
from app.executors.local.launch import WrapperBroken, launch_wrapper
from app.executors.local.log import read as read_log
from app.executors.local.retention import delete_old_runs
from app.executors.local.run_directory import RunDirectory, Started
from app.executors.local.spec import LocalOptions, describe, slots_in

POLL_INTERVAL = timedelta(seconds=0.5)
LONGEST_POLL_INTERVAL = timedelta(seconds=1)
POLLS_PER_SECOND = 400
"""Of all running runs together: beyond, each is looked at less often."""
SHORTAGES = frozenset({errno.EAGAIN, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC})
"""What a machine may lack now and have later; no job is to blame for it."""
STARTING_INTERVAL = timedelta(milliseconds=50)
RELAUNCH_AFTER = timedelta(seconds=5)
KILL_PATIENCE_SECONDS = 10.0
OBEDIENCE_PATIENCE = timedelta(seconds=5)
"""How long after a run should be over its wrapper is reminded."""
REMINDED_PATIENCE_SECONDS = 25.0
"""How long after that it is killed: longer than a wrapper needs that kills what it should."""
DISK_GRACE = timedelta(seconds=5)
"""How long a run has to end in order that fills the disk: it may go on to do so."""
RETENTION_INTERVAL_SECONDS = 3600.0
DRIVER_PATIENCE_SECONDS = 10.0
DRIVER_IS_SILENT = "The driver does not answer."

T = TypeVar("T")

log = structlog.get_logger("local")


@dataclass(slots=True)
class _Running:
    """A run under way, and how long it may take with its grace."""

    slots: Sequence[GpuSlot]
    started: Started
    longest_seconds: float = math.inf
    sample_due_at: float = 0.0
    """By the clock of the process, as the next one."""
    reminded_at: float | None = None
    """Of its end."""


class LocalExecutor:
    name = "local"
    places_gpus = True

    def __init__(self, devices: Devices, options: LocalOptions, clock: Clock) -> None:
        self._devices = devices
        self._options = options
        self._clock = clock
        self._known: Sequence[Device] = devices.list()
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="local-runs")
        self._launchers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="local-launches")
        self._driver = DriverThread()
        self._driver_is_back: Future[None] | None = None
        self._starting: dict[UUID, asyncio.Future[None]] = {}
        self._running: dict[UUID, _Running] = {}
        self._undertaker = ThreadPoolExecutor(max_workers=2, thread_name_prefix="local-lost-runs")
        self._burials: dict[UUID, Future[None]] = {}
        self._measured_at = 0.0
        self._disk = DiskWatch(options.runs_dir, options.disk)
        self._disk_watchers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-disk")
        self._disk_look: Future[None] | None = None
        self._tidy_at = time.monotonic() + RETENTION_INTERVAL_SECONDS
        """Not at once: a run that ended while nobody was there has to be settled before it is deleted."""

    async def inventory(self) -> Sequence[GpuInfo]:
        """See `Executor`. A driver that does not answer takes all of its GPUs out of reach."""
        if time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + RETENTION_INTERVAL_SECONDS
            self._undertaker.submit(self._tidy)
        try:
            self._known = await self._ask_driver(self._devices.list)
        except TimeoutError:
            log.warning("the GPU driver does not answer")
            return [replace(device.info, offline_reason=DRIVER_IS_SILENT) for device in self._known]
        return await self._in_thread(lambda: [self._with_strangers(device) for device in self._known])

    def _tidy(self) -> None:
        try:
            options = self._options
            delete_old_runs(options.runs_dir, self._clock(), keep=options.keep_runs, keep_bytes=options.keep_runs_bytes)
        except Exception:
            log.exception("old runs could not be looked for")

    def _with_strangers(self, device: Device) -> GpuInfo:
        foreign = any(not self._is_ours(pid, device.info.slot) for pid in device.compute_pids)
        return replace(device.info, contended=foreign)

    def _is_ours(self, pid: int, slot: GpuSlot) -> bool:
        """Whether the process belongs to a run under way that holds this GPU. One that we cannot see does not."""
        run_id = processes.run_of(pid)
        if run_id is None:
            return False
        directory = self._directory(run_id)
        described = directory.spec()
        return described is not None and slot in slots_in(described) and not directory.is_over()

    async def time_keeping(self) -> TimeKeeping:
        """Until a wrapper that keeps no limit is killed, too: what a job does to it is not to pay."""
        to_obedience = OBEDIENCE_PATIENCE.total_seconds() + REMINDED_PATIENCE_SECONDS
        return TimeKeeping(ending_seconds=math.ceil(self._options.kill_grace.total_seconds() + to_obedience))

    async def start(self, spec: JobSpec) -> None:
        """See `Executor`. Several calls at once for one run are one."""
        starting = self._starting.get(spec.run_id)
        if starting is None:
            loop = asyncio.get_running_loop()
            starting = self._starting[spec.run_id] = loop.run_in_executor(self._launchers, self._start, spec)
            starting.add_done_callback(lambda _: self._starting.pop(spec.run_id, None))
        await asyncio.shield(starting)

    def _start(self, spec: JobSpec) -> None:
        directory = self._directory(spec.run_id)
        if directory.has_begun() or directory.is_over():
            return
        if (shortage := self._disk.shortage()) is not None:
            raise StartPostponed(shortage)
        try:
            self._describe_and_launch(directory, spec)
        except LaunchError:
            with suppress(OSError):  # so that it also never begins by a dispatcher that was overtaken in its midst
                directory.ask_to_stop(timedelta(0))
            raise

    def _describe_and_launch(self, directory: RunDirectory, spec: JobSpec) -> None:
        if not directory.is_described():
            try:
                directory.make()
                self._refuse_wrong_slots(spec)
                self._prepare(directory, spec)
            except OSError as error:
                # No wrapper is started without a description, and nobody has written one.
                kind = StartPostponed if error.errno in SHORTAGES else LaunchError
                raise kind(f"The run's directory could not be written: {error.strerror}.") from error
        crash_point("local.before-spawn")
        self._launch(directory)
        crash_point("local.after-spawn")

    def _refuse_wrong_slots(self, spec: JobSpec) -> None:
        if len(spec.slots) != spec.num_gpus:
            raise LaunchError(f"The run needs {spec.num_gpus} GPUs and was given {len(spec.slots)}.")
        known = {device.info.slot for device in self._known}
        for slot in spec.slots:
            if slot not in known:
                raise LaunchError(f"This machine has no GPU {slot.uuid} at {slot.node}:{slot.index}.")

    def _prepare(self, directory: RunDirectory, spec: JobSpec) -> None:
        user = self._options.users.of(spec)
        directory.make_work(None if user is None else (user.uid, user.gid))
        directory.write_spec(describe(spec, user, directory, self._devices, self._options))

    def _launch(self, directory: RunDirectory) -> None:
        try:
            launch_wrapper(directory)
        except WrapperBroken as problem:
            directory.forget_spec()  # a wrapper that nobody knows of would find nothing to run
            if directory.has_begun():
                return
            raise StartPostponed(f"The run could not be started on this machine: {problem}.") from problem

    async def adopt(self, specs: Collection[JobSpec]) -> None:  # noqa: ARG002 - their directories tell everything
        """Forget what was watched in an earlier term: it may have ended since, and nobody will ask about it."""
        self._running.clear()

    async def poll(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        if not run_ids:
            return {}
        observations = await self._in_thread(lambda: self._look_at_all(run_ids))
        await self._take_samples()
        self._watch_disk()
        return observations

    def _look_at_all(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        """A run whose files say nothing that makes sense is unknown. Raises if not one of them can be read."""
        observations: dict[UUID, Observation] = {}
        unreadable: OSError | None = None
        for run_id in run_ids:
            try:
                observation = self._look_at(run_id)
            except OSError as error:
                log.warning("a run cannot be read", run=str(run_id), problem=error.strerror)
                unreadable = error
                continue
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                log.warning("the files of a run are spoiled", run=str(run_id), problem=repr(error))
                continue
            if observation is not None:
                observations[run_id] = observation
            if observation is None or observation.state is RunState.ENDED:
                self._running.pop(run_id, None)
                self._burials.pop(run_id, None)
        if unreadable is not None and not observations:
            raise unreadable
        return observations

    def _look_at(self, run_id: UUID) -> Observation | None:
        directory = self._directory(run_id)
        if (observation := self._end_of(directory)) is not None:
            return observation
        has_begun = directory.has_begun()  # asked before the lock: a wrapper that comes in between is not a dead one
        if directory.is_held():
            run = self._run_under_way(run_id, directory)
            if run is None:
                return self._is_starting()
            self._see_to_its_end(run_id, run, directory)
            return self._is_running(run_id, run.started)
        # Whatever its wrapper had to say before it let go of the lock is there by now.
        if (observation := self._end_of(directory)) is not None:
            return observation
        if has_begun:
            self._bury(run_id)
            run = self._run_under_way(run_id, directory)
            return self._is_running(run_id, None if run is None else run.started)
        return self._not_begun(run_id, directory)

    def _end_of(self, directory: RunDirectory) -> Observation | None:
        """The proved end of a run. One with survivors has none before it is clear whether they can be killed."""
        evidence = directory.evidence()
        is_proved = evidence is not None and not evidence["survivors"]
        verdict = None if is_proved else directory.verdict()
        if evidence is not None and (is_proved or (verdict is not None and verdict["gone"])):
            return end_by_evidence(evidence, directory.started())
        if verdict is not None:
            return end_by_verdict(verdict, directory.started())
        if evidence is not None:
            self._bury(UUID(directory.path.name))
        return None

    def _run_under_way(self, run_id: UUID, directory: RunDirectory) -> _Running | None:
        if (known := self._running.get(run_id)) is not None:
            return known
        started = directory.started()
        if started is None:
            return None
        run = _Running((), started)
        if (described := directory.spec()) is not None:
            longest_seconds = described["time_limit_seconds"] + described["kill_grace_seconds"]
            run = _Running(slots_in(described), started, longest_seconds)
        self._running[run_id] = run
        return run

    def _see_to_its_end(self, run_id: UUID, run: _Running, directory: RunDirectory) -> None:
        """A wrapper that is frozen or hangs keeps neither a limit nor a stop: it is reminded, and in the end killed.

        One that has nothing left to end waits for the disk, and is left alone.
        """
        stopped_before = directory.stopped_before()
        overdue = timedelta(seconds=max(-1.0, processes.age_seconds(run.started.start_ticks) - run.longest_seconds))
        if stopped_before is not None:
            overdue = max(overdue, self._clock() - stopped_before)
        if overdue < OBEDIENCE_PATIENCE:
            return
        if run.reminded_at is None:
            run.reminded_at = time.monotonic()
            log.warning("a run should be over, and its wrapper is reminded", run=directory.path.name)
            if stopped_before is not None:
                directory.ask_to_stop(timedelta(0), again=True)
            for number in (SIGCONT, SIGTERM):
                _signal(run.started, number)
        elif time.monotonic() - run.reminded_at >= REMINDED_PATIENCE_SECONDS:
            self._in_background(run_id, lambda: self._kill_wrapper(directory, run.started))

    def _kill_wrapper(self, directory: RunDirectory, started: Started) -> None:
        if processes.leftovers(directory.path):
            log.error("a run should be over, and its wrapper is killed", run=directory.path.name)
            _signal(started, SIGKILL)
            processes.kill_leftovers(directory.path, patience_seconds=KILL_PATIENCE_SECONDS)

    def _is_starting(self) -> Observation:
        return Observation(RunState.STARTING, unchanged_until=self._clock() + STARTING_INTERVAL)

    def _is_running(self, run_id: UUID, started: Started | None) -> Observation:
        now = self._clock()
        crowded = timedelta(seconds=len(self._running) / POLLS_PER_SECOND)
        interval = min(LONGEST_POLL_INTERVAL, max(POLL_INTERVAL, crowded))
        phase = run_id.int % 1000 / 1000
        return Observation(
            RunState.RUNNING,
            timedelta(0) if started is None else _time_since(started, now),
            started_at=None if started is None else started.at,
            unchanged_until=now + interval * (0.75 + phase / 4),
        )

    def _not_begun(self, run_id: UUID, directory: RunDirectory) -> Observation | None:
        """One that was described should be taken at once. If its wrapper died before it could, it gets another."""
        described_at = directory.written_at("spec.json")
        if described_at is None:
            return None
        if self._clock() - described_at > RELAUNCH_AFTER:
            self._in_background(run_id, lambda: self._relaunch(directory))
        return self._is_starting()

    def _relaunch(self, directory: RunDirectory) -> None:
        """Should that fail, the run is looked at again, and so is the next try."""
        try:
            launch_wrapper(directory)
        except WrapperBroken as problem:
            log.warning("the run wrapper could not be started", run=directory.path.name, problem=str(problem))

    def _bury(self, run_id: UUID) -> None:
        """Kill what a dead wrapper left, and write down that the run is lost; in a thread, for it can take seconds."""
        self._in_background(run_id, lambda: self._kill_and_write_verdict(self._directory(run_id)))

    def _kill_and_write_verdict(self, directory: RunDirectory) -> None:
        """A verdict stays: of what is dead by now, a second look would no longer find how long it held its GPUs."""
        if (verdict := directory.verdict()) is not None and verdict["gone"]:
            return
        started = directory.started()
        node_failed = started is not None and started.boot_id != processes.boot_id()
        alive = not node_failed and bool(processes.leftovers(directory.path))
        gone = node_failed or processes.kill_leftovers(directory.path, patience_seconds=KILL_PATIENCE_SECONDS)
        directory.write_verdict({"gone": gone, "at": time.time(), "node_failed": node_failed, "was_alive": alive})
        log.warning("a run lost its wrapper", run=directory.path.name, node_failed=node_failed, gone=gone)

    def _in_background(self, run_id: UUID, work: Callable[[], None]) -> None:
        """Once at a time for each run. What fails is tried again when the run is looked at again."""
        under_way = self._burials.get(run_id)
        if under_way is None or under_way.done():
            if under_way is not None and (error := under_way.exception()) is not None:
                log.error("a run could not be cleared up", run=str(run_id), error=repr(error))
            self._burials[run_id] = self._undertaker.submit(work)

    def _watch_disk(self) -> None:
        """One look at a time: it can take long, and nobody waits for it."""
        if self._running and (self._disk_look is None or self._disk_look.done()):
            self._disk_look = self._disk_watchers.submit(self._end_what_fills_the_disk)

    def _end_what_fills_the_disk(self) -> None:
        try:
            for run_id, why in self._disk.look(tuple(self._running.copy())).items():
                log.warning("a run is ended", run=str(run_id), why=why)
                directory = self._directory(run_id)
                directory.ask_to_stop(DISK_GRACE, disk=why)
                if (started := directory.started()) is not None and directory.is_held():
                    _signal(started, SIGTERM)
        except Exception:
            log.exception("the disk could not be looked after")

    async def stop(self, run_id: UUID, grace: timedelta) -> None:
        await self._in_thread(lambda: self._stop(run_id, grace))

    def _stop(self, run_id: UUID, grace: timedelta) -> None:
        """First the wish, then the signal that makes the wrapper look for it: no wrapper can miss both."""
        directory = self._directory(run_id)
        if self._end_of(directory) is not None and not self._has_survivors(directory):
            return
        directory.make()
        directory.ask_to_stop(grace)
        started = directory.started()
        if started is not None and directory.is_held():
            _signal(started, SIGTERM)
        elif started is not None:
            self._bury(run_id)

    def _has_survivors(self, directory: RunDirectory) -> bool:
        verdict = directory.verdict()
        return verdict is not None and not verdict["gone"]

    async def named_jobs(self) -> Collection[NamedJob]:
        """There are none: only the service submits to it."""
        return ()

    async def cancel_foreign_job(self, engine_job_id: str) -> None:
        """Does nothing: there are none."""

    async def proved_gone(self, run_ids: Collection[UUID]) -> Collection[UUID]:
        gone = await self._in_thread(lambda: [run_id for run_id in run_ids if self._has_no_process(run_id)])
        try:
            self._known = await self._ask_driver(self._devices.list)
        except TimeoutError:
            return ()
        computing = {device.info.slot for device in self._known if device.compute_pids or device.info.offline_reason}
        return [run_id for run_id in gone if computing.isdisjoint(self._slots_of(run_id))]

    def _has_no_process(self, run_id: UUID) -> bool:
        """Nothing of it lives, and nothing of it can begin any more."""
        directory = self._directory(run_id)
        if not directory.is_over():
            self._stop(run_id, timedelta(0))
        return not directory.is_held() and processes.kill_leftovers(directory.path, patience_seconds=0)

    def _slots_of(self, run_id: UUID) -> Sequence[GpuSlot]:
        described = self._directory(run_id).spec()
        return () if described is None else slots_in(described)

    async def read_log(
        self,
        spec: JobSpec,
        *,
        ended_at: datetime | None,
        progress: float | None = None,  # noqa: ARG002 - the log is a file, which only grows
        offset: int,
        limit: int,
    ) -> LogChunk:
        return await self._in_thread(lambda: self._read_log(spec.run_id, ended_at is not None, offset, limit))

    def _read_log(self, run_id: UUID, is_final: bool, offset: int, limit: int) -> LogChunk:
        """Whether the run is over is asked first, so that a log which is told to be complete is."""
        directory = self._directory(run_id)
        complete = is_final or directory.is_over()
        if not directory.path.is_dir():
            if complete:
                raise LogUnavailable(str(directory.path))
            return LogChunk(offset, b"", size=0, complete=False)
        return read_log(directory.path, offset=offset, limit=limit, complete=complete)

    async def read_utilisation(
        self,
        spec: JobSpec,
        *,
        ended_at: datetime | None,  # noqa: ARG002 - the samples end by themselves
        limit: int,
    ) -> Sequence[UtilisationSample]:
        return await self._in_thread(lambda: samples.read(self._directory(spec.run_id).samples, spec.slots, limit))

    async def _take_samples(self) -> None:
        """Look at the GPUs of all running runs, where it is time to."""
        now = time.monotonic()
        if not self._running or now - self._measured_at < samples.SHORTEST_INTERVAL.total_seconds():
            return
        self._measured_at = now
        try:
            slots = {run_id: run.slots for run_id, run in self._running.copy().items()}
            measured = await self._ask_driver(lambda: self._devices.measure(slots))
        except TimeoutError:
            return
        await self._in_thread(lambda: self._keep_samples(measured, self._clock(), now))

    def _keep_samples(self, measured: Mapping[UUID, Mapping[GpuSlot, Reading]], at: datetime, now: float) -> None:
        for run_id, readings in measured.items():
            run = self._running.get(run_id)
            if run is None or now < run.sample_due_at or not readings:
                continue
            run.sample_due_at = now + 0.9 * samples.interval_for(at - run.started.at).total_seconds()
            try:
                samples.append(self._directory(run_id).samples, at, run.slots, readings)
            except OSError as error:
                log.warning("a sample was lost", run=str(run_id), problem=error.strerror)

    def _directory(self, run_id: UUID) -> RunDirectory:
        return RunDirectory(self._options.runs_dir / str(run_id))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _ask_driver(self, question: Callable[[], T]) -> T:
        """Once it was silent for so long, nobody waits for it again until it has answered what it was asked then.

        Raises:
            TimeoutError: the driver does not answer.
        """
        if self._driver_is_back is not None and not self._driver_is_back.done():
            raise TimeoutError
        answer = asyncio.wrap_future(self._driver.submit(question))
        try:
            return await asyncio.wait_for(answer, DRIVER_PATIENCE_SECONDS)
        except TimeoutError:
            self._driver_is_back = self._driver.submit(lambda: None)
            raise


def _time_since(started: Started, now: datetime) -> timedelta:
    """How long a run has been under way. A clock that was set forward meanwhile makes it no longer than it is."""
    at_most = timedelta(seconds=processes.age_seconds(started.start_ticks))
    return max(timedelta(0), min(now - started.at, at_most))


def _signal(started: Started, number: Signals) -> None:
    """To the wrapper that took the run, and to no other process that has its number now."""
    processes.signal_process(started.pid, started.start_ticks, started.boot_id, number)
