"""A job as it changes: asked for again and again, until it has ended or the caller has seen enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gtm.errors import CommandError, ExitCode
from gtm.jobview import ENDED, Job
from gtm.service import Service

SHORTEST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0
GROWTH = 1.3
WATCHERS_PATIENCE = 40
"""Who only watches waits that many times longer for a service that is away than somebody who wants one answer."""


def watch(service: Service, job_id: int, *, until: float | None = None) -> Iterator[Job]:
    """The job now and again, the last one ended. `until`: when to give up, by the clock of `service.waiting`.

    Raises:
        CommandError: it has not ended by then (PENDING).
    """
    pause, status = SHORTEST_PAUSE_SECONDS, ""
    while True:
        job: Job = service.get(f"/jobs/{job_id}")
        yield job
        if job["status"] in ENDED:
            return
        pause = SHORTEST_PAUSE_SECONDS if job["status"] != status else min(LONGEST_PAUSE_SECONDS, pause * GROWTH)
        status = job["status"]
        _sleep(service, pause, until, job)


def patient(service: Service, *, until: float | None = None) -> Service:
    """The same service for somebody who watches: a restart of it, or a bad connection, is waited out, `until` then."""
    seconds = service.waiting.retry_seconds * WATCHERS_PATIENCE
    if until is not None:
        seconds = max(0.0, min(seconds, until - service.waiting.clock()))
    return replace(service, waiting=replace(service.waiting, retry_seconds=seconds))


def why_it_waits(service: Service, job: Job) -> str:
    """The service's sentence, with what is ahead of the job."""
    sentence = service.get(f"/jobs/{job['id']}/waiting")["text"] if job["wait_reason"] else None
    return sentence or job["reason_text"] or ""


@contextmanager
def detaching(*job_ids: int) -> Iterator[None]:
    """Ctrl+C ends the watching, not the job, and that has to be said."""
    try:
        yield
    except KeyboardInterrupt:
        ids = " ".join(map(str, job_ids))
        raise CommandError(
            f"Detached. Job {ids} goes on." if len(job_ids) == 1 else f"Detached. Jobs {ids} go on.",
            exit_code=ExitCode.INTERRUPTED,
            details=(f"Come back:  gtm logs -f {job_ids[0]}", f"Cancel:     gtm cancel {ids}"),
        ) from None


def _sleep(service: Service, pause: float, until: float | None, job: Job) -> None:
    left = pause if until is None else until - service.waiting.clock()
    if left <= 0:
        raise CommandError(
            f"Job {job['id']} is still {job['status']}.",
            exit_code=ExitCode.PENDING,
            hint=f"gtm wait {job['id']}",
        )
    service.waiting.sleep(min(pause, left))
