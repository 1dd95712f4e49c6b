"""What the run wrapper is told about a run: `spec.json`, from the job's specification and the machine's settings."""

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from app.domain.execution import GpuSlot, JobSpec
from app.executors.local.account import JobUser
from app.executors.local.devices import Devices
from app.executors.local.run_directory import RunDirectory

PATH = "/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SANDBOX_TMP = "/tmp"  # noqa: S108 - the sandbox has one of its own


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How runs are kept on this machine. `user` None: they run as the service itself."""

    runs_dir: Path
    user: JobUser | None = None
    sandbox: Literal["none", "bubblewrap"] = "none"
    hidden_paths: tuple[Path, ...] = ()
    log_limit_bytes: int = 64 * 2**20
    memory_limit_bytes: int | None = None
    process_limit: int | None = None
    keep_runs: timedelta = timedelta(days=90)
    kill_grace: timedelta = timedelta(seconds=30)


def describe(spec: JobSpec, directory: RunDirectory, devices: Devices, options: LocalOptions) -> Mapping[str, Any]:
    """Everything the wrapper needs, and the GPUs for whoever looks at the directory later."""
    user = options.user
    return {
        "run_id": str(spec.run_id),
        "command": spec.command,
        "env": environment(spec, directory, devices, options),
        "cwd": str(directory.work),
        "uid": None if user is None else user.uid,
        "gid": None if user is None else user.gid,
        "groups": None if user is None else list(user.groups),
        "time_limit_seconds": spec.time_limit.total_seconds(),
        "kill_grace_seconds": options.kill_grace.total_seconds(),
        "log_limit_bytes": options.log_limit_bytes,
        "memory_limit_bytes": options.memory_limit_bytes,
        "process_limit": options.process_limit,
        "sandbox": options.sandbox,
        "gpu_device_paths": list(devices.files_of(spec.slots)),
        "hidden_paths": [str(path) for path in options.hidden_paths],
        "writable_paths": [str(directory.work)],
        "slots": [[slot.node, slot.index, slot.uuid] for slot in spec.slots],
    }


def environment(spec: JobSpec, directory: RunDirectory, devices: Devices, options: LocalOptions) -> Mapping[str, str]:
    """By an allow-list, so that no secret of the service is in it. What makes the run ours comes last and stays."""
    user, is_sandboxed = options.user, options.sandbox == "bubblewrap"
    home = user.home if user is not None else Path(os.environ.get("HOME", directory.work))
    name = user.name if user is not None else _own_name()
    visible = devices.visible_as(spec.slots)
    return {
        "PATH": PATH,
        "HOME": str(directory.work if home is None or is_sandboxed else home),
        "SHELL": "/bin/sh",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "USER": name,
        "LOGNAME": name,
        "TMPDIR": SANDBOX_TMP if is_sandboxed else str(directory.work / "tmp"),
        **spec.environment,
        "CUDA_VISIBLE_DEVICES": visible,
        "NVIDIA_VISIBLE_DEVICES": visible or "void",
        "GTM_JOB_ID": str(spec.job_id),
        "GTM_RUN_ID": str(spec.run_id),
        "GTM_JOB_NAME": spec.name,
        "GTM_GPUS": str(spec.num_gpus),
        **({} if spec.data_location is None else {"GTM_DATA_LOCATION": spec.data_location}),
    }


def _own_name() -> str:
    """The service's user; its number where the machine does not know it, as in some containers."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def slots_in(described: Mapping[str, Any]) -> Sequence[GpuSlot]:
    """The GPUs of a run, as its description tells them."""
    return [GpuSlot(node, index, uuid) for node, index, uuid in described["slots"]]
