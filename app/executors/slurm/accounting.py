"""`sacct`: jobs that Slurm has accounted for. Text, since the JSON of 22.05 loses exit codes.

A job has a row of its own and one for each step; the script is the step `batch`. Only that row tells the signal of a
cancelled job, and how long the script really held on when it ignored SIGTERM.

Other steps have the names that a command gave them, with line breaks and all. So names stand last in their rows, and
the delimiter is one that no command can know.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from app.executors.slurm.hostlist import expand
from app.executors.slurm.job import ExitStatus, SlurmJob, count_gpus, name_of, run_of
from app.executors.slurm.queue import NotUnderstood, moment_of_text

_FIELDS = "JobIDRaw,UID,State,ExitCode,Start,End,ElapsedRaw,AllocTRES,NodeList,Reason,JobName"
_DISABLED = "accounting storage is disabled"
EARLIER = timedelta(days=1)
"""The clocks of two machines differ, and Slurm wants the time zone of its own."""


def arguments(run_ids: Collection[UUID], launched_since: datetime, delimiter: str) -> list[str]:
    """What to ask `sacct` for these runs. Jobs with numbers that were given twice are asked for, too."""
    return [
        "--noheader",
        "--parsable2",
        f"--delimiter={delimiter}",
        "--allusers",
        "--duplicates",
        f"--name={','.join(map(name_of, run_ids))}",
        f"--starttime=uts{int((launched_since - EARLIER).timestamp())}",
        f"--format={_FIELDS}",
    ]


def is_disabled(error_output: str) -> bool:
    """Whether this cluster keeps no accounts: it has no slurmdbd."""
    return _DISABLED in error_output.lower()


def parse(output: str, delimiter: str) -> list[SlurmJob]:
    """Our jobs in these accounts: a record for each time that Slurm has begun one.

    One that still runs there was submitted, but may have been forgotten since.

    Raises:
        NotUnderstood: all lines have other fields, or one of ours says something else in them.
    """
    fields = _FIELDS.split(",")
    lines = [line.split(delimiter) for line in output.split("\n") if line.strip()]
    whole = [values for values in lines if len(values) == len(fields)]
    if lines and not whole:
        raise NotUnderstood(f"sacct: {lines[0]}")
    records: list[list[dict[str, str]]] = []
    latest: dict[str, list[dict[str, str]]] = {}
    for values in whole:
        row = dict(zip(fields, values, strict=True))
        job_id = row["JobIDRaw"].partition(".")[0]
        if job_id == row["JobIDRaw"]:
            latest[job_id] = []
            records.append(latest[job_id])
        if job_id in latest:
            latest[job_id].append(row)
    return list(filter(None, map(_job, records)))


def _job(rows: list[dict[str, str]]) -> SlurmJob | None:
    allocation = rows[0]
    batch = next((row for row in rows[1:] if row["JobIDRaw"].endswith(".batch")), None)
    run_id, state = run_of(allocation["JobName"]), allocation["State"].partition(" ")[0]
    if run_id is None:
        return None
    nodes = "" if allocation["NodeList"] == "None assigned" else allocation["NodeList"]
    by_uid = allocation["State"].partition(" by ")[2]
    try:
        started_at = moment_of_text(allocation["Start"])
        elapsed = timedelta(seconds=max(int(row["ElapsedRaw"] or 0) for row in (allocation, batch or allocation)))
        exit_status = _exit(allocation["ExitCode"])
        if state == "CANCELLED" or exit_status == ExitStatus(exit_code=0):
            exit_status = _exit(batch["ExitCode"]) if batch else exit_status
        return SlurmJob(
            run_id=run_id,
            job_id=allocation["JobIDRaw"],
            states=frozenset([state]),
            reason=None if allocation["Reason"] in {"", "None"} else allocation["Reason"],
            started_at=started_at,
            ended_at=started_at + elapsed if started_at else moment_of_text(allocation["End"]),
            elapsed=elapsed,
            exit=exit_status,
            gpus=count_gpus(allocation["AllocTRES"]),
            placement=" ".join(expand(nodes)) or None,
            cancelled_by_uid=int(by_uid) if by_uid.isdecimal() else None,
            uid=int(allocation["UID"]),
        )
    except ValueError as error:
        raise NotUnderstood(f"sacct: {allocation}: {error}") from error


def _exit(text: str) -> ExitStatus:
    """From `7:0` or `0:15`."""
    code, _, signal = text.partition(":")
    return ExitStatus(signal=int(signal)) if int(signal or 0) else ExitStatus(exit_code=int(code))
