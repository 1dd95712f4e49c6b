"""Slurm jobs in the service's own name. A job can submit them, and so can anybody else who has that account.

The list is asked for without names: a job can have any name, with line breaks and all, and could so make up the lines
of other jobs.
"""

from app.executors.slurm.job import count_gpus
from app.executors.slurm.queue import NotUnderstood

_FIELDS = ("JobID:|", "tres-alloc:|")
_STATES = "PENDING,CONFIGURING,RUNNING,SUSPENDED"
"""What holds something, or will. What is completing was ended by somebody."""
NAME_LENGTH = 200


def list_arguments(uid: int) -> list[str]:
    return ["--noheader", "--all", f"--user={uid}", f"--states={_STATES}", f"--Format={','.join(_FIELDS)}"]


def name_arguments(job_id: str) -> list[str]:
    return ["--noheader", "--all", f"--jobs={job_id}", f"--states={_STATES}", f"--Format=Name:{NAME_LENGTH}"]


def parse_list(output: str) -> dict[str, int | None]:
    """How many GPUs each job holds, by its number; None: none yet, or GPUs are not told of.

    Raises:
        NotUnderstood: it says something else.
    """
    gpus: dict[str, int | None] = {}
    for line in output.splitlines():
        if not line.strip():
            continue
        job_id, *rest = (field.strip() for field in line.split("|"))
        if not job_id.isdecimal() or len(rest) != len(_FIELDS):
            raise NotUnderstood(f"squeue: {line!r}")
        gpus[job_id] = count_gpus(rest[0])
    return gpus
