"""Where a job can be, and where it may go from there. This table is the only copy of the rule.

```
PENDING ──► APPROVED ──► RUNNING ──► COMPLETED | FAILED | CANCELLED
   ├──► REJECTED  └──► CANCELLED
   └──► CANCELLED
```
"""

from collections.abc import Mapping
from enum import StrEnum


class JobStatus(StrEnum):
    PENDING = "PENDING"
    """Submitted, its GPU-seconds reserved; waits for an admin's decision."""
    APPROVED = "APPROVED"
    """Allowed to run; waits to be started, or in the engine's own queue."""
    RUNNING = "RUNNING"
    """Holds its GPUs. After a crash the dispatcher adopts it or proves its end."""
    COMPLETED = "COMPLETED"
    """Ended with exit code 0, by evidence from the engine."""
    FAILED = "FAILED"
    """Ended otherwise; `reason` says whether the job or the infrastructure failed."""
    REJECTED = "REJECTED"
    """Refused by an admin; its reservation was released."""
    CANCELLED = "CANCELLED"
    """Given up by its owner or an admin; charged for what it ran."""


TRANSITIONS: Mapping[JobStatus, frozenset[JobStatus]] = {
    JobStatus.PENDING: frozenset({JobStatus.APPROVED, JobStatus.REJECTED, JobStatus.CANCELLED}),
    JobStatus.APPROVED: frozenset({JobStatus.RUNNING, JobStatus.CANCELLED}),
    JobStatus.RUNNING: frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}),
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.REJECTED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
}

FINAL = frozenset(status for status, targets in TRANSITIONS.items() if not targets)
NONFINAL = frozenset(JobStatus) - FINAL


class JobAction(StrEnum):
    """What a person can do to a job. The same verb names the button, the route, the service and the event."""

    APPROVE = "approve"
    REJECT = "reject"
    START = "start"
    CANCEL = "cancel"


ACTION_TARGETS: Mapping[JobAction, JobStatus] = {
    JobAction.APPROVE: JobStatus.APPROVED,
    JobAction.REJECT: JobStatus.REJECTED,
    JobAction.START: JobStatus.RUNNING,
    JobAction.CANCEL: JobStatus.CANCELLED,
}
ADMIN_ACTIONS = frozenset({JobAction.APPROVE, JobAction.REJECT, JobAction.START})


def may_move(current: JobStatus, target: JobStatus) -> bool:
    return target in TRANSITIONS[current]


def available_actions(
    status: JobStatus, *, is_admin: bool, is_owner: bool, cancel_requested: bool, dispatched: bool
) -> list[JobAction]:
    """What this caller may do to the job now.

    `dispatched`: already handed to an engine that queues by itself, so it cannot be started again.
    """
    return [
        action
        for action, target in ACTION_TARGETS.items()
        if may_move(status, target)
        and (is_admin or (is_owner and action not in ADMIN_ACTIONS))
        and not (action is JobAction.CANCEL and cancel_requested)
        and not (action is JobAction.START and dispatched)
    ]
