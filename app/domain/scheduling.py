"""Which approved jobs start next, and why the others wait. Pure: a queue and the free GPUs in, decisions out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.execution import WaitReason

MOST_COUNTED = 1000
"""A queue is not counted further: nobody needs to know, and counting has its price."""


@dataclass(frozen=True, slots=True)
class WaitingJob:
    """An approved job without a run. `lacks_quota`: it would start in a month that has no room for it."""

    job_id: int
    gpu_type: str
    num_gpus: int
    approved_at: datetime
    lacks_quota: bool


@dataclass(frozen=True, slots=True)
class PlaceInQueue:
    """What stands between a job without a run and its start, as far as it can be counted.

    Ahead of an undecided job are those submitted earlier that wait for a decision, ahead of an approved one those
    approved earlier that wait for the same GPU type; the other number is None. They are counted up to `MOST_COUNTED`.
    """

    pending_ahead: int | None
    approved_ahead: int | None
    free_gpus: int
    held_by: int


def plan_starts(
    queue: Sequence[WaitingJob], free: Mapping[str, int], *, now: datetime, starvation_limit: timedelta
) -> list[int]:
    """Go through the queue in the order of approval and take what fits.

    A job that does not fit lets smaller ones pass, until it has waited `starvation_limit`; from then on nothing that
    needs the same GPU type passes it, so that its GPUs gather.
    """
    left = dict(free)
    starts: list[int] = []
    for job in queue:
        if job.lacks_quota:
            continue
        if job.num_gpus <= left.get(job.gpu_type, 0):
            left[job.gpu_type] -= job.num_gpus
            starts.append(job.job_id)
        elif now - job.approved_at > starvation_limit:
            left[job.gpu_type] = 0
    return starts


def explain_waits(
    queue: Sequence[WaitingJob], free: Mapping[str, int], *, starts_by_itself: bool
) -> dict[int, WaitReason]:
    """The one reason that keeps each job from running now: quota, then GPUs, then the admin who has to start it."""
    return {job.job_id: _wait_reason(job, free, starts_by_itself) for job in queue}


def _wait_reason(job: WaitingJob, free: Mapping[str, int], starts_by_itself: bool) -> WaitReason:
    if job.lacks_quota:
        return WaitReason.AWAITING_QUOTA
    if starts_by_itself or job.num_gpus > free.get(job.gpu_type, 0):
        return WaitReason.AWAITING_GPUS
    return WaitReason.AWAITING_START
