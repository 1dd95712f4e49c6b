"""How a job looks to a person: a line of a list, or a line for each of its fields."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gtm.durations import format_hours
from gtm.output import Column, plain

Job = Mapping[str, Any]
Show = Callable[[Any], str]

SMALLEST_SHOWN_HOURS = 0.01
ACTIVE = ("PENDING", "APPROVED", "RUNNING")
ENDED = ("COMPLETED", "FAILED", "REJECTED", "CANCELLED")
STATUS_COLORS = {
    "PENDING": "yellow",
    "APPROVED": "cyan",
    "RUNNING": "blue",
    "COMPLETED": "green",
    "FAILED": "red",
    "REJECTED": "red",
    "CANCELLED": "bright_black",
}


def job_columns(moment: Show, *, with_owner: bool = False) -> Sequence[Column]:
    """For a list of jobs."""
    owner = [Column("Owner", "owner.email")] if with_owner else []
    return [
        Column("ID", "id", align_right=True),
        *owner,
        Column("Name", "name"),
        Column("Status", "status", style=STATUS_COLORS.get),
        Column("GPUs", "", gpus),
        Column("Time", "estimated_hours", format_hours, align_right=True),
        Column("Done", "progress", percent, align_right=True),
        Column("Submitted", "created_at", moment),
        Column("Why", "reason_text"),
    ]


def job_fields(moment: Show) -> Sequence[Column]:
    """For one job. What it does not have is left out by `known_fields`."""
    return [
        Column("Job", "id"),
        Column("Name", "name"),
        Column("Status", "status", style=STATUS_COLORS.get),
        Column("Why", "reason_text"),
        Column("Error", "error_message"),
        Column("Exit code", "exit_code"),
        Column("Signal", "exit_signal"),
        Column("Owner", "owner", person),
        Column("GPUs", "", gpus),
        Column("On", "", places),
        Column("Time limit", "estimated_hours", format_hours),
        Column("Done", "progress", percent),
        Column("Reserved", "reserved_gpu_hours", gpu_hours),
        Column("For ending", "reserved_beyond_limit_gpu_hours", beyond_limit),
        Column("Charged", "charged_gpu_hours", gpu_hours),
        Column("Refunded", "refunded_gpu_hours", lambda hours: gpu_hours(hours or None)),
        Column("Sensitive", "is_sensitive"),
        Column("Data", "data_location"),
        Column("Justification", "justification"),
        Column("Submitted", "created_at", moment),
        Column("Decided", "decided_at", moment),
        Column("Decided by", "decided_by", person),
        Column("Note", "decision_note"),
        Column("Engine's id", "engine_job_id"),
        Column("Expected", "expected_start_at", moment),
        Column("Started", "started_at", moment),
        Column("Ended", "finished_at", moment),
        Column("Command", "command", lambda command: str(command).rstrip("\n")),
    ]


def known_fields(record: Mapping[str, Any], fields: Sequence[Column]) -> Sequence[Column]:
    """Those that have something to show."""
    return [field for field in fields if field.text(record) != plain(None)]


def gpus(job: Job) -> str:
    """As they are asked for: `A100:2`."""
    return f"{job['gpu_type']}:{job['num_gpus']}"


def places(job: Job) -> str:
    """`node1:0 node1:1`, or where the engine chose, its own word for it."""
    held = " ".join(f"{gpu['node']}:{gpu['index']}" for gpu in job["gpus"])
    return held or plain(job["placement"])


def percent(share: float | None) -> str:
    return plain(None) if share is None else f"{share:.0%}"


def gpu_hours(hours: float | None) -> str:
    """`8 GPU-hours`, to two decimals; what is less than them is not called nothing."""
    if hours is None:
        return plain(None)
    if 0 < hours < SMALLEST_SHOWN_HOURS:
        return f"less than {SMALLEST_SHOWN_HOURS} GPU-hours"
    return f"{plain(float(hours))} GPU-hour{'' if hours == 1 else 's'}"


def beyond_limit(hours: float | None) -> str:
    """What is reserved because the engine rounds time limits up and takes time to end a run, where it does."""
    return gpu_hours(hours or None)


def person(someone: Mapping[str, Any] | None) -> str:
    if someone is None:
        return plain(None)
    return f"{someone['full_name']} <{someone['email']}>" if someone["full_name"] else str(someone["email"])


def summary(job: Job) -> str:
    """`train.sh: 2 A100 for up to 4h, 8 GPU-hours`."""
    return (
        f"{job['name']}: {job['num_gpus']} {job['gpu_type']} for up to {format_hours(job['estimated_hours'])}, "
        f"{gpu_hours(job['reserved_gpu_hours'])}"
    )


def exit_code_of(job: Job) -> int:
    """What a shell is told of a job that has ended: its own exit code; 1 where it failed, or never ran, without one."""
    if job["status"] == "COMPLETED":
        return 0
    return (job["exit_code"] or 1) if job["status"] == "FAILED" else 1
