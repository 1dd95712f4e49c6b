"""From what an engine saw to the job's end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from app.dispatcher.settlement import give_up, settle
from app.dispatcher.tracking import TrackedRun
from app.domain.execution import EndReason, Observation, RunState
from app.domain.job_state import JobStatus

BEGAN_AT = datetime(2026, 3, 10, 12, tzinfo=UTC)


def tracked(cancelled_as: EndReason | None = None, measured_seconds: int = 0) -> TrackedRun:
    return TrackedRun(
        job_id=1,
        run_id=uuid4(),
        engine="simulated",
        status=JobStatus.RUNNING,
        num_gpus=2,
        reserved_seconds=7200,
        measured_seconds=measured_seconds,
        cancelled_as=cancelled_as,
    )


def ended(reason: EndReason, seconds: int = 100) -> Observation:
    return Observation(RunState.ENDED, elapsed=timedelta(seconds=seconds), started_at=BEGAN_AT, reason=reason)


@pytest.mark.parametrize(
    ("reason", "status", "refunded"),
    [
        (EndReason.EXITED, JobStatus.COMPLETED, 0),
        (EndReason.NONZERO_EXIT, JobStatus.FAILED, 0),
        (EndReason.SIGNALLED, JobStatus.FAILED, 0),
        (EndReason.TIME_LIMIT, JobStatus.FAILED, 0),
        (EndReason.OUT_OF_MEMORY, JobStatus.FAILED, 0),
        (EndReason.OUT_OF_DISK, JobStatus.FAILED, 0),
        (EndReason.LAUNCH_FAILURE, JobStatus.FAILED, 0),
        (EndReason.LOST, JobStatus.FAILED, 0),
        (EndReason.NODE_FAILURE, JobStatus.FAILED, 200),
    ],
)
def test_every_end_is_charged_and_only_a_nodes_failure_is_given_back(
    reason: EndReason, status: JobStatus, refunded: int
) -> None:
    move = settle(tracked(), ended(reason))
    assert (move.to_status, move.reason, move.charged_seconds, move.refunded_seconds) == (status, reason, 200, refunded)


def test_a_run_whose_command_never_began_costs_nothing() -> None:
    assert settle(tracked(), replace(ended(EndReason.LAUNCH_FAILURE), started_at=None)).charged_seconds == 0


def test_a_lost_run_is_charged_for_what_was_seen_of_it() -> None:
    assert settle(tracked(measured_seconds=70), ended(EndReason.LOST, seconds=0)).charged_seconds == 140
    assert settle(tracked(measured_seconds=70), ended(EndReason.LOST, seconds=90)).charged_seconds == 180
    assert settle(tracked(measured_seconds=70), ended(EndReason.EXITED, seconds=60)).charged_seconds == 120


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


@pytest.mark.parametrize(("measured_seconds", "charged"), [(0, 0), (70, 140), (9000, 7200)])
def test_a_run_given_up_is_charged_for_what_was_seen_of_it(measured_seconds: int, charged: int) -> None:
    move = give_up(tracked(measured_seconds=measured_seconds), EndReason.LOST, "gone")
    assert (move.to_status, move.charged_seconds) == (JobStatus.FAILED, charged)
