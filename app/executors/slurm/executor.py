"""Runs jobs on a Slurm cluster, by its own commands.

Slurm places the GPUs, keeps the limits and does the accounting. This module sees to it that a run is submitted once,
asks for all runs together, and believes an end only where Slurm proves it.

**Once.** `sbatch` may fail, or be killed with the dispatcher, and still have made a job. So the attempt is noted before
it is made (`run_files`), and only who makes that note submits without a look. Everybody else looks for the run's name
in `squeue` and in `sacct` first: among the jobs of the user whom it was submitted as, since others can give theirs any
name. Where neither has it, nothing is concluded before every `sbatch` of earlier attempts
is surely dead (`CommandRunner.run_once`) and what it sent is long answered; until then `start` says that it does not
know. Should Slurm hold two jobs of one run even so, the first to begin runs the command and the other refuses
(`submission`).
docs/decisions/0013 has the whole argument.

**Ends.** A job that Slurm's controller shows as ended is settled from the accounts (`sacct`), which measure how long it
held on to its GPUs; from the controller's own record where there are no accounts, or none in time. A job that neither
knows is unknown, which is no end.
"""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from secrets import token_hex
from time import monotonic
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from app.core.clock import Clock
from app.core.crash_points import crash_point
from app.domain.execution import (
    GpuInfo,
    JobSpec,
    LaunchError,
    LogChunk,
    LogUnavailable,
    NamedJob,
    Observation,
    RunState,
    TimeKeeping,
    UtilisationSample,
)
from app.executors.slurm import accounting, foreign, limits, nodes, queue
from app.executors.slurm.accounts import Sudo, account_of, as_user, home_of, own_account
from app.executors.slurm.commands import CommandFailed, CommandRunner, CommandTrouble, failure
from app.executors.slurm.job import LONGEST_SETUP, SlurmJob, by_run, held_in_all, most_telling, name_of, run_of
from app.executors.slurm.observations import observe, observe_end
from app.executors.slurm.options import SlurmOptions
from app.executors.slurm.refusals import refusal
from app.executors.slurm.run_files import RunFiles, Submitted
from app.executors.slurm.submission import options as sbatch_options
from app.executors.slurm.submission import parse_parsable, script

SHORTEST_LOOK_INTERVAL_SECONDS = 1.0
LONGEST_LOOK_INTERVAL_SECONDS = 15.0
SHARE_OF_TIME_LOOKING = 0.1
"""A `squeue` that takes long burdens a controller which many people use: it is not asked again before this allows."""
LARGEST_JSON_BYTES = 4 * 2**20
"""Beyond that (a thousand jobs in the cluster) `squeue` is asked for text, which does not tell the GPUs' indexes: to
read so much JSON would hold up everybody."""
TEXT_FOR_SECONDS = 600.0
ANSWERED_WITHIN_SECONDS = 10.0
"""What a dead `sbatch` sent is in Slurm's queue by then, or never will be; Slurm's own MessageTimeout."""
ACCOUNTS_PATIENCE_SECONDS = 5.0
FLEET_HOLDS_SECONDS = 5.0
LOG_LOOK_INTERVAL_SECONDS = 3.0
MISSING_LOG_PATIENCE = timedelta(seconds=30)
"""How long a network file system may hide a file that another machine made: the default of NFS for folders."""
END_KEPT_FOR_SECONDS = 300.0
FORGOTTEN_AFTER = timedelta(days=30)
NO_ACCOUNTS_FOR_SECONDS = 600.0
MOST_REFUSALS = 10_000
MOST_NAMES_AT_ONCE = 20
"""Each is a command of its own."""

log = structlog.get_logger("slurm")


@dataclass(slots=True)
class _Run:
    """A run under way; `submitted_at` (monotonic) is set where this process got Slurm's answer.

    It was seen to hold its GPUs from `held_since` to `held_until`, and for `held_before` before that.
    """

    spec: JobSpec
    attempt: Submitted | None = None
    job_id: str | None = None
    submitted_at: float | None = None
    held_before: timedelta = timedelta(0)
    held_since: datetime | None = None
    held_until: datetime | None = None
    ended_since: float | None = None

    def saw_running_since(self, started_at: datetime, now: datetime) -> None:
        """A job that Slurm began once more has another start: what it held before is kept."""
        if self.held_since is not None and self.held_until is not None and started_at > self.held_since:
            self.held_before += self.held_until - self.held_since
        self.held_since, self.held_until = started_at, now


@dataclass(slots=True)
class _Look:
    """What `squeue` showed of all runs at one moment, and what `sacct` added to it."""

    began_at: float
    at: datetime
    jobs: Mapping[UUID, Sequence[SlurmJob]]
    accounts: dict[UUID, Sequence[SlurmJob]] = field(default_factory=dict)


class SlurmExecutor:
    """One cluster, as the machine's own Slurm commands reach it."""

    name = "slurm"
    places_gpus = False

    def __init__(self, options: SlurmOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._runner = CommandRunner(options.command_timeout)
        self._sudo = Sudo(self._runner, options.commands.sbatch)
        self._files = RunFiles(options.log_dir)
        self._runs: dict[UUID, _Run] = {}
        self._refused: dict[UUID, str] = {}
        self._answered_at: dict[UUID, float] = {}
        self._ended: OrderedDict[UUID, tuple[float, Observation]] = OrderedDict()
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._look_lock = asyncio.Lock()
        self._accounts_lock = asyncio.Lock()
        self._last_look: _Look | None = None
        self._failed_look: tuple[float, str] | None = None
        self._look_interval = SHORTEST_LOOK_INTERVAL_SECONDS
        self._text_until = 0.0
        self._no_accounts_until = 0.0
        self._time_keeping = limits.USUAL
        self._foreign_names: Mapping[str, str] = {}
        self._fleet: Sequence[GpuInfo] = ()
        self._fleet_read_at = -FLEET_HOLDS_SECONDS
        self._fleet_lock = asyncio.Lock()

    async def inventory(self) -> Sequence[GpuInfo]:
        async with self._fleet_lock:
            if monotonic() - self._fleet_read_at >= FLEET_HOLDS_SECONDS:
                self._fleet = nodes.parse(await self._runner.ask([self._options.commands.sinfo, *nodes.ARGUMENTS]))
                self._fleet_read_at = monotonic()
            return self._fleet

    async def time_keeping(self) -> TimeKeeping:
        """As Slurm told last; its defaults where it never did."""
        scontrol = self._options.commands.scontrol
        if scontrol is None:
            return limits.USUAL
        try:
            config = await self._runner.ask([scontrol, *limits.CONFIG_ARGUMENTS])
            partitions = await self._runner.ask([scontrol, *limits.PARTITION_ARGUMENTS])
            self._time_keeping = limits.parse(config, partitions, used=self._options.partitions)
        except (CommandTrouble, queue.NotUnderstood) as trouble:
            log.warning("Slurm does not tell how it keeps time limits", trouble=str(trouble))
        return self._time_keeping

    async def start(self, spec: JobSpec) -> None:
        """See `Executor`. An exception other than LaunchError says that it is not known whether Slurm has the run."""
        async with self._lock_of(spec.run_id):
            known = self._runs.get(spec.run_id)
            if spec.run_id in self._ended or (known is not None and known.job_id is not None):
                return
            if spec.run_id in self._refused:
                raise LaunchError(self._refused[spec.run_id])
            attempt = await asyncio.to_thread(self._files.submitted, spec.run_id)
            if attempt is None:
                await self._submit(spec, None)
            else:
                await self._resolve(spec, attempt)

    async def _submit(self, spec: JobSpec, failed: Submitted | None) -> None:
        """Submit a run that nobody submitted yet; `failed` is an attempt of which it is proved that it made no job."""
        try:
            login, uid, argv, script_text = await self._prepare(spec)
        except LaunchError:
            if failed is not None:
                await asyncio.to_thread(self._files.forbid, spec.run_id, failed.login)
            raise
        began = await asyncio.to_thread(self._files.began, spec.run_id, login if failed else None)
        if began is not None:
            raise LaunchError("The run was cancelled before it was submitted.")
        attempt = Submitted(self._clock(), login, uid)
        if failed is not None:
            if failed.login != login and not await asyncio.to_thread(self._files.forbid, spec.run_id, failed.login):
                raise CommandTrouble("an earlier sbatch of this run came through after all")
            await asyncio.to_thread(self._files.renew, spec.run_id, attempt)
        elif not await asyncio.to_thread(self._files.claim, spec.run_id, attempt):
            await self._resolve(spec, attempt)
            return
        crash_point("slurm.before-sbatch")
        try:
            output = await self._runner.run_once(argv, stdin=script_text)
        except CommandTrouble as error:
            await self._find_after_trouble(spec, attempt, str(error))
            return
        finally:
            self._answered_at[spec.run_id] = monotonic()
        crash_point("slurm.after-sbatch")
        job_id = parse_parsable(output.text) if output.exit_code == 0 else None
        if job_id is not None:
            self._runs[spec.run_id] = _Run(spec, attempt, job_id, submitted_at=monotonic())
            log.info("submitted", run_id=str(spec.run_id), slurm_job_id=job_id)
        elif output.exit_code != 0 and (words := refusal(output.error_text)):
            await self._refuse(spec.run_id, login, words)
        else:
            await self._find_after_trouble(spec, attempt, output.error_text or output.text)

    async def _prepare(self, spec: JobSpec) -> tuple[str | None, int, list[str], bytes]:
        """Whom the run is submitted as, by which command, and what; all that can be refused without asking Slurm."""
        options = self._options
        account, login = await asyncio.to_thread(own_account), None
        if options.logins is not None:
            account = await asyncio.to_thread(account_of, spec.owner_email, options.logins)
            login = account.pw_name
            await asyncio.to_thread(self._files.prepare_folder, account)
            await self._sudo.check(login)
        script_text = script(
            spec,
            began_path=self._files.began_path(spec.run_id, login),
            refused_path=self._files.refused_path(spec.run_id, login),
        )
        arguments = sbatch_options(
            spec,
            options.placing(spec.gpu_type, spec.owner_email),
            log_path=self._files.log_path(spec.run_id, login),
            home=home_of(account) if account else "/tmp",  # noqa: S108 - where Slurm itself goes without a home
            largest_node=await self._largest_node(spec.gpu_type) if spec.num_gpus > 1 else None,
        )
        uid = os.geteuid() if account is None else account.pw_uid
        return login, uid, [*as_user(login), options.commands.sbatch, *arguments], script_text

    async def _largest_node(self, gpu_type: str) -> int | None:
        """How many GPUs of this type the largest node has; None: there is no such type, as Slurm will say."""
        on_node: dict[str, int] = {}
        for gpu in self._fleet or await self.inventory():
            if gpu.gpu_type == gpu_type:
                on_node[gpu.slot.node] = on_node.get(gpu.slot.node, 0) + 1
        return max(on_node.values(), default=None)

    async def _resolve(self, spec: JobSpec, attempt: Submitted) -> None:
        """Find out what became of an attempt, and make another one if it is proved that it came to nothing."""
        if await self._find(spec, attempt):
            return
        began = await asyncio.to_thread(self._files.began, spec.run_id, attempt.login)
        if began is not None and began.job_id is not None:
            self._runs[spec.run_id] = _Run(spec, attempt, began.job_id)
        elif self._may_be_under_way(spec.run_id, attempt):
            raise CommandTrouble("it is not known yet whether an earlier sbatch of this run came through")
        elif began is not None:
            raise LaunchError("The run was cancelled before it was submitted.")
        else:
            await self._submit(spec, attempt)

    def _may_be_under_way(self, run_id: UUID, attempt: Submitted) -> bool:
        answered_at = self._answered_at.get(run_id)
        if answered_at is not None:
            return monotonic() - answered_at < ANSWERED_WITHIN_SECONDS
        latest_answer = timedelta(seconds=ANSWERED_WITHIN_SECONDS) + self._options.command_timeout
        return self._clock() - attempt.at < latest_answer

    async def _find_after_trouble(self, spec: JobSpec, attempt: Submitted, trouble: str) -> None:
        if not await self._find(spec, attempt):
            raise CommandTrouble(f"sbatch: {' '.join(trouble.split()) or 'no answer'}")

    async def _find(self, spec: JobSpec, attempt: Submitted) -> bool:
        """Whether Slurm has, or had, a job of this run's name and user.

        Raises:
            CommandTrouble: it cannot be asked, so nothing is known.
            LaunchError: it has only the record of a refusal.
        """
        look = await self._look(not_older_than=monotonic())
        job = await self._job_of(spec.run_id, look.jobs.get(spec.run_id, ()), attempt)
        if job is None and self._has_accounts():
            accounted = await self._ask_accounts({spec.run_id: spec.launched_at})
            job = await self._job_of(spec.run_id, accounted, attempt)
        if job is None:
            return False
        if job.never_began and "FAILED" in job.states:
            await self._refuse(spec.run_id, attempt.login, job.reason or "it gives no reason")
        self._runs[spec.run_id] = _Run(spec, attempt, job.job_id, submitted_at=monotonic())
        return True

    async def _refuse(self, run_id: UUID, login: str | None, words: str) -> None:
        """Slurm keeps a record of some jobs that it refused. They never run, and the link makes sure of it."""
        await asyncio.to_thread(self._files.forbid, run_id, login)
        self._answered_at.pop(run_id, None)
        self._refused[run_id] = f"Slurm refused the job: {words}."
        if len(self._refused) > MOST_REFUSALS:
            del self._refused[next(iter(self._refused))]
        raise LaunchError(self._refused[run_id])

    async def adopt(self, specs: Collection[JobSpec]) -> None:
        """Slurm knows all that is to be known; what is kept here are the specifications, and who they run as."""
        new = [spec for spec in specs if spec.run_id not in self._runs and spec.run_id not in self._ended]
        attempts = await asyncio.to_thread(lambda: [self._files.submitted(spec.run_id) for spec in new])
        for spec, attempt in zip(new, attempts, strict=True):
            self._runs.setdefault(spec.run_id, _Run(spec, attempt))

    async def poll(self, run_ids: Collection[UUID]) -> Mapping[UUID, Observation]:
        """See `Executor`. Polls within a second share one `squeue`.

        Raises:
            CommandTrouble: Slurm cannot be asked, so nothing is known of any run.
        """
        if not run_ids:
            return {}
        look = await self._look(not_older_than=monotonic() - self._look_interval)
        next_look_at = look.at + timedelta(seconds=self._look_interval)
        seen: dict[UUID, Observation] = {}
        over: dict[UUID, SlurmJob | None] = {}
        for run_id in run_ids:
            if run_id in self._ended:
                seen[run_id] = self._ended[run_id][1]
                self._keep_end(run_id, seen[run_id])
            elif run_id in self._refused:
                continue
            elif job := await self._job_of(run_id, look.jobs.get(run_id, ())):
                if (observation := self._observe(job, look, next_look_at)) is not None:
                    seen[run_id] = observation
                elif job.phase is RunState.ENDED:
                    over[run_id] = job
            elif self._is_newer_than(look, run_id):
                job_id = self._runs[run_id].job_id
                seen[run_id] = Observation(RunState.STARTING, unchanged_until=next_look_at, engine_job_id=job_id)
            else:
                over[run_id] = None
        if over:
            seen |= await self._settle(over, look, next_look_at)
        self._forget()
        return seen

    def _observe(self, job: SlurmJob, look: _Look, next_look_at: datetime) -> Observation | None:
        run = self._runs.get(job.run_id)
        if run is not None and job.phase is RunState.RUNNING and job.started_at is not None:
            run.saw_running_since(job.started_at, look.at.replace(microsecond=0))
        return observe(
            job,
            now=self._clock(),
            next_look_at=next_look_at,
            held_before=run.held_before if run else timedelta(0),
            launched_at=run.spec.launched_at if run else None,
            num_gpus=run.spec.num_gpus if run else None,
        )

    def _is_newer_than(self, look: _Look, run_id: UUID) -> bool:
        run = self._runs.get(run_id)
        return run is not None and run.submitted_at is not None and run.submitted_at > look.began_at

    async def _settle(
        self, over: Mapping[UUID, SlurmJob | None], look: _Look, next_look_at: datetime
    ) -> dict[UUID, Observation]:
        """The ends of those runs that the controller shows as ended, or no longer shows."""
        await self._add_accounts(look, over.keys())
        settled: dict[UUID, Observation] = {}
        for run_id, shown in over.items():
            records = look.accounts.get(run_id, ())
            accounted = await self._job_of(run_id, [record for record in records if record.phase is RunState.ENDED])
            proof = accounted or shown
            if proof is None:
                continue
            if accounted or proof.never_began or not self._accounts_may_follow(run_id):
                if (observation := await self._end(proof, records)) is not None:
                    settled[run_id] = observation
            elif shown is not None:
                settled[run_id] = Observation(
                    RunState.RUNNING,
                    started_at=shown.started_at,
                    unchanged_until=next_look_at,
                    engine_job_id=shown.job_id,
                )
        return settled

    def _accounts_may_follow(self, run_id: UUID) -> bool:
        """Accounts are written a moment after the end. Where they do not come, the controller's record has to do."""
        run = self._runs.get(run_id)
        if run is None or not self._has_accounts():
            return False
        run.ended_since = run.ended_since or monotonic()
        return monotonic() - run.ended_since < ACCOUNTS_PATIENCE_SECONDS

    async def _end(self, job: SlurmJob, records: Sequence[SlurmJob]) -> Observation | None:
        """The end of a run that `job` proves; it held its GPUs for as long as all `records` of its user say.

        None: Slurm started the job once more, and what it tells is the end of that; the run's own is not known.
        """
        run = self._runs.get(job.run_id)
        attempt = await self._attempt_of(job.run_id)
        login = attempt.login if attempt else None
        began = await asyncio.to_thread(self._files.began, job.run_id, login)
        refused = await asyncio.to_thread(self._files.refused, job.run_id, login)
        if began and refused and began.job_id == refused.job_id == job.job_id and job.held <= LONGEST_SETUP:
            return None
        self._runs.pop(job.run_id, None)
        if job.never_began:
            await self._forbid_if_possible(job.run_id, login)
        observation = observe_end(
            job,
            elapsed=max(_elapsed(job, run), held_in_all([record for record in records if record.uid == job.uid])),
            launched_at=run.spec.launched_at if run else None,
            num_gpus=run.spec.num_gpus if run else None,
            placement=began.placement if began and began.job_id == job.job_id else None,
            own_uids=frozenset({os.geteuid(), attempt.uid if attempt else os.geteuid()}),
        )
        self._keep_end(job.run_id, observation)
        return observation

    def _keep_end(self, run_id: UUID, observation: Observation) -> None:
        self._ended[run_id] = monotonic(), observation
        self._ended.move_to_end(run_id)

    def _forget(self) -> None:
        """Drop the ends that nobody asks for any more; they stand in the order in which they were last asked for."""
        while self._ended and next(iter(self._ended.values()))[0] < monotonic() - END_KEPT_FOR_SECONDS:
            run_id, _ = self._ended.popitem(last=False)
            self._answered_at.pop(run_id, None)

    async def stop(self, run_id: UUID, grace: timedelta) -> None:  # noqa: ARG002 - Slurm's KillWait rules
        """See `Executor`. By name, since Slurm may give a number again; the time until SIGKILL is Slurm's KillWait."""
        async with self._lock_of(run_id):
            if run_id in self._ended:
                return
            attempt = await self._attempt_of(run_id)
            login = attempt.login if attempt else None
            is_forbidden = await self._forbid_if_possible(run_id, login)
            if attempt is not None or run_id in self._runs:
                await self._runner.ask([*as_user(login), *await self._scancel(run_id, login)])
            if not is_forbidden:
                raise CommandTrouble("the run was cancelled in Slurm, but one that is still on its way could begin")

    async def _scancel(self, run_id: UUID, login: str | None) -> list[str]:
        """Of this user alone: at a job of somebody else with the same name, scancel would fail."""
        account = await asyncio.to_thread(own_account)
        user = login or (account.pw_name if account else None)
        of_user = [f"--user={user}"] if user else []
        return [self._options.commands.scancel, *of_user, f"--name={name_of(run_id)}"]

    async def _forbid_if_possible(self, run_id: UUID, login: str | None) -> bool:
        """A full disk, or an owner who closes their folder, must not keep a run from being cancelled or settled."""
        try:
            await asyncio.to_thread(self._files.forbid, run_id, login)
        except OSError as error:
            log.warning("a run cannot be kept from beginning", run_id=str(run_id), trouble=error.strerror)
            return False
        return True

    async def named_jobs(self) -> Collection[NamedJob]:
        """See `Executor`. Where jobs are submitted as their owners, none is in the service's name.

        The look that polls share tells which of them are runs. One that it shows and that is not its run's job carries
        none, whatever it is called; one that it does not show yet is known by its name.
        """
        if self._options.logins is not None:
            return ()
        squeue = self._options.commands.squeue
        listed = foreign.parse_list(await self._runner.ask([squeue, *foreign.list_arguments(os.geteuid())]))
        look = await self._look(not_older_than=monotonic() - self._look_interval)
        shown = {job.job_id for jobs in look.jobs.values() for job in jobs}
        runs: dict[str, UUID] = {}
        for run_id, jobs in look.jobs.items():
            job = await self._job_of(run_id, jobs) if any(job.job_id in listed for job in jobs) else None
            if job is not None:
                runs[job.job_id] = run_id
        names = await self._names_of([job_id for job_id in listed if job_id not in runs])
        return [
            NamedJob(job_id, name_of(runs[job_id]), runs[job_id], num_gpus)
            if job_id in runs
            else NamedJob(job_id, names[job_id], None if job_id in shown else run_of(names[job_id]), num_gpus)
            for job_id, num_gpus in listed.items()
            if job_id in runs or job_id in names
        ]

    async def _names_of(self, job_ids: Collection[str]) -> Mapping[str, str]:
        """One that has gone meanwhile is left out. Of many that are new, most stay without a name until later."""
        names = {job_id: self._foreign_names.get(job_id, "") for job_id in job_ids}
        for job_id in [job_id for job_id, name in names.items() if not name][:MOST_NAMES_AT_ONCE]:
            try:
                arguments = foreign.name_arguments(job_id)
                names[job_id] = (await self._runner.ask([self._options.commands.squeue, *arguments])).strip()
            except CommandFailed:
                del names[job_id]
        self._foreign_names = names
        return names

    async def cancel_foreign_job(self, engine_job_id: str) -> None:
        await self._runner.ask([self._options.commands.scancel, engine_job_id])

    async def proved_gone(self, run_ids: Collection[UUID]) -> Collection[UUID]:  # noqa: ARG002 - the contract's name
        """Nothing: the GPUs are Slurm's to give and to keep."""
        return ()

    async def read_log(
        self,
        spec: JobSpec,
        *,
        ended_at: datetime | None,
        progress: float | None = None,  # noqa: ARG002 - the log is a file, which only grows
        offset: int,
        limit: int,
    ) -> LogChunk:
        """See `RunReader`. Slurm writes the log; it has no cap but what the file system sets."""
        attempt = await self._attempt_of(spec.run_id)
        login = attempt.login if attempt else None
        is_over = ended_at is not None or spec.run_id in self._ended
        chunk = await self._read_file(spec, login, offset, limit, complete=is_over)
        if is_over or (chunk is not None and chunk.data) or not await self._has_just_ended(spec.run_id):
            return chunk if chunk is not None else await self._missing(spec, login, ended_at, offset)
        return await self._read_file(spec, login, offset, limit, complete=True) or LogChunk(
            offset, b"", 0, complete=True
        )

    async def _read_file(
        self, spec: JobSpec, login: str | None, offset: int, limit: int, *, complete: bool
    ) -> LogChunk | None:
        return await asyncio.to_thread(self._files.read_log, spec.run_id, login, offset, limit, complete=complete)

    async def _has_just_ended(self, run_id: UUID) -> bool:
        """Whether a run that prints nothing more is over; asked by whoever reads to the end of a log."""
        try:
            look = await self._look(not_older_than=monotonic() - max(LOG_LOOK_INTERVAL_SECONDS, self._look_interval))
        except (CommandTrouble, queue.NotUnderstood):
            return False
        job = await self._job_of(run_id, look.jobs.get(run_id, ()))
        return job is not None and job.phase is RunState.ENDED

    async def _missing(self, spec: JobSpec, login: str | None, ended_at: datetime | None, offset: int) -> LogChunk:
        """A log that is not there: not yet; or not needed, since the command never began; or out of reach."""
        if ended_at is None:
            return LogChunk(offset, b"", 0, complete=spec.run_id in self._ended)
        began = await asyncio.to_thread(self._files.began, spec.run_id, login)
        if began is not None and began.job_id is None:
            return LogChunk(offset, b"", 0, complete=True)
        if self._clock() - ended_at < MISSING_LOG_PATIENCE:
            return LogChunk(offset, b"", 0, complete=False)
        raise LogUnavailable(str(self._files.log_path(spec.run_id, login)))

    async def read_utilisation(
        self,
        spec: JobSpec,  # noqa: ARG002 - the contract's name
        *,
        ended_at: datetime | None,  # noqa: ARG002 - the contract's name
        limit: int,  # noqa: ARG002 - the contract's name
    ) -> Sequence[UtilisationSample]:
        """Nothing: Slurm keeps one average per run at most (gres/gpuutil), and no course over time."""
        return []

    async def _attempt_of(self, run_id: UUID) -> Submitted | None:
        """As whom this run was submitted, whatever the settings say by now."""
        run = self._runs.get(run_id)
        if run is not None and run.attempt is not None:
            return run.attempt
        return await asyncio.to_thread(self._files.submitted, run_id)

    def _lock_of(self, run_id: UUID) -> asyncio.Lock:
        return self._locks.setdefault(run_id, asyncio.Lock())

    async def _look(self, *, not_older_than: float) -> _Look:
        """Who waited while `squeue` gave no answer is told so, and does not ask in vain after all the others."""
        asked_at = monotonic()
        async with self._look_lock:
            if self._failed_look is not None and self._failed_look[0] >= asked_at:
                raise CommandTrouble(self._failed_look[1])
            if self._last_look is None or self._last_look.began_at < not_older_than:
                began_at, at = monotonic(), self._clock()
                try:
                    jobs = await self._read_queue()
                except (CommandTrouble, queue.NotUnderstood) as error:
                    self._failed_look = monotonic(), str(error)
                    raise
                self._last_look = _Look(began_at, at, by_run(jobs))
                took = monotonic() - began_at
                allowed = max(SHORTEST_LOOK_INTERVAL_SECONDS, took / SHARE_OF_TIME_LOOKING)
                self._look_interval = min(LONGEST_LOOK_INTERVAL_SECONDS, allowed)
            return self._last_look

    async def _read_queue(self) -> list[SlurmJob]:
        squeue = self._options.commands.squeue
        if monotonic() >= self._text_until:
            try:
                output = await self._runner.ask([squeue, *queue.JSON_ARGUMENTS])
                if len(output) <= LARGEST_JSON_BYTES:
                    return queue.parse_json(output)
                trouble = f"it tells {len(output)} characters"
            except (CommandFailed, queue.NotUnderstood) as error:
                trouble = str(error)
            jobs = queue.parse_text(await self._runner.ask([squeue, *queue.TEXT_ARGUMENTS]))
            self._text_until = monotonic() + TEXT_FOR_SECONDS
            log.warning("squeue --json is of no use here; reading text", trouble=trouble)
            return jobs
        return queue.parse_text(await self._runner.ask([squeue, *queue.TEXT_ARGUMENTS]))

    async def _add_accounts(self, look: _Look, run_ids: Collection[UUID]) -> None:
        """Ask `sacct` for those of these runs that it was not asked for since this look; all in one call."""
        async with self._accounts_lock:
            unasked = [run_id for run_id in run_ids if run_id not in look.accounts]
            if not unasked or not self._has_accounts():
                return
            since = {
                run_id: self._runs[run_id].spec.launched_at if run_id in self._runs else self._clock() - FORGOTTEN_AFTER
                for run_id in unasked
            }
            try:
                jobs = by_run(await self._ask_accounts(since))
            except (CommandTrouble, queue.NotUnderstood) as error:
                log.warning("the accounts cannot be read", trouble=str(error))
                jobs = {}
            look.accounts |= {run_id: jobs.get(run_id, ()) for run_id in unasked}

    def _has_accounts(self) -> bool:
        return self._options.commands.sacct is not None and monotonic() >= self._no_accounts_until

    async def _ask_accounts(self, launched_at: Mapping[UUID, datetime]) -> list[SlurmJob]:
        sacct = self._options.commands.sacct
        if sacct is None:
            return []
        delimiter = f"|{token_hex(8)}|"
        arguments = accounting.arguments(launched_at.keys(), min(launched_at.values()), delimiter)
        output = await self._runner.run([sacct, *arguments])
        if accounting.is_disabled(output.error_text):
            self._no_accounts_until = monotonic() + NO_ACCOUNTS_FOR_SECONDS
            return []
        if output.exit_code != 0:
            raise failure(sacct, output)
        return accounting.parse(output.text, delimiter)

    async def _job_of(
        self, run_id: UUID, jobs: Sequence[SlurmJob], attempt: Submitted | None = None
    ) -> SlurmJob | None:
        """Of all jobs with this run's name the one that is the run; None: there is none of the right user."""
        if not jobs:
            return None
        attempt = attempt or await self._attempt_of(run_id)
        if attempt is not None:
            jobs = [job for job in jobs if job.uid == attempt.uid]
        if len(jobs) < 2:
            return jobs[0] if jobs else None
        began = await asyncio.to_thread(self._files.began, run_id, attempt.login if attempt else None)
        return most_telling(jobs, began.job_id if began else None)


def _elapsed(job: SlurmJob, run: _Run | None) -> timedelta:
    """By Slurm's accounts. Its controller counts to the moment of a cancellation only, so what was seen counts, too."""
    if job.elapsed is not None or run is None or run.held_since is None or run.held_until is None:
        return job.held
    seen = run.held_until - run.held_since
    if job.started_at is None or job.started_at > run.held_since:
        return run.held_before + seen + job.held
    return run.held_before + max(seen, job.held)
