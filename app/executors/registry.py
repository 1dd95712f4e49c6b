"""The engines that can be chosen by the setting `EXECUTOR`."""

from collections.abc import Callable
from datetime import timedelta

from app.core.clock import Clock
from app.core.config import ConfigurationError, Settings
from app.domain.execution import Executor
from app.executors.local.account import check_bubblewrap, check_runs_dir, job_user
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.spec import LocalOptions
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from app.executors.simulated.timeline import MINIMUM_SPEEDUP
from app.executors.slurm.executor import SlurmExecutor
from app.executors.slurm.options import read_options


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
    user = job_user(settings)
    runs_dir = settings.runs_dir.absolute()
    check_runs_dir(runs_dir, user)
    if settings.local_sandbox == "bubblewrap":
        check_bubblewrap(user)
    return LocalExecutor(
        open_devices(settings.local_gpus),
        LocalOptions(
            runs_dir=runs_dir,
            user=user,
            sandbox=settings.local_sandbox,
            hidden_paths=(settings.data_dir.absolute(), runs_dir),
            log_limit_bytes=settings.local_log_limit_mib * 2**20,
            memory_limit_bytes=int(settings.local_memory_limit_gib * 2**30) or None,
            process_limit=settings.local_process_limit or None,
            keep_runs=timedelta(days=settings.local_keep_runs_days),
        ),
        clock,
    )


def _slurm(settings: Settings, clock: Clock) -> Executor:
    return SlurmExecutor(read_options(settings), clock)


_ENGINES: dict[str, Callable[[Settings, Clock], Executor]] = {"simulated": _simulated, "local": _local, "slurm": _slurm}
