"""From what an engine saw to the job's end: which status, which reason, and what it costs."""

from datetime import datetime, timedelta

from app.db.queries.jobs import Move
from app.dispatcher.tracking import TrackedRun
from app.domain.execution import INFRASTRUCTURE_FAILURES, REFUNDED, EndReason, Observation, RunState, final_status
from app.domain.job_state import JobStatus
from app.domain.quota import charge

PROVED_DESPITE_CANCEL = frozenset({EndReason.EXITED, EndReason.TIME_LIMIT}) | INFRASTRUCTURE_FAILURES
"""Ends that stay what they are although somebody had asked to stop the run: the request came too late to cause them."""


def settle(run: TrackedRun, seen: Observation) -> Move:
    """The move that ends a run which its engine has seen ending.

    Whatever it ended for, it pays for the time that it held its GPUs, unless its command never began. Some of the ends
    give that back beside.

    Raises:
        ValueError: the observation is no end.
    """
    if seen.state is not RunState.ENDED or seen.reason is None:
        raise ValueError(f"run {run.run_id} has not ended: {seen}")
    reason = seen.reason
    if run.cancelled_as is not None and reason not in PROVED_DESPITE_CANCEL:
        reason = run.cancelled_as
    has_begun = seen.started_at is not None or run.measured_seconds > 0
    never_began = reason is EndReason.LAUNCH_FAILURE and not has_begun
    held = max(seen.elapsed, _measured(run)) if reason is EndReason.LOST else seen.elapsed
    charged_seconds = 0 if never_began else charge(run.reserved_seconds, run.num_gpus, held)
    return Move(
        job_id=run.job_id,
        from_status=JobStatus.RUNNING,
        to_status=final_status(reason),
        run_id=run.run_id,
        reason=reason,
        ended_at=seen.ended_at,
        error_message=seen.message or run.stopped_for,
        exit_code=seen.exit_code,
        exit_signal=seen.signal,
        charged_seconds=charged_seconds,
        refunded_seconds=charged_seconds if reason in REFUNDED else 0,
    )


def give_up(run: TrackedRun, reason: EndReason, message: str) -> Move:
    """The move that ends a run which its engine no longer knows, or never took. It pays for what was seen of it."""
    return Move(
        job_id=run.job_id,
        from_status=JobStatus.RUNNING,
        to_status=final_status(reason),
        run_id=run.run_id,
        reason=reason,
        error_message=message,
        charged_seconds=charge(run.reserved_seconds, run.num_gpus, _measured(run)),
    )


def call_off(run: TrackedRun, reason: EndReason) -> Move:
    """The move of a cancelled job whose run never was launched, and never will be."""
    return Move(
        job_id=run.job_id,
        from_status=run.status,
        to_status=final_status(reason),
        run_id=run.run_id,
        reason=reason,
        charged_seconds=0,
    )


def begin(run: TrackedRun, started_at: datetime | None = None) -> Move:
    """The move of a dispatched job whose engine has taken it out of its own queue, when it says that it did."""
    return Move(
        job_id=run.job_id,
        from_status=JobStatus.APPROVED,
        to_status=JobStatus.RUNNING,
        run_id=run.run_id,
        started_at=started_at,
    )


def _measured(run: TrackedRun) -> timedelta:
    return timedelta(seconds=run.measured_seconds)
