"""What the run wrapper is told about a run: `spec.json`, from the job's specification and the machine's settings."""

import os
import pwd
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from app.domain.execution import GpuSlot, JobSpec
from app.executors.local.account import JobUser, JobUsers, OneUser
from app.executors.local.devices import Devices
from app.executors.local.disk import DiskLimits
from app.executors.local.run_directory import RunDirectory

PATH = "/usr/local/nvidia/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FOR_EVERYBODY = 0o006
SANDBOX_TMP = "/tmp"  # noqa: S108 - the sandbox has one of its own


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How runs are kept on this machine, and who they run as."""

    runs_dir: Path
    users: JobUsers = field(default_factory=OneUser)
    sandbox: Literal["none", "bubblewrap"] = "none"
    hidden_paths: tuple[Path, ...] = ()
    writable_paths: tuple[Path, ...] = ()
    """In a sandbox, besides the run's own."""
    log_limit_bytes: int = 64 * 2**20
    memory_limit_bytes: int | None = None
    process_limit: int | None = None
    keep_runs: timedelta = timedelta(days=90)
    keep_runs_bytes: int | None = None
    disk: DiskLimits = field(default_factory=DiskLimits)
    kill_grace: timedelta = timedelta(seconds=30)


def describe(
    spec: JobSpec, user: JobUser | None, directory: RunDirectory, devices: Devices, options: LocalOptions
) -> Mapping[str, Any]:
    """Everything the wrapper needs, and the GPUs for whoever looks at the directory later."""
    device_files = devices.files_of(spec.slots)
    return {
        "run_id": str(spec.run_id),
        "command": spec.command,
        "env": environment(spec, user, directory, devices, options),
        "cwd": str(directory.work),
        "uid": None if user is None else user.uid,
        "gid": None if user is None else user.gid,
        "groups": None if user is None else sorted({*user.groups, *groups_for(device_files)}),
        "time_limit_seconds": spec.time_limit.total_seconds(),
        "kill_grace_seconds": options.kill_grace.total_seconds(),
        "log_limit_bytes": options.log_limit_bytes,
        "memory_limit_bytes": options.memory_limit_bytes,
        "process_limit": options.process_limit,
        "sandbox": options.sandbox,
        "gpu_device_paths": list(device_files),
        "hidden_paths": [str(path) for path in options.hidden_paths],
        "writable_paths": [str(path) for path in (directory.work, *options.writable_paths)],
        "slots": [[slot.node, slot.index, slot.uuid] for slot in spec.slots],
    }


def groups_for(device_files: Collection[str]) -> set[int]:
    """Groups that a process needs to get at these files. Root's is given to nobody."""
    groups = set()
    for path in device_files:
        with suppress(OSError):
            found = Path(path).stat()
            if found.st_mode & FOR_EVERYBODY != FOR_EVERYBODY and found.st_mode & stat.S_IWGRP:
                groups.add(found.st_gid)
    return groups - {0}


def environment(
    spec: JobSpec, user: JobUser | None, directory: RunDirectory, devices: Devices, options: LocalOptions
) -> Mapping[str, str]:
    """By an allow-list, so that no secret of the service is in it. What makes the run ours comes last and stays.

    The home is the run's own: what lies in a home is run by shells and interpreters, so two owners must not share one.
    """
    is_sandboxed = options.sandbox == "bubblewrap"
    has_services_home = user is None and not is_sandboxed
    home = os.environ.get("HOME", str(directory.work)) if has_services_home else str(directory.work)
    name = user.name if user is not None else _own_name()
    visible = devices.visible_as(spec.slots)
    return {
        "PATH": PATH,
        "HOME": home,
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
