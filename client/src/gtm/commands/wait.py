"""Waiting for the end of jobs, in scripts above all."""

from typing import Annotated

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.durations import parse_duration
from gtm.following import say_end, wait_to_the_end
from gtm.jobview import exit_code_of, job_columns
from gtm.times import moments
from gtm.watching import detaching

commands = Commands()


@commands.command(
    prints_data=True,
    epilog="""
        Examples:
          gtm wait 42 && gtm submit next.sh
          gtm wait 42 43 --timeout 2h
        """,
)
def wait(
    session: Session,
    job_ids: Annotated[list[int], typer.Argument(metavar="JOB...", min=1, help="Ids of jobs.")],
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="Wait so long at most; then exit with 8.")] = None,
) -> None:
    """Wait until jobs have ended, and exit as they did.

    The exit code is the job's own; 1 if it failed without one, or was rejected or cancelled. Of several jobs it is that
    of the first that did not end well.
    """
    waiting = session.service.waiting
    until = None if timeout is None else waiting.clock() + parse_duration(timeout).total_seconds()
    ended = []
    with detaching(*job_ids):
        for job_id in job_ids:
            ended.append(wait_to_the_end(session, job_id, until=until))
            if session.output.format == "table":
                say_end(session.output, ended[-1])
    if session.output.format != "table":
        session.output.records(ended, job_columns(moments(session.settings.calendar)), empty="")
    raise typer.Exit(next((code for code in map(exit_code_of, ended) if code), 0))
