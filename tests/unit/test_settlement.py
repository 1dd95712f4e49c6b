"""From what an engine saw to the job's end."""

from datetime import timedelta
from uuid import uuid4

import pytest

from app.dispatcher.settlement import give_up, settle
from app.dispatcher.tracking import TrackedRun
from app.domain.execution import EndReason, Observation, RunState
from app.domain.job_state import JobStatus


def tracked(cancelled_as: EndReason | None = None) -> TrackedRun:
    return TrackedRun(
        job_id=1,
        run_id=uuid4(),
        engine="simulated",
        status=JobStatus.RUNNING,
        num_gpus=2,
        reserved_seconds=7200,
        cancelled_as=cancelled_as,
    )


def ended(reason: EndReason, seconds: int = 100) -> Observation:
    return Observation(RunState.ENDED, elapsed=timedelta(seconds=seconds), reason=reason)


@pytest.mark.parametrize(
    ("reason", "status", "charged"),
    [
        (EndReason.EXITED, JobStatus.COMPLETED, 200),
        (EndReason.NONZERO_EXIT, JobStatus.FAILED, 200),
        (EndReason.TIME_LIMIT, JobStatus.FAILED, 200),
        (EndReason.OUT_OF_MEMORY, JobStatus.FAILED, 200),
        (EndReason.NODE_FAILURE, JobStatus.FAILED, 0),
        (EndReason.LOST, JobStatus.FAILED, 0),
    ],
)
def test_an_end_is_charged_unless_the_infrastructure_failed(reason: EndReason, status: JobStatus, charged: int) -> None:
    move = settle(tracked(), ended(reason))
    assert (move.to_status, move.reason, move.charged_seconds) == (status, reason, charged)


@pytest.mark.parametrize("seen", [EndReason.SIGNALLED, EndReason.NONZERO_EXIT])
def test_a_run_that_was_asked_to_stop_and_stopped_is_cancelled_and_charged(seen: EndReason) -> None:
    move = settle(tracked(EndReason.CANCELLED_BY_USER), ended(seen))
    assert move.to_status is JobStatus.CANCELLED
    assert move.reason is EndReason.CANCELLED_BY_USER
    assert move.charged_seconds == 200


@pytest.mark.parametrize("seen", [EndReason.EXITED, EndReason.TIME_LIMIT, EndReason.NODE_FAILURE])
def test_a_cancel_that_came_too_late_changes_nothing(seen: EndReason) -> None:
    assert settle(tracked(EndReason.CANCELLED_BY_ADMIN), ended(seen)).reason is seen


def test_a_run_that_goes_on_cannot_be_settled() -> None:
    with pytest.raises(ValueError, match="has not ended"):
        settle(tracked(), Observation(RunState.RUNNING))


def test_a_run_given_up_costs_nothing() -> None:
    move = give_up(tracked(), EndReason.LOST, "gone")
    assert (move.to_status, move.charged_seconds) == (JobStatus.FAILED, 0)
