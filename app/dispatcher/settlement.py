"""From what an engine saw to the job's end: which status, which reason, and what it costs."""

from datetime import datetime

from app.db.queries.jobs import Move
from app.dispatcher.tracking import TrackedRun
from app.domain.execution import INFRASTRUCTURE_FAILURES, EndReason, Observation, RunState, final_status
from app.domain.job_state import JobStatus
from app.domain.quota import charge

PROVED_DESPITE_CANCEL = frozenset({EndReason.EXITED, EndReason.TIME_LIMIT}) | INFRASTRUCTURE_FAILURES
"""Ends that stay what they are although somebody had asked to stop the run: the request came too late to cause them."""


def settle(run: TrackedRun, seen: Observation) -> Move:
    """The move that ends a run which its engine has seen ending.

    Raises:
        ValueError: the observation is no end.
    """
    if seen.state is not RunState.ENDED or seen.reason is None:
        raise ValueError(f"run {run.run_id} has not ended: {seen}")
    reason = seen.reason
    if run.cancelled_as is not None and reason not in PROVED_DESPITE_CANCEL:
        reason = run.cancelled_as
    is_free = reason in INFRASTRUCTURE_FAILURES
    return Move(
        job_id=run.job_id,
        from_status=JobStatus.RUNNING,
        to_status=final_status(reason),
        run_id=run.run_id,
        reason=reason,
        ended_at=seen.ended_at,
        error_message=seen.message,
        exit_code=seen.exit_code,
        exit_signal=seen.signal,
        charged_seconds=0 if is_free else charge(run.reserved_seconds, run.num_gpus, seen.elapsed),
    )


def give_up(run: TrackedRun, reason: EndReason, message: str) -> Move:
    """The move that ends a run about which nothing can be proved, or that never began. It costs nothing."""
    return Move(
        job_id=run.job_id,
        from_status=JobStatus.RUNNING,
        to_status=final_status(reason),
        run_id=run.run_id,
        reason=reason,
        error_message=message,
        charged_seconds=0,
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
