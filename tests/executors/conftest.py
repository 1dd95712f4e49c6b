"""The engines that the conformance suite runs on: each has a fixture `<name>_engine` in a module of that name."""

import pytest

from tests.executors.engines import EngineUnderTest
from tests.executors.local_engine import local_engine
from tests.executors.simulated_engine import simulated_engine
from tests.executors.slurm_engine import slurm_cluster, slurm_engine

__all__ = ["local_engine", "simulated_engine", "slurm_cluster", "slurm_engine"]

ENGINES = ("simulated", "local", "slurm")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineUnderTest:
    """An engine whose fixture skips where it cannot run, and tidies up."""
    chosen: EngineUnderTest = request.getfixturevalue(f"{request.param}_engine")
    return chosen
