import pytest

from app.core.clock import system_clock
from app.core.config import ConfigurationError, Settings
from app.executors.registry import create_executor

pytestmark = pytest.mark.anyio


async def test_the_simulated_engine_is_made_with_its_fleet() -> None:
    executor = create_executor(Settings(simulated_fleet="lab=H100x3"), system_clock)

    assert executor.name == "simulated"
    assert executor.places_gpus
    assert [gpu.slot.node for gpu in await executor.inventory()] == ["lab"] * 3


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (Settings(simulated_fleet="lab"), "SIMULATED_FLEET: cannot read 'lab'"),
        (Settings(simulation_speedup=0.001), "SIMULATION_SPEEDUP: write a number from 0.01 up"),
        (Settings.model_construct(executor="cloud"), "EXECUTOR: choose one of simulated"),
    ],
)
def test_unusable_settings_are_refused_with_advice(settings: Settings, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        create_executor(settings, system_clock)
