"""The engines that can be chosen by the setting `EXECUTOR`."""

from collections.abc import Callable

from app.core.clock import Clock
from app.core.config import ConfigurationError, Settings
from app.domain.execution import Executor
from app.executors.simulated.executor import SimulatedExecutor
from app.executors.simulated.fleet import parse_fleet
from app.executors.simulated.timeline import MINIMUM_SPEEDUP


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


_ENGINES: dict[str, Callable[[Settings, Clock], Executor]] = {"simulated": _simulated}
