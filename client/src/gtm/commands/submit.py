"""Asking for a job, for the first time or again."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.errors import UsageError
from gtm.jobspec.jobfile import load_job_file
from gtm.jobspec.options import (
    NOTHING_SAID,
    JobOptions,
    options_of_job,
    with_command,
    with_data,
    with_gpus,
    with_justification,
    with_name,
    with_time,
)
from gtm.jobspec.script import load_script
from gtm.output import Output
from gtm.submission import Manner, send_in

commands = Commands()

Gpus = Annotated[str | None, typer.Option(metavar="[TYPE:]N", help="GPUs: A100:2, or 2 where there is only one type.")]
Time = Annotated[
    str | None, typer.Option(metavar="TIME", help="When it is stopped at the latest: 4h, 90m, 2:30:00, 1-02:00:00.")
]
Name = Annotated[str | None, typer.Option(metavar="TEXT", help="What lists call it.")]
Justification = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What it is for: the admin who decides reads it.")
]
Data = Annotated[str | None, typer.Option(metavar="PLACE", help="Where its data is.")]
Sensitive = Annotated[bool | None, typer.Option("--sensitive/--no-sensitive", help="Its data is sensitive.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only tell whether it would be accepted, and what it would cost.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end, and exit as it does.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Print its log until its end, and exit as it does.")]
Parsable = Annotated[bool, typer.Option("--parsable", help="Print its id and nothing else.")]
Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Your own name for this submission: sent again under it, it stays one job."),
]
Words = Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="A command and its arguments.")]


@commands.command(
    prints_data=True,
    takes_words=True,
    epilog="""
        Examples:
          gtm submit train.sh
          gtm submit --gpus A100:2 --time 4h -- python train.py --epochs 10
          gtm submit --dry-run train.sh
          id=$(gtm submit --parsable train.sh) && gtm wait "$id"
        """,
)
def submit(
    session: Session,
    script: Annotated[
        str | None, typer.Argument(metavar="SCRIPT", help="A script for bash; - reads one from standard input.")
    ] = None,
    words: Words = None,
    gpus: Gpus = None,
    time: Time = None,
    name: Name = None,
    justification: Justification = None,
    data: Data = None,
    sensitive: Sensitive = None,
    file: Annotated[
        Path | None,
        typer.Option(metavar="JOB.YAML", help="A job file, for what is said neither here nor in the script."),
    ] = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    follow: Follow = False,
    parsable: Parsable = False,
    idempotency_key: Key = None,
) -> None:
    """Submit a job: a script, or a command after --.

    What it needs is said by options, or by #GTM lines before the script's first command, such as
    `#GTM --gpus A100:2 --time 4h`, or in a job file. What is said by an option wins.
    """
    if script and words:
        raise UsageError("A script and a command cannot be submitted as one job.")
    flags = _flags(gpus, time, name, justification, data, sensitive)
    sources = [flags, _of_script(script, session.output), _of_words(words), _of_file(file)]
    options = NOTHING_SAID
    for source in sources:
        options = options.over(source)
    send_in(session, options, Manner(dry_run, wait, follow, parsable, idempotency_key))


@commands.command(
    prints_data=True,
    takes_words=True,
    epilog="""
        Examples:
          gtm resubmit 42
          gtm resubmit 42 --time 8h --follow
          gtm resubmit 42 -- python train.py --epochs 20
        """,
)
def resubmit(
    session: Session,
    job_id: Annotated[int, typer.Argument(metavar="JOB", min=1, help="The job to submit again.")],
    words: Words = None,
    gpus: Gpus = None,
    time: Time = None,
    name: Name = None,
    justification: Justification = None,
    data: Data = None,
    sensitive: Sensitive = None,
    dry_run: DryRun = False,
    wait: Wait = False,
    follow: Follow = False,
    parsable: Parsable = False,
    idempotency_key: Key = None,
) -> None:
    """Submit a job again, as it was or with changes.

    It is a new job, and needs a new decision.
    """
    changes = _flags(gpus, time, name, justification, data, sensitive).over(_of_words(words))
    options = changes.over(options_of_job(session.service.get(f"/jobs/{job_id}")))
    send_in(session, options, Manner(dry_run, wait, follow, parsable, idempotency_key))


def _flags(
    gpus: str | None,
    time: str | None,
    name: str | None,
    justification: str | None,
    data: str | None,
    sensitive: bool | None,
) -> JobOptions:
    options = JobOptions(is_sensitive=sensitive)
    readers = (
        (with_gpus, gpus),
        (with_time, time),
        (with_name, name),
        (with_justification, justification),
        (with_data, data),
    )
    for read, text in readers:
        if text is not None:
            options = options.over(read(text))
    return options


def _of_script(path: str | None, output: Output) -> JobOptions:
    if path is None:
        return NOTHING_SAID
    script = load_script(path)
    for number in script.unread:
        output.warn(f"{path}, line {number}: this #GTM line stands after the first command, and is not read.")
    return script.options


def _of_words(words: list[str] | None) -> JobOptions:
    """Several words are one command and its arguments; one alone is a line for the shell."""
    if not words:
        return NOTHING_SAID
    return with_command(words[0] if len(words) == 1 else shlex.join(words))


def _of_file(path: Path | None) -> JobOptions:
    return NOTHING_SAID if path is None else load_job_file(path)
