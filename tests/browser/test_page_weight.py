"""The first load of every page stays within its limits. How long it takes is for `benchmarks/run pages` to measure."""

import pytest
from playwright.async_api import Browser

from benchmarks.page_weight import LIMIT_BYTES, LIMIT_REQUESTS, LIMIT_SHIFT, load_cold
from tests.browser.demo import Lab
from tests.browser.pages import PageOfOurs, pages_of_ours
from tests.browser.service import Service

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("shown", pages_of_ours(), ids=lambda page: page.name)
async def test_a_first_load_is_light_and_stands_still(
    chromium: Browser, demo: Service, lab: Lab, shown: PageOfOurs
) -> None:
    load = await load_cold(chromium, demo, lab, shown)
    assert load.transferred <= LIMIT_BYTES
    assert load.requests <= LIMIT_REQUESTS
    assert load.shift < LIMIT_SHIFT
