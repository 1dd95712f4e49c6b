"""Sending a job in: what the service has to add, what it would cost, and what follows."""

import re
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import typer

from gtm.context import Session
from gtm.errors import CommandError, ExitCode, UsageError
from gtm.following import follow_to_the_end, say_end, wait_to_the_end
from gtm.jobspec.options import JobOptions
from gtm.jobview import Job, beyond_limit, exit_code_of, gpu_hours, job_fields, known_fields, summary
from gtm.output import Column
from gtm.service import Service
from gtm.times import moments
from gtm.watching import detaching

KEY = re.compile(r"[\x21-\x7e]{1,255}")
FORECAST = (
    Column("Accepted", "accepted"),
    Column("Reserves", "reserved_gpu_hours", gpu_hours),
    Column("For ending", "reserved_beyond_limit_gpu_hours", beyond_limit),
    Column("Left now", "available_hours_now", gpu_hours),
    Column("Left then", "available_hours_after", gpu_hours),
    Column("Free GPUs", "free_gpus"),
    Column("Fits now", "fits_now"),
)


@dataclass(frozen=True)
class Manner:
    """How a job is sent in; `idempotency_key` is this submission's own name, made up if it is None."""

    dry_run: bool = False
    wait: bool = False
    follow: bool = False
    parsable: bool = False
    idempotency_key: str | None = None


def send_in(session: Session, options: JobOptions, manner: Manner) -> None:
    """Check, submit, say what comes next, and stay with the job if that was asked for.

    Raises:
        UsageError: no command, a GPU type that does not exist, or a key that cannot be sent.
        typer.Exit: with the job's own exit code, if it was waited for.
    """
    key = _checked_key(manner.idempotency_key)
    body = with_gpu_type(session.service, options).to_body()
    if manner.dry_run:
        _foretell(session, body)
        return
    job = _submit(session.service, body, key)
    _announce(session, job, manner)
    if manner.wait or manner.follow:
        _stay(session, job, manner)


def with_gpu_type(service: Service, options: JobOptions) -> JobOptions:
    """The type that was meant, as the service spells it; the only one there is, if none was named."""
    names = [gpu_type["name"] for gpu_type in service.get("/gpu-types")]
    wanted = options.gpu_type
    if wanted is None:
        if len(names) == 1:
            return replace(options, gpu_type=names[0])
        raise UsageError(f"Which GPUs? There are {_listed(names)}.", hint=f"--gpus {_example(names, options)}")
    meant = [name for name in names if name == wanted] or [name for name in names if name.lower() == wanted.lower()]
    if len(meant) != 1:
        raise UsageError(f"There are no GPUs of type {wanted}. There are {_listed(names)}.", hint="gtm gpus")
    return replace(options, gpu_type=meant[0])


def _checked_key(key: str | None) -> str:
    if key is not None and not KEY.fullmatch(key):
        raise UsageError("An idempotency key has 1 to 255 ASCII characters, and no blanks.")
    return key or str(uuid4())


def _foretell(session: Session, body: dict[str, Any]) -> None:
    forecast = session.service.post("/jobs/validate", body)
    session.output.record(forecast, known_fields(forecast, FORECAST), id_field="accepted")
    if not forecast["accepted"]:
        problem = forecast["problem"]
        raise CommandError(problem["detail"], exit_code=ExitCode.REFUSED, code=problem["code"])
    session.output.say("Nothing was submitted.", then="the same without --dry-run")


def _submit(service: Service, body: dict[str, Any], key: str) -> Job:
    """Tried again while the service is away: under one key it stays one job."""
    try:
        job: Job = service.post("/jobs", body, idempotency_key=key)
    except KeyboardInterrupt:
        raise _unknown("Interrupted.", ExitCode.INTERRUPTED, key) from None
    except CommandError as failure:
        if failure.exit_code != ExitCode.UNREACHABLE:
            raise
        raise _unknown(failure.message, failure.exit_code, key) from None
    return job


def _unknown(why: str, exit_code: ExitCode, key: str) -> CommandError:
    """The service may have the job, and its answer was lost."""
    return CommandError(
        f"{why} Whether the job was submitted is not known.",
        exit_code=exit_code,
        hint=f"the same again with --idempotency-key {key}: it will not be submitted twice",
    )


def _announce(session: Session, job: Job, manner: Manner) -> None:
    output = session.output
    stays = manner.wait or manner.follow
    if manner.parsable or output.format == "id":
        output.data(str(job["id"]))
    elif output.format != "table":
        if not stays:
            output.record(job, job_fields(moments(session.settings.calendar)))
    else:
        tell = output.say if manner.follow else output.data
        tell(f"Submitted job {job['id']}")
        output.say(f"{summary(job)} reserved.", then=None if stays else f"gtm logs -f {job['id']}")
    output.stdout.flush()


def _stay(session: Session, job: Job, manner: Manner) -> None:
    output = session.output
    with detaching(job["id"]):
        end = (follow_to_the_end if manner.follow else wait_to_the_end)(session, job["id"])
    if output.format in ("json", "jsonl", "csv") and not manner.follow:
        output.record(end, job_fields(moments(session.settings.calendar)))
    elif not manner.parsable:
        say_end(output, end)
    raise typer.Exit(exit_code_of(end))


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "none at all now"


def _example(names: list[str], options: JobOptions) -> str:
    return f"{names[0] if names else 'TYPE'}:{options.num_gpus or 1}"
