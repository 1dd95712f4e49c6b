"""The state machine: eight steps, four ends, and who may take which."""

import pytest

from app.domain.execution import CANCELLATIONS, INFRASTRUCTURE_FAILURES, EndReason, final_status
from app.domain.job_state import FINAL, NONFINAL, TRANSITIONS, JobAction, JobStatus, available_actions, may_move

LEGAL = {
    ("PENDING", "APPROVED"),
    ("PENDING", "REJECTED"),
    ("PENDING", "CANCELLED"),
    ("APPROVED", "RUNNING"),
    ("APPROVED", "CANCELLED"),
    ("RUNNING", "COMPLETED"),
    ("RUNNING", "FAILED"),
    ("RUNNING", "CANCELLED"),
}


def test_the_legal_steps_are_the_eight_of_the_specification() -> None:
    assert {(source, target) for source in JobStatus for target in JobStatus if may_move(source, target)} == LEGAL


def test_every_status_is_either_final_or_leads_somewhere() -> None:
    assert set(TRANSITIONS) == set(JobStatus)
    assert {"REJECTED", "COMPLETED", "FAILED", "CANCELLED"} == FINAL
    assert {"PENDING", "APPROVED", "RUNNING"} == NONFINAL


def test_every_reason_leads_to_a_final_status_that_fits_it() -> None:
    assert {final_status(reason) for reason in EndReason} == FINAL
    assert {reason for reason in EndReason if final_status(reason) is JobStatus.COMPLETED} == {EndReason.EXITED}
    assert {reason for reason in EndReason if final_status(reason) is JobStatus.CANCELLED} == CANCELLATIONS
    assert all(final_status(reason) is JobStatus.FAILED for reason in INFRASTRUCTURE_FAILURES)


@pytest.mark.parametrize(
    ("status", "as_owner", "as_admin"),
    [
        (JobStatus.PENDING, ["cancel"], ["approve", "reject", "cancel"]),
        (JobStatus.APPROVED, ["cancel"], ["start", "cancel"]),
        (JobStatus.RUNNING, ["cancel"], ["cancel"]),
        *((status, [], []) for status in sorted(FINAL)),
    ],
)
def test_actions_follow_from_status_and_role(
    status: JobStatus, as_owner: list[JobAction], as_admin: list[JobAction]
) -> None:
    def actions(*, is_admin: bool, is_owner: bool) -> list[JobAction]:
        return available_actions(status, is_admin=is_admin, is_owner=is_owner, cancel_requested=False, dispatched=False)

    assert actions(is_admin=False, is_owner=True) == as_owner
    assert actions(is_admin=True, is_owner=False) == as_admin
    assert actions(is_admin=False, is_owner=False) == []


def test_a_cancel_is_asked_for_once_and_a_dispatched_job_is_not_started_again() -> None:
    running = available_actions(JobStatus.RUNNING, is_admin=True, is_owner=True, cancel_requested=True, dispatched=True)
    queued = available_actions(
        JobStatus.APPROVED, is_admin=True, is_owner=False, cancel_requested=False, dispatched=True
    )
    assert running == []
    assert queued == [JobAction.CANCEL]
