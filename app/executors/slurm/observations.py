"""From Slurm's job to what the dispatcher is told."""

from datetime import datetime, timedelta
from pwd import getpwuid

from app.domain.execution import EndReason, Observation, RunState
from app.executors.slurm.job import CLEANING_UP, LONGEST_SETUP, SlurmJob

_ONE_SECOND = timedelta(seconds=1)
_REASONS = {
    "COMPLETED": EndReason.EXITED,
    "FAILED": EndReason.NONZERO_EXIT,
    "CANCELLED": EndReason.SIGNALLED,
    "TIMEOUT": EndReason.TIME_LIMIT,
    "DEADLINE": EndReason.TIME_LIMIT,
    "OUT_OF_MEMORY": EndReason.OUT_OF_MEMORY,
    "NODE_FAIL": EndReason.NODE_FAILURE,
    "BOOT_FAIL": EndReason.NODE_FAILURE,
    "PREEMPTED": EndReason.NODE_FAILURE,
    "LAUNCH_FAILED": EndReason.LAUNCH_FAILURE,
    "RECONFIG_FAIL": EndReason.LAUNCH_FAILURE,
}
_OUTPUT_COULD_NOT_BE_OPENED = 53
"""slurmstepd tells by this signal, which it never sent, that it could not set up the job's files. It finds out at once;
a command that has run for longer may have ended itself so."""
_MESSAGES = {
    "NODE_FAIL": "A node of the run failed.",
    "BOOT_FAIL": "A node of the run could not be booted.",
    "PREEMPTED": "Slurm gave the GPUs to a job of higher priority.",
    "DEADLINE": "The run could not end before its deadline in Slurm.",
    "RECONFIG_FAIL": "Slurm could not set up the nodes of the run.",
    "LAUNCH_FAILED": "Slurm could not start the run on its nodes.",
}


def observe(
    job: SlurmJob,
    *,
    now: datetime,
    next_look_at: datetime,
    held_before: timedelta,
    launched_at: datetime | None,
    num_gpus: int | None,
) -> Observation | None:
    """A run that waits or runs; None: its state proves nothing, or it has ended (see `observe_end`)."""
    if job.phase is RunState.STARTING:
        waits = "PENDING" in job.states
        return Observation(
            RunState.STARTING,
            unchanged_until=next_look_at,
            queue_reason=job.reason or (None if waits else min(job.states).capitalize()),
            expected_start_at=job.started_at if waits else None,
            engine_job_id=job.job_id,
        )
    if job.phase is RunState.RUNNING and job.started_at is not None:
        return Observation(
            RunState.RUNNING,
            held_before + max(timedelta(0), now.replace(microsecond=0) - job.started_at),
            started_at=begun_at(job.started_at, launched_at),
            unchanged_until=next_look_at,
            placement=None if job.states & CLEANING_UP else job.placement,
            engine_job_id=job.job_id,
            message=_other_number(job, num_gpus),
        )
    return None


def begun_at(started_at: datetime, launched_at: datetime | None) -> datetime:
    """Slurm counts whole seconds, so a run can seem to begin before it was launched in the same second."""
    if launched_at is not None and launched_at - _ONE_SECOND < started_at < launched_at:
        return launched_at
    return started_at


def observe_end(
    job: SlurmJob,
    *,
    elapsed: timedelta,
    launched_at: datetime | None,
    num_gpus: int | None,
    placement: str | None,
    own_uids: frozenset[int],
) -> Observation:
    """How a run ended that held its GPUs for `elapsed`, in all turns that Slurm gave it.

    Who cancelled it is told where it was none of us (`own_uids`).
    """
    state = next(iter(job.states & _REASONS.keys()))
    reason, message = _REASONS[state], _MESSAGES.get(state)
    if state == "FAILED":
        reason, message = _failure(job, elapsed)
    elif state == "CANCELLED" and job.cancelled_by_uid is not None and job.cancelled_by_uid not in own_uids:
        message = f"Cancelled in Slurm by {_login(job.cancelled_by_uid)}."
    status_tells = reason not in {EndReason.NODE_FAILURE, EndReason.LAUNCH_FAILURE}
    exit_code = job.exit.exit_code if status_tells else None
    return Observation(
        RunState.ENDED,
        elapsed,
        started_at=_start_of(job, elapsed, launched_at),
        placement=placement,
        engine_job_id=job.job_id,
        reason=reason,
        ended_at=job.ended_at,
        exit_code=None if reason is EndReason.SIGNALLED and not job.exit.exit_code else exit_code,
        signal=job.exit.signal if status_tells else None,
        message=message or _other_number(job, num_gpus),
    )


def _start_of(job: SlurmJob, elapsed: timedelta, launched_at: datetime | None) -> datetime | None:
    """None: it never began. One that was put back into the queue and did not begin again has begun all the same."""
    if not job.never_began:
        return None if job.started_at is None else begun_at(job.started_at, launched_at)
    return job.ended_at - elapsed if elapsed and job.ended_at is not None else None


def _failure(job: SlurmJob, elapsed: timedelta) -> tuple[EndReason, str | None]:
    if job.never_began:
        return EndReason.LAUNCH_FAILURE, f"Slurm could not start the run: {job.reason or 'it gives no reason'}."
    if job.exit.signal == _OUTPUT_COULD_NOT_BE_OPENED and elapsed <= LONGEST_SETUP:
        where = f" on {job.placement}" if job.placement else ""
        return EndReason.LAUNCH_FAILURE, f"Slurm could not open the log{where}; is SLURM_LOG_DIR shared with all nodes?"
    if job.exit.signal:
        return EndReason.SIGNALLED, None
    if not job.exit.exit_code:
        return EndReason.LAUNCH_FAILURE, f"Slurm could not run the script: {job.reason or 'it gives no reason'}."
    return EndReason.NONZERO_EXIT, None


def _login(uid: int) -> str:
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _other_number(job: SlurmJob, num_gpus: int | None) -> str | None:
    """The charge follows the GPUs that were asked for; should Slurm give others, that is told, not hidden."""
    if job.gpus is None or num_gpus is None or job.gpus == num_gpus:
        return None
    return f"Slurm gave this run {job.gpus} GPUs where {num_gpus} were asked for."
