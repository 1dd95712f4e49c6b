"""Staying with a job until it has ended: why it waits, what it prints, and how it ended."""

from gtm.context import Session
from gtm.joblog import follow, read_last_lines
from gtm.jobview import ENDED, Job, gpu_hours
from gtm.logscreen import log_writer
from gtm.output import Output
from gtm.progress import StatusLine
from gtm.service import Service
from gtm.watching import patient, watch


def follow_to_the_end(session: Session, job_id: int, *, last_lines: int | None = None) -> Job:
    """Print the log as it grows, all of it or from its last lines on; before, why there is none yet.

    Returns:
        The job as it ended.
    """
    service, output = patient(session.service), session.output
    _wait_for_the_start(service, output, job_id)
    write, offset = log_writer(output), 0
    if last_lines is not None:
        part = read_last_lines(service, job_id, last_lines)
        write(part.data)
        offset = part.next_offset
    for data in follow(service, job_id, offset, skipped=lambda count: say_skipped(output, count)):
        write(data)
    *_, job = watch(service, job_id)
    return job


def wait_to_the_end(session: Session, job_id: int, *, until: float | None = None) -> Job:
    """Show how far it is. `until`: when to give up, by the clock of `service.waiting`.

    Returns:
        The job as it ended.

    Raises:
        CommandError: it has not ended by then.
    """
    service = patient(session.service, until=until)
    with StatusLine(session.output) as line:
        for job in watch(service, job_id, until=until):
            if job["status"] not in ENDED:
                line.show(_standing(service, job), job["progress"])
        return job


def say_end(output: Output, job: Job) -> None:
    """How it ended, what it cost, and what to look at."""
    why = f" {job['reason_text']}" if job["reason_text"] else ""
    charged = f"{gpu_hours(job['charged_gpu_hours'])} charged."
    then = f"gtm resubmit {job['id']}" if job["status"] in ("REJECTED", "CANCELLED") else f"gtm show {job['id']}"
    output.say(f"Job {job['id']} {job['status']}.{why} {charged}", then=then)


def say_skipped(output: Output, count: int) -> None:
    output.warn(f"{count:,} bytes in the middle of the log were not kept.")


def _wait_for_the_start(service: Service, output: Output, job_id: int) -> None:
    with StatusLine(output) as line:
        for job in watch(service, job_id):
            if job["status"] not in ("PENDING", "APPROVED"):
                return
            line.show(_standing(service, job))


def _standing(service: Service, job: Job) -> str:
    """Status and reason out of one answer, so that a job that is decided on meanwhile is told consistently."""
    waiting = service.get(f"/jobs/{job['id']}/waiting")
    return f"Job {job['id']} is {waiting['status']}. {waiting['text'] or ''}".rstrip()
