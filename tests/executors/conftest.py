from collections.abc import Callable

import pytest

from tests.executors.engines import EngineUnderTest, SimulatedEngine

ENGINES: dict[str, Callable[[], EngineUnderTest]] = {"simulated": SimulatedEngine}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> EngineUnderTest:
    return ENGINES[request.param]()
