"""A desk with the service behind it. After each test that used it, the books must balance."""

from collections.abc import AsyncIterator

import pytest

from app.api.state import AppState
from tests.factories import make_fleet
from tests.services.desk import Desk


@pytest.fixture
async def desk(state: AppState) -> AsyncIterator[Desk]:
    """There are eight A100 and four V100."""
    await make_fleet(state)
    desk = Desk(state)
    yield desk
    assert await desk.broken_rules() == []
