"""From a run's specification to what `sbatch` is given: options on its command line, a script by its standard input.

The script is made from one template. Whatever a person wrote stands in it only between quotes that nothing can leave,
never in a comment and never in an option, so a `#SBATCH` line in a command is a word to the shell and nothing to Slurm.
The whole of it is one compound command: bash runs nothing of a script that was cut off.

The run's first act is to make a symbolic link whose name is the run and whose text is the job. Only one can be first,
on every file system and from every node. So should Slurm ever come to hold two jobs for one run, or start one twice,
the command is run by the first and by no other; and whoever makes the link without running anything, as a stop does,
has made sure that the command never runs. Slurm does start a job twice: a controller that was killed comes back with a
state that is seconds old, in which a job that has run since still waits. So the text has a random part; the same text
means only that a network file system has done what it was asked, and then reported that it was done already.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from app.domain.execution import JobSpec, LaunchError
from app.executors.slurm.commands import FIXED, PASSED_ON
from app.executors.slurm.gres import UNTYPED
from app.executors.slurm.job import name_of
from app.executors.slurm.limits import MINUTE_SECONDS

_NAME_OF_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_NAME_OF_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REFUSED_AS_SECOND = "The command was not run: it was begun before, or cancelled, or this folder cannot be written to."

_TEMPLATE = """\
#!/bin/bash
{{
began={began}
read -r once </proc/sys/kernel/random/uuid
me="$SLURM_JOB_ID ${{SLURMD_NODENAME:-}}:${{SLURM_JOB_GPUS:-}} $once"
if ! /bin/ln -s -- "$me" "$began" 2>/dev/null && [ "$(/bin/readlink -- "$began")" != "$me" ]; then
    /bin/ln -s -- "$me" {refused} 2>/dev/null
    echo {words} >&2
    kill -TERM $$
    exit 143
fi
unset began me once {unset}
export PATH=/usr/local/bin:/usr/bin:/bin HOME=~ USER="$SLURM_JOB_USER" LOGNAME="$SLURM_JOB_USER"
{variables}
exec /bin/bash -l -c {command}
}}
"""
_OF_THE_SUBMITTER = (*PASSED_ON, *FIXED, "SUDO_COMMAND", "SUDO_GID", "SUDO_UID", "SUDO_USER", "MAIL")
_KEPT = frozenset({"SLURM_CONF"})
"""The environment in which `sbatch` runs is our own (`commands`), and even of that the command sees nothing but where
Slurm's configuration is; then a login gives what one has on that node. `--export=NIL` would keep it out, too, but up to
22.05 it makes Slurm run `su -` before each job, with a time limit after which the job is held."""


@dataclass(frozen=True, slots=True)
class Placing:
    """Where to queue and on whose account; None leaves it to Slurm."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None


def options(
    spec: JobSpec, placing: Placing, *, log_path: Path, home: str, largest_node: int | None, work_dir: str | None = None
) -> list[str]:
    """The arguments of `sbatch`. Everybody on the cluster can read them, so they name nobody.

    Raises:
        LaunchError: no cluster has such a type of GPU.
    """
    if spec.gpu_type != UNTYPED and not _NAME_OF_TYPE.fullmatch(spec.gpu_type):
        raise LaunchError(f"Slurm has no type of GPU with the name {spec.gpu_type!r}.")
    nodes = nodes_for(spec.num_gpus, largest_node)
    kind = "gpu" if spec.gpu_type == UNTYPED else f"gpu:{spec.gpu_type}"
    wishes = {"partition": placing.partition, "account": placing.account, "qos": placing.qos}
    return [
        "--parsable",
        "--no-requeue",
        f"--job-name={name_of(spec.run_id)}",
        "--export=ALL",
        f"--nodes={nodes}",
        "--ntasks-per-node=1",
        f"--gres={kind}:{spec.num_gpus // nodes}",
        f"--time={max(1, math.ceil(spec.time_limit.total_seconds() / MINUTE_SECONDS))}",
        f"--output={log_path}",
        "--open-mode=append",
        "--input=/dev/null",
        f"--chdir={work_dir or home}",
        f"--comment=job {spec.job_id}",
        *(f"--{wish}={value}" for wish, value in wishes.items() if value),
    ]


def nodes_for(num_gpus: int, largest_node: int | None) -> int:
    """One node where the GPUs fit on one, else as few as give each the same number."""
    if largest_node is None or num_gpus <= largest_node:
        return 1
    return next(
        nodes for nodes in range(2, num_gpus + 1) if num_gpus % nodes == 0 and num_gpus // nodes <= largest_node
    )


def script(spec: JobSpec, *, began_path: Path, refused_path: Path) -> bytes:
    """The batch script. `exec` makes the command the process that Slurm signals and whose end it tells.

    Raises:
        LaunchError: no shell can be given such a command, or such a variable.
    """
    variables = {
        **spec.environment,
        "GTM_JOB_ID": str(spec.job_id),
        "GTM_RUN_ID": str(spec.run_id),
        "GTM_JOB_NAME": spec.name,
        "GTM_GPUS": str(spec.num_gpus),
        "GTM_DATA_LOCATION": spec.data_location or "",
    }
    if any("\0" in text for text in (spec.command, *variables.values())):
        raise LaunchError("The command or a variable contains a NUL character, which no shell can take.")
    if strange := [name for name in variables if not _NAME_OF_VARIABLE.fullmatch(name)]:
        raise LaunchError(f"No shell has a variable with the name {strange[0]!r}.")
    return _TEMPLATE.format(
        began=quote(str(began_path)),
        refused=quote(str(refused_path)),
        words=quote(REFUSED_AS_SECOND),
        unset=" ".join(name for name in _OF_THE_SUBMITTER if name not in _KEPT),
        variables="\n".join(f"export {name}={quote(value)}" for name, value in variables.items()),
        command=quote(spec.command),
    ).encode(errors="replace")


@dataclass(frozen=True, slots=True)
class Began:
    """Which job began a run, on which GPUs. Without a job: nobody began it, and nobody ever will."""

    job_id: str | None
    placement: str | None


NEVER = "never"
_BEGAN = re.compile(r"(\d+) ([\w.-]*):([\d,]*) [\w-]*")


def parse_began(link_text: str) -> Began:
    found = _BEGAN.fullmatch(link_text)
    if not found:
        return Began(None, None)
    job_id, node, gpus = found.groups()
    return Began(job_id, f"{node}:{gpus}" if node and gpus else node or None)


def parse_parsable(output: str) -> str | None:
    """The number of the new job from `sbatch --parsable`: `123`, or `123;cluster`. None: it says something else."""
    lines = output.strip().splitlines()
    job_id = lines[-1].partition(";")[0].strip() if lines else ""
    return job_id if job_id.isdecimal() else None
