"""What a job can be asked to be. Flags, `#GTM` lines and a job file each give some of it, and are laid over another."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from gtm.durations import hours_of, parse_duration
from gtm.errors import UsageError
from gtm.jobspec.gpus import parse_gpus

LONGEST_NAME = 255
LONGEST_COMMAND = 16_384
LONGEST_JUSTIFICATION = 2_000
LONGEST_DATA_LOCATION = 1_024
LONGEST_DEFAULT_NAME = 60
UNSENDABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")
"""Control characters but tab and newline, and bytes of a command line that are no UTF-8."""


@dataclass(frozen=True)
class JobOptions:
    """The fields of the API's JobCreate; None is left to others, and in the end to the service."""

    name: str | None = None
    gpu_type: str | None = None
    num_gpus: int | None = None
    time_limit: timedelta | None = None
    command: str | None = None
    data_location: str | None = None
    is_sensitive: bool | None = None
    justification: str | None = None

    def over(self, below: "JobOptions") -> "JobOptions":
        """What is said here, and for the rest what is said `below`."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(below, **{name: value for name, value in said.items() if value is not None})

    def to_body(self) -> dict[str, Any]:
        """The body of POST /jobs.

        Raises:
            UsageError: there is no command.
        """
        if self.command is None:
            raise UsageError("There is no command to run. Give a script, or a command after --.")
        body = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "time_limit"}
        body["name"] = self.name or default_name(self.command)
        body["estimated_hours"] = hours_of(self.time_limit) if self.time_limit is not None else None
        return {name: value for name, value in body.items() if value is not None}


NOTHING_SAID = JobOptions()


def default_name(command: str) -> str:
    """The beginning of the command's first line that says something."""
    lines = (" ".join(line.split()) for line in command.splitlines())
    line = next((line for line in lines if line and not line.startswith("#")), "job")
    return line if len(line) <= LONGEST_DEFAULT_NAME else f"{line[: LONGEST_DEFAULT_NAME - 1]}…"


def options_of_job(job: Mapping[str, Any]) -> JobOptions:
    """What a job of the API was asked to be, to ask for it again."""
    return JobOptions(
        name=job["name"],
        gpu_type=job["gpu_type"],
        num_gpus=job["num_gpus"],
        time_limit=timedelta(hours=job["estimated_hours"]),
        command=job["command"],
        data_location=job["data_location"],
        is_sensitive=job["is_sensitive"],
        justification=job["justification"],
    )


def with_gpus(text: str) -> JobOptions:
    wish = parse_gpus(text)
    return JobOptions(gpu_type=wish.gpu_type, num_gpus=wish.num_gpus)


def with_time(text: str) -> JobOptions:
    return JobOptions(time_limit=parse_duration(text))


def with_name(text: str) -> JobOptions:
    name = text.strip()
    if not name or "\n" in name or "\t" in name:
        raise UsageError("A name is one line of text, and not blank.")
    return JobOptions(name=_text(name, "name", LONGEST_NAME))


def with_command(text: str) -> JobOptions:
    """A command, or the text of a script, as bash will read it."""
    if not text.strip():
        raise UsageError("The command is blank.")
    if len(text) > LONGEST_COMMAND:
        raise UsageError(
            f"The command has {len(text):,} characters; {LONGEST_COMMAND:,} are possible. "
            "Put the script where the job can read it, and submit a command that runs it."
        )
    return JobOptions(command=_text(text, "command", LONGEST_COMMAND))


def with_data(text: str) -> JobOptions:
    return JobOptions(data_location=_text(text, "data location", LONGEST_DATA_LOCATION))


def with_justification(text: str) -> JobOptions:
    return JobOptions(justification=_text(text, "justification", LONGEST_JUSTIFICATION))


def with_sensitive(text: str) -> JobOptions:
    """`true` or `yes`, `false` or `no`."""
    meaning = {"true": True, "yes": True, "false": False, "no": False}.get(text.strip().lower())
    if meaning is None:
        raise UsageError(f"{text!r} is neither true nor false.")
    return JobOptions(is_sensitive=meaning)


WRITTEN_OPTIONS: Mapping[str, Callable[[str], JobOptions]] = {
    "gpus": with_gpus,
    "time": with_time,
    "name": with_name,
    "justification": with_justification,
    "data": with_data,
    "sensitive": with_sensitive,
}
"""The options that `#GTM` lines and job files share with the command line, under the same names."""


def _text(text: str, subject: str, longest: int) -> str:
    if len(text) > longest:
        raise UsageError(f"The {subject} has {len(text):,} characters; {longest:,} are possible.")
    if unsendable := UNSENDABLE.search(text):
        raise UsageError(f"The {subject} has {unsendable[0]!r} in it, which cannot be sent. Take it out.")
    return text
