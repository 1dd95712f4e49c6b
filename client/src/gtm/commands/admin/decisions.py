"""Requests, and the decisions on them: several at once, each standing for itself."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gtm.context import Session
from gtm.durations import format_hours
from gtm.errors import CommandError, UsageError, exit_code_of
from gtm.jobview import STATUS_COLORS, Show, gpu_hours, gpus
from gtm.lists import LimitOption, first_rows
from gtm.output import Column, value_at
from gtm.several import tell
from gtm.times import moments

MOST_AT_ONCE = 100
TO_DECIDE, TO_START = "PENDING", "APPROVED"

JobArguments = Annotated[list[int], typer.Argument(metavar="JOB...", min=1, help="Ids of jobs.")]


def requests(
    session: Session,
    status: Annotated[
        str | None,
        typer.Option(metavar=f"{TO_DECIDE}|{TO_START}", help="Only those to decide on, or only those to start."),
    ] = None,
    limit: LimitOption = 100,
) -> None:
    """List what waits for a decision or a start, oldest first."""
    output = session.output
    jobs = first_rows(session, "/admin/jobs", {"status": _statuses(status), "sort": "oldest"}, limit=limit)
    columns = _columns(moments(session.settings.calendar))
    if output.format == "table":
        shown = [{**job, "left": left} for job, left in zip(jobs, _hours_left(session, jobs), strict=True)]
        output.records(shown, columns, empty="Nothing waits.")
        _say_next(session, jobs)
    else:
        output.records(jobs, columns, empty="")


def approve(
    session: Session,
    job_ids: JobArguments,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="A remark that the owner reads.")] = None,
    digest: Annotated[
        str | None,
        typer.Option(metavar="SHA256", help="Only if it still asks for what was read: `digest` of `gtm show --json`."),
    ] = None,
) -> None:
    """Allow PENDING jobs to run."""
    if digest is not None and len(job_ids) > 1:
        raise UsageError("--digest is that of one job.", hint="gtm admin approve JOB --digest …")
    _decide(session, job_ids, "approve", note, digest=digest, then={"APPROVED": "gtm admin start"})


def reject(
    session: Session,
    job_ids: JobArguments,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: the owner reads it.")],
) -> None:
    """Refuse PENDING jobs. What they had reserved is their owners' again."""
    if not reason.strip():
        raise UsageError("A rejection needs its reason.", hint='--reason "…"')
    _decide(session, job_ids, "reject", reason, then={})


def start(session: Session, job_ids: JobArguments) -> None:
    """Run APPROVED jobs now. Where the engine has a queue of its own, they enter it."""
    _decide(session, job_ids, "start", None, then={"RUNNING": "gtm wait", "APPROVED": "gtm wait"})


def refund(
    session: Session,
    job_id: Annotated[int, typer.Argument(metavar="JOB", help="The id of a job that has ended.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: it stands in the ledger.")],
    hours: Annotated[
        float | None, typer.Option(metavar="HOURS", min=0, help="So many GPU-hours; all of the charge without it.")
    ] = None,
) -> None:
    """Refund what a job was charged, all of it or a part."""
    if not reason.strip():
        raise UsageError("A refund needs its reason.", hint='--reason "…"')
    job = session.service.post(f"/admin/jobs/{job_id}/refund", {"gpu_hours": hours, "reason": reason})
    tell(session, [job], _refunded, then=lambda _: f"gtm admin quota {job['owner']['email']} --entries")


def _refunded(job: Mapping[str, Any]) -> str:
    charged, refunded = gpu_hours(job["charged_gpu_hours"]), gpu_hours(job["refunded_gpu_hours"])
    return f"Job {job['id']} was charged {charged}, of which {refunded} are refunded."


def _statuses(wanted: str | None) -> list[str]:
    if wanted is None:
        return [TO_DECIDE, TO_START]
    if wanted.upper() not in (TO_DECIDE, TO_START):
        raise UsageError(f"{wanted} is neither {TO_DECIDE} nor {TO_START}.", hint="gtm ps --user all --status …")
    return [wanted.upper()]


def _columns(moment: Show) -> list[Column]:
    return [
        Column("ID", "id", align_right=True),
        Column("Status", "status", style=STATUS_COLORS.get),
        Column("Owner", "owner.email"),
        Column("Name", "name"),
        Column("GPUs", "", gpus),
        Column("Time", "estimated_hours", format_hours, align_right=True),
        Column("GPU-hours", "reserved_gpu_hours", align_right=True),
        Column("Left", "left", align_right=True),
        Column("Submitted", "created_at", moment),
        Column("Justification", "justification"),
    ]


def _hours_left(session: Session, jobs: list[Mapping[str, Any]]) -> list[float | None]:
    """What is left of each owner's month, for the 100 of them whom one call tells of."""
    owners = list(dict.fromkeys(job["user_id"] for job in jobs))[:MOST_AT_ONCE]
    if not owners:
        return []
    standing = session.service.get("/admin/users/standing", {"id": owners})
    left = {each["user_id"]: value_at(each, "quota.available_hours") for each in standing}
    return [left.get(job["user_id"]) for job in jobs]


def _say_next(session: Session, jobs: list[Mapping[str, Any]]) -> None:
    to_decide = [job["id"] for job in jobs if job["status"] == TO_DECIDE]
    if not jobs:
        return
    first = to_decide[0] if to_decide else jobs[0]["id"]
    then = f"gtm show {first}, then gtm admin approve {first}" if to_decide else f"gtm admin start {first}"
    session.output.say(f"To decide on: {len(to_decide)}. To start: {len(jobs) - len(to_decide)}.", then=then)


def _decide(
    session: Session,
    job_ids: list[int],
    action: str,
    note: str | None,
    *,
    digest: str | None = None,
    then: Mapping[str, str],
) -> None:
    """`then`: the command that is useful next, by the status that the jobs have come to.

    Raises:
        typer.Exit: with the highest exit code, if one of several was refused.
        CommandError: the only one was.
    """
    results = _results(session, list(dict.fromkeys(job_ids)), action, note, digest)
    decided = [result["job"] for result in results if result["job"]]
    tell(session, decided, _standing, then=lambda jobs: _next_step(jobs, then))
    refused = [result for result in results if not result["job"]]
    if len(results) == 1 and refused:
        problem = refused[0]["problem"]
        raise CommandError(problem["detail"], exit_code=exit_code_of(refused[0]["status"]), code=problem["code"])
    for result in refused:
        session.output.error(f"{result['job_id']}: {result['problem']['detail']} [{result['problem']['code']}]")
    if refused:
        raise typer.Exit(max(exit_code_of(result["status"]) for result in refused))


def _results(
    session: Session, job_ids: list[int], action: str, note: str | None, digest: str | None
) -> list[Mapping[str, Any]]:
    """One for each job, in their order, from one call: it comes back with all of them, or with none."""
    if len(job_ids) > MOST_AT_ONCE:
        raise UsageError(
            f"{MOST_AT_ONCE} jobs are decided on in one call; these are {len(job_ids)}.", hint="xargs -n 100"
        )
    decisions = [{"job_id": job_id, "action": action, "note": note, "digest": digest} for job_id in job_ids]
    results: list[Mapping[str, Any]] = session.service.post("/admin/jobs/decisions", {"decisions": decisions})
    return results


def _next_step(jobs: Sequence[Mapping[str, Any]], then: Mapping[str, str]) -> str:
    """Repeating a decision is no mistake, so that a job may have gone further since."""
    status = jobs[0]["status"]
    ids = " ".join(str(job["id"]) for job in jobs if job["status"] == status)
    return f"{then[status]} {ids}" if status in then else f"gtm show {jobs[0]['id']}"


def _standing(job: Mapping[str, Any]) -> str:
    queue = f" {job['reason_text']}" if job["wait_reason"] == "IN_ENGINE_QUEUE" else ""
    return f"Job {job['id']} is {job['status']}.{queue}"
