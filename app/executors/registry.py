"""The engines that can be chosen by the setting `EXECUTOR`."""

from collections.abc import Callable
from datetime import timedelta

import structlog

from app.core.clock import Clock
from app.core.config import ConfigurationError, Settings
from app.domain.execution import Executor
from app.executors.local.account import check_runs_dir, check_writable_dirs, choose_sandbox, job_users
from app.executors.local.disk import DiskLimits
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.spec import LocalOptions
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from app.executors.simulated.timeline import MINIMUM_SPEEDUP
from app.executors.slurm.executor import SlurmExecutor
from app.executors.slurm.options import read_options

JOBS_SHARE_A_USER = (
    "the jobs of all owners run as the same user, so that without a sandbox they can read, change and end each other; "
    "leave LOCAL_JOB_USER out, so that each owner has a user of their own, or set LOCAL_SANDBOX=bubblewrap"
)

log = structlog.get_logger("local")


def create_executor(settings: Settings, clock: Clock) -> Executor:
    """The engine that the settings choose.

    Raises:
        ConfigurationError: there is no such engine, or its settings are unusable.
    """
    try:
        create = _ENGINES[settings.executor]
    except KeyError:
        raise ConfigurationError(f"EXECUTOR: choose one of {', '.join(_ENGINES)}") from None
    return create(settings, clock)


def _simulated(settings: Settings, clock: Clock) -> Executor:
    if settings.simulation_speedup < MINIMUM_SPEEDUP:
        raise ConfigurationError(f"SIMULATION_SPEEDUP: write a number from {MINIMUM_SPEEDUP} up")
    return SimulatedExecutor(
        parse_fleet(settings.simulated_fleet),
        speedup=settings.simulation_speedup,
        failure_rate=settings.simulation_failure_rate,
        clock=clock,
    )


def _local(settings: Settings, clock: Clock) -> Executor:
    runs_dir = settings.runs_dir.absolute()
    users = job_users(settings, runs_dir)
    check_runs_dir(runs_dir, users.example())
    sandbox = choose_sandbox(settings.local_sandbox, users)
    hidden_paths = (settings.data_dir.absolute(), runs_dir)
    check_writable_dirs(settings.local_writable_dirs, hidden_paths)
    if settings.jobs_share_a_user:
        log.warning(JOBS_SHARE_A_USER, user=settings.local_job_user, sandbox=sandbox)
    return LocalExecutor(
        open_devices(settings.local_gpus),
        LocalOptions(
            runs_dir=runs_dir,
            users=users,
            sandbox=sandbox,
            hidden_paths=hidden_paths,
            writable_paths=settings.local_writable_dirs,
            log_limit_bytes=settings.local_log_limit_mib * 2**20,
            memory_limit_bytes=int(settings.local_memory_limit_gib * 2**30) or None,
            process_limit=settings.local_process_limit or None,
            keep_runs=timedelta(days=settings.local_keep_runs_days),
            keep_runs_bytes=int(settings.local_keep_runs_gib * 2**30) or None,
            disk=DiskLimits(
                run_folder_bytes=int(settings.local_run_folder_limit_gib * 2**30) or None,
                free_bytes=int(settings.local_free_space_floor_gib * 2**30) or None,
            ),
        ),
        clock,
    )


def _slurm(settings: Settings, clock: Clock) -> Executor:
    return SlurmExecutor(read_options(settings), clock)


_ENGINES: dict[str, Callable[[Settings, Clock], Executor]] = {"simulated": _simulated, "local": _local, "slurm": _slurm}
