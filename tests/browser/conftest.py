"""Real pages in a real browser: one service and one Chromium per worker, and for each test an empty database.

    async def test_…(visitor, user):
        page = await visitor(user, language="fa", theme="dark", width=360)   # nobody in particular without a user
        await page.goto("/ui/jobs.html")

Each visitor has a browser without memory, which is kept for the visitors of later tests. Whatever goes wrong on a page
unseen (an uncaught error, a word on the console, something that the Content-Security-Policy stopped, a dialog, a failed
request, an answer of 400 or more) fails the test at its end, unless the test foresaw it:
`trouble.allow("answer: 409 POST /api/v1/jobs")`.

Simulated time passes 3600 times faster than real time: `sleep 7200` is a run of two seconds.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Browser, expect

from app.api.state import AppState
from tests.browser.browsers import Browsers
from tests.browser.chromium import ADVICE, DEADLINE_MS, find_chromium, running_chromium
from tests.browser.demo import Lab, read_lab
from tests.browser.service import Service, serving
from tests.browser.shared_demo import shared_demo
from tests.browser.trouble import Trouble
from tests.conftest import cloned
from tests.services.desk import Desk
from tests.surroundings import Run

ENVIRONMENT = {
    "SIMULATION_SPEEDUP": "3600",
    "SIMULATION_FAILURE_RATE": "0",
    "DISPATCHER_TICK_SECONDS": "0.2",
    "DEFAULT_MONTHLY_GPU_HOURS": "1000",
    "LOGIN_FAILURE_LIMIT": "1000",
}

expect.set_options(timeout=DEADLINE_MS)


Visitor = Browsers
"""What a test calls to have a page opened."""


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    if find_chromium() is None:
        if "CI" in os.environ:
            pytest.fail(ADVICE)
        pytest.skip(ADVICE)
    async with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def _browser_database_url(server_url: str, template: str) -> Iterator[str]:
    """Not the worker's other database: the dispatcher on this one never rests."""
    with cloned(server_url, template, "browser") as url:
        yield url


@pytest.fixture(scope="package")
async def _running_service(
    _browser_database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    async with serving(_browser_database_url, tmp_path_factory.mktemp("browser"), ENVIRONMENT) as service:
        yield service


@pytest.fixture
async def service(_running_service: Service) -> Service:
    """It runs, and nobody has used it yet. `await service.stop()` and `.start()` are as good as a restart."""
    await _running_service.forget_everything()
    return _running_service


@pytest.fixture(scope="session")
async def demo(server_url: str, template: str, surroundings: Run) -> AsyncIterator[Service]:
    """Another service, of a lab that has used it for months. For tests that change nothing there."""
    async with shared_demo(server_url, template, surroundings.directory) as service:
        yield service


@pytest.fixture
async def lab(demo: Service) -> Lab:
    return await read_lab(demo.state)


@pytest.fixture
def state(service: Service) -> AppState:
    """What factories need, on the service's database; `user` and `admin` are made with it."""
    return service.state


@pytest.fixture
def desk(state: AppState) -> Desk:
    """Jobs and quotas without clicking."""
    return Desk(state)


@pytest.fixture
def trouble() -> Iterator[Trouble]:
    trouble = Trouble()
    yield trouble
    assert trouble.unforeseen == []


@pytest.fixture(scope="package")
async def _browsers(_running_service: Service, chromium: Browser) -> AsyncIterator[Browsers]:
    async with browsers_for(_running_service, chromium) as browsers:
        yield browsers


@pytest.fixture(scope="package")
async def _demo_browsers(demo: Service, chromium: Browser) -> AsyncIterator[Browsers]:
    async with browsers_for(demo, chromium) as browsers:
        yield browsers


@pytest.fixture
async def visitor(service: Service, _browsers: Browsers, trouble: Trouble) -> AsyncIterator[Visitor]:  # noqa: ARG001
    async with visitors(_browsers, trouble) as visitor:
        yield visitor


@pytest.fixture
async def demo_visitor(_demo_browsers: Browsers, trouble: Trouble) -> AsyncIterator[Visitor]:
    """A visitor to the demo, who may look at everything and change nothing."""
    async with visitors(_demo_browsers, trouble) as visitor:
        yield visitor


@asynccontextmanager
async def browsers_for(service: Service, chromium: Browser) -> AsyncIterator[Browsers]:
    browsers = Browsers(service.url, chromium)
    yield browsers
    await browsers.close()


@asynccontextmanager
async def visitors(browsers: Browsers, trouble: Trouble) -> AsyncIterator[Visitor]:
    yield browsers
    await browsers.take_back()
    trouble.take_over(browsers.trouble)
