"""What a job printed."""

from typing import Annotated

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.following import follow_to_the_end, say_end, say_skipped
from gtm.joblog import LogPart, read_all, read_last_lines
from gtm.jobview import ENDED
from gtm.logscreen import log_writer
from gtm.watching import detaching, why_it_waits

commands = Commands()


@commands.command(
    epilog="""
        Examples:
          gtm logs 42
          gtm logs -f 42 --tail 20
          gtm logs 42 > train.log
        """
)
def logs(
    session: Session,
    job_id: Annotated[int, typer.Argument(metavar="JOB", min=1, help="The job's id.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print it as it grows, until the job has ended.")
    ] = False,
    tail: Annotated[int | None, typer.Option(metavar="LINES", min=0, help="Begin with the last LINES lines.")] = None,
) -> None:
    """Print a job's log.

    Followed, it goes on after a broken connection or a restart of the service where it was. Ctrl+C ends the following,
    not the job.
    """
    if follow:
        with detaching(job_id):
            job = follow_to_the_end(session, job_id, last_lines=tail)
        say_end(session.output, job)
        return
    _print_log(session, job_id, tail)
    job = session.service.get(f"/jobs/{job_id}")
    if job["status"] not in ENDED:
        session.output.say(why_it_waits(session.service, job) or "It still runs.", then=f"gtm logs -f {job_id}")


def _print_log(session: Session, job_id: int, tail: int | None) -> None:
    write, service = log_writer(session.output), session.service
    expected = 0
    for part in read_all(service, job_id) if tail is None else [read_last_lines(service, job_id, tail)]:
        if _begins_later(part, expected) and tail is None:
            say_skipped(session.output, part.offset - expected)
        write(part.data)
        expected = part.next_offset


def _begins_later(part: LogPart, expected: int) -> bool:
    return bool(part.data) and part.offset > expected
