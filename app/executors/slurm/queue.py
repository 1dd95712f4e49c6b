"""`squeue`: all jobs that Slurm's controller still knows, in one call. JSON differs between versions, text does not.

22.05 (no `data_parser`) writes plain numbers, the state as one word and the exit as a raw wait status; since 23.02
numbers are `{"set", "infinite", "number"}`, since 23.11 the state is a list of words.
Only JSON tells which GPUs of a node a job has; it also tells three thousand bytes of everything else for each job of
the whole cluster, since 22.05 ignores filters there. Text is a tenth of that.

A job can have any name, with line breaks and `|` in it. So text has the names cut at one character more than ours have:
what is left of a line behind a line break cannot be a line of ours.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from app.executors.slurm.gres import parse_indexes
from app.executors.slurm.hostlist import expand
from app.executors.slurm.job import LENGTH_OF_NAME, ExitStatus, SlurmJob, count_gpus, run_of

JSON_ARGUMENTS = ("--json", "--states=all", "--all")
_FIELDS = "UserID: JobID: Name:{} State: StartTime: EndTime: NodeList: exit_code: tres-alloc: Reason:"
TEXT_ARGUMENTS = (
    "--noheader",
    "--states=all",
    "--all",
    f"--Format={','.join(f'{field}|' for field in _FIELDS.format(LENGTH_OF_NAME + 1).split())}",
)


class NotUnderstood(ValueError):
    """The output has another form than any that is known."""


def parse_json(output: str) -> list[SlurmJob]:
    """Our jobs among all.

    22.05 writes an empty list and exits with 0 when it cannot reach its controller: that is no answer.

    Raises:
        NotUnderstood: this version of Slurm writes something else, or tells of an error.
    """
    try:
        document = json.loads(output)
        errors = document.get("errors")
        jobs = [job for record in document["jobs"] if (job := _job_of_record(record)) is not None]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotUnderstood(f"squeue --json: {type(error).__name__}: {error}") from error
    if errors:
        raise NotUnderstood(f"squeue --json: {errors}")
    return jobs


def _job_of_record(record: dict[str, Any]) -> SlurmJob | None:
    run_id = run_of(record["name"])
    if run_id is None:
        return None
    states = record["job_state"]
    nodes = expand(record["nodes"] or "")
    return SlurmJob(
        run_id=run_id,
        job_id=str(record["job_id"]),
        states=frozenset([states] if isinstance(states, str) else states),
        reason=": ".join(filter(None, map(_told, (record["state_reason"], record.get("state_description"))))) or None,
        started_at=_moment(_number(record["start_time"])),
        ended_at=_moment(_number(record["end_time"])),
        exit=_exit_of_record(record["exit_code"]),
        gpus=count_gpus(record.get("tres_alloc_str") or ""),
        placement=_placement(nodes, record.get("gres_detail") or []),
        uid=_number(record["user_id"]),
    )


def _number(value: Any) -> int | None:
    """A number as any version writes it; None: not set, or infinite."""
    if isinstance(value, dict):
        return int(value["number"]) if value.get("set") and not value.get("infinite") else None
    return None if value is None else int(value)


def _exit_of_record(value: Any) -> ExitStatus:
    if isinstance(value, int):
        return ExitStatus.of_wait_status(value)
    signal = value.get("signal") or {}
    number = _number(signal.get("id", signal.get("signal_id")))
    return ExitStatus(signal=number) if number else ExitStatus(exit_code=_number(value["return_code"]))


def _placement(nodes: list[str], gres_by_node: list[str]) -> str | None:
    """`n1:0,1 n2:3`; without indexes where Slurm does not tell them, as it does not once a job has ended."""
    if len(gres_by_node) != len(nodes):
        return " ".join(nodes) or None
    parts = []
    for node, gres in zip(nodes, gres_by_node, strict=True):
        indexes = sorted(parse_indexes(gres))
        parts.append(f"{node}:{','.join(map(str, indexes))}" if indexes else node)
    return " ".join(parts) or None


def parse_text(output: str) -> list[SlurmJob]:
    """Our jobs among all, from the fields of `TEXT_ARGUMENTS`. Times have to be written as seconds since 1970.

    Lines with more or fewer fields are what a strange name has made of its line.

    Raises:
        NotUnderstood: all lines have other fields, or a line of ours says something else in them.
    """
    lines = [line.split("|") for line in output.split("\n") if line.strip()]
    whole = [fields for fields in lines if len(fields) == len(_FIELDS.split()) + 1]
    if lines and not whole:
        raise NotUnderstood(f"squeue: {'|'.join(lines[0])!r}")
    return list(_jobs_of_lines(whole))


def _jobs_of_lines(lines: Sequence[Sequence[str]]) -> Iterator[SlurmJob]:
    for line in lines:
        uid, job_id, name, state, start, end, nodes, status, tres, reason, _ = (field.strip() for field in line)
        run_id = run_of(name)
        if run_id is None:
            continue
        try:
            yield SlurmJob(
                run_id=run_id,
                job_id=job_id,
                states=frozenset([state]),
                reason=_told(reason),
                started_at=moment_of_text(start),
                ended_at=moment_of_text(end),
                exit=ExitStatus.of_wait_status(int(status)),
                gpus=count_gpus(tres) if nodes else None,  # without nodes it tells what was asked for
                placement=" ".join(expand(nodes)) or None,
                uid=int(uid),
            )
        except ValueError as error:
            raise NotUnderstood(f"squeue: {'|'.join(line)!r}: {error}") from error


def moment_of_text(text: str) -> datetime | None:
    """From seconds since 1970; Slurm writes N/A, Unknown or None where there is no such time."""
    return _moment(int(text)) if text.isdecimal() else None


def _moment(seconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _told(text: str | None) -> str | None:
    """Slurm's `None` means that it has not considered the job yet."""
    return None if text in (None, "", "None", "(null)", "N/A") else text
