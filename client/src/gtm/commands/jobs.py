"""Jobs that exist: list them, look at one, give some up."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.errors import UsageError
from gtm.jobview import (
    ACTIVE,
    ENDED,
    Job,
    gpu_hours,
    job_columns,
    job_fields,
    known_fields,
    percent,
    person,
)
from gtm.lists import LimitOption, show_list
from gtm.output import Column, plain
from gtm.people import EVERYBODY, find_user_id
from gtm.several import each_of
from gtm.times import moments
from gtm.watching import why_it_waits

commands = Commands()

WATCH_SECONDS = 2.0
STATUSES = (*ACTIVE, *ENDED)
CLEAR = "\x1b[H\x1b[2J"

JobArgument = Annotated[int, typer.Argument(metavar="JOB", min=1, help="The job's id.")]


@commands.command(
    prints_data=True,
    epilog="""
        Examples:
          gtm ps
          gtm ps --all --limit 0 -o csv > jobs.csv
          gtm ps --status RUNNING --watch
        """,
)
def ps(
    session: Session,
    everything: Annotated[bool, typer.Option("--all", "-a", help="Those that have ended, too.")] = False,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", "-s", metavar="STATUS", help=f"Only jobs that are {', '.join(STATUSES)}; repeatable."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="USER", help=f"Of somebody else, or `{EVERYBODY}`: for admins. E-mail or id.")
    ] = None,
    limit: LimitOption = 50,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every two seconds.")] = False,
) -> None:
    """List your jobs that have not ended, newest first."""
    statuses = _statuses(status, everything=everything)
    path, parameters = _list_of(session, user, statuses)
    if not watch:
        _show_list(session, path, parameters, limit)
        return
    if not session.output.is_terminal:
        raise UsageError("--watch needs a terminal.", hint="gtm wait JOB, or gtm logs -f JOB")
    while True:
        session.output.stdout.write(CLEAR)
        _show_list(session, path, parameters, limit)
        session.service.waiting.sleep(WATCH_SECONDS)


@commands.command(prints_data=True)
def show(session: Session, job_id: JobArgument) -> None:
    """Show one job: what it asked for, where it stands, and what happened to it."""
    job = session.service.get(f"/jobs/{job_id}")
    moment = moments(session.settings.calendar)
    output = session.output
    output.record(job, known_fields(job, job_fields(moment)))
    if output.format == "table":
        _show_history(session, job)
        _say_next(session, job)


@commands.command(
    prints_data=True,
    epilog="""
        Examples:
          gtm cancel 42
          gtm cancel 42 43 --reason "wrong data" -y
        """,
)
def cancel(
    session: Session,
    job_ids: Annotated[list[int], typer.Argument(metavar="JOB...", min=1, help="Ids of jobs.")],
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for the job's history.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Give jobs up.

    One that waits costs nothing; one that runs is charged for what it ran.
    """
    if not yes and _somebody_looks_on(session):
        _confirm(session, job_ids)

    def give_up(job_id: int) -> Job:
        job: Job = session.service.post(f"/jobs/{job_id}/cancel", {"reason": reason} if reason else None)
        return job

    each_of(session, job_ids, give_up, _cancelled, then=lambda jobs: f"gtm show {jobs[-1]['id']}")


def _statuses(wanted: list[str] | None, *, everything: bool) -> list[str] | None:
    """None for all of them."""
    if not wanted:
        return None if everything else list(ACTIVE)
    statuses = [status.upper() for part in wanted for status in part.split(",")]
    if unknown := [status for status in statuses if status not in STATUSES]:
        raise UsageError(f"There is no status {unknown[0]}. There are {', '.join(STATUSES)}.")
    return statuses


def _list_of(session: Session, user: str | None, statuses: list[str] | None) -> tuple[str, dict[str, Any]]:
    if user is None:
        return "/jobs", {"status": statuses}
    user_id = None if user == EVERYBODY else find_user_id(session.service, user)
    return "/admin/jobs", {"status": statuses, "user": user_id}


def _show_list(session: Session, path: str, parameters: Mapping[str, Any], limit: int) -> None:
    columns = job_columns(moments(session.settings.calendar), with_owner=path == "/admin/jobs")
    empty = "No such jobs. `gtm ps --all` lists those that have ended, too."
    show_list(session, path, parameters, columns, limit=limit, empty=empty)


def _show_history(session: Session, job: Job) -> None:
    moment = moments(session.settings.calendar)
    session.output.data("")
    columns = [
        Column("When", "at", moment),
        Column("What", "kind"),
        Column("Status", "to_status"),
        Column("By", "", lambda event: person(event["actor"]) if event["actor"] else plain(event["actor_process"])),
        Column("Note", "note"),
    ]
    session.output.records(session.service.get(f"/jobs/{job['id']}/events"), columns, empty="Nothing has happened.")


def _say_next(session: Session, job: Job) -> None:
    waits = why_it_waits(session.service, job)
    if job["status"] in ENDED:
        session.output.say("It has ended.", then=f"gtm logs {job['id']}, or gtm resubmit {job['id']}")
    else:
        session.output.say(waits or "It runs.", then=f"gtm logs -f {job['id']}, or gtm cancel {job['id']}")


def _somebody_looks_on(session: Session) -> bool:
    return sys.stdin.isatty() and session.output.shows_progress


def _confirm(session: Session, job_ids: list[int]) -> None:
    for job_id in job_ids:
        session.output.say(_cost_of_cancelling(session.service.get(f"/jobs/{job_id}")))
    if not typer.confirm("Cancel?" if len(job_ids) == 1 else f"Cancel these {len(job_ids)} jobs?", err=True):
        session.output.say("Nothing was cancelled.")
        raise typer.Exit(1)


def _cost_of_cancelling(job: Job) -> str:
    begins = f"Job {job['id']} ({job['name']}) is {job['status']}"
    if job["status"] in ENDED:
        return f"{begins}: there is nothing to cancel."
    if job["status"] != "RUNNING":
        return f"{begins}: nothing is charged, {gpu_hours(job['reserved_gpu_hours'])} are released."
    done = job["progress"] or 0.0
    charged = gpu_hours(done * job["num_gpus"] * job["estimated_hours"])
    return f"{begins}, {percent(done)} of its time limit: what it has run is charged, about {charged}."


def _cancelled(job: Job) -> str:
    if job["status"] == "RUNNING":
        return f"Job {job['id']} is being stopped."
    return f"Job {job['id']} is {job['status']}."
