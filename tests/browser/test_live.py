"""Pages change by themselves: by one stream for all tabs, without a gap, and by polling where no stream comes."""

import asyncio
from datetime import timedelta

import pytest
from playwright.async_api import BrowserContext, Page, Request, Route, expect

from tests.browser.chromium import DEADLINE_MS
from tests.browser.conftest import Visitor
from tests.browser.service import Service
from tests.browser.trouble import Trouble
from tests.factories import Person
from tests.services.desk import Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

AWAY = ("failed: ", "answer: 50")


async def dashboard(context: BrowserContext) -> Page:
    page = await context.new_page()
    await page.goto("/ui/index.html")
    return page


async def test_a_page_for_admins_does_not_seem_to_connect_for_ever_to_others(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/admin/users.html")
    await expect(page.locator("#main").get_by_role("heading", level=1)).to_be_visible()
    await expect(page.locator(".live-live")).to_be_visible()


async def test_a_decision_shows_without_a_reload(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    job_id = await desk.submit(user, command="sleep 3600")
    page = await visitor(user)
    await page.goto("/ui/index.html")
    status = page.locator(".job-cards .status")
    await expect(status).to_have_text("Pending")
    await expect(page.locator(".live-live")).to_be_visible()
    await desk.approve(admin, job_id)
    await expect(status).to_have_text("Approved")
    await desk.start(admin, job_id)
    await expect(page.locator(".figure")).to_have_text("999")
    await expect(page.locator(".job-cards")).to_have_count(0)
    long = await desk.submit(user, command="python train.py  #SIM duration=99%", time_limit=timedelta(hours=720))
    await desk.approve(admin, long)
    await desk.start(admin, long)
    await expect(status).to_have_text("Running")


async def test_tabs_share_one_stream_and_another_takes_over(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    first = await visitor(user)
    streams: list[Request] = []
    first.context.on("request", lambda request: streams.append(request) if "/events" in request.url else None)
    await first.goto("/ui/index.html")
    await expect(first.locator(".live-live")).to_be_visible()
    second = await dashboard(first.context)
    await expect(second.locator(".job-cards .status")).to_have_text("Pending")
    await desk.approve(admin, job_id)
    for page in (first, second):
        await expect(page.locator(".job-cards .status")).to_have_text("Approved")
    await expect(second.locator(".live-live")).to_be_visible()
    assert len(streams) == 1
    await first.close()
    await desk.cancel(user, job_id)
    await expect(second.locator(".job-cards")).to_have_count(0)
    assert len(streams) == 2


async def test_a_service_that_is_away_is_told_from_a_stream_that_does_not_come_and_leaves_no_gap(
    visitor: Visitor, service: Service, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(*AWAY)
    job_id = await desk.submit(user)
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await expect(page.locator(".live-live")).to_be_visible()
    await service.stop()
    await expect(page.locator(".live-offline")).to_have_text("No connection")
    await desk.approve(admin, job_id)
    await service.start()
    await expect(page.locator(".job-cards .status")).to_have_text("Approved")
    await expect(page.locator(".live-live")).to_be_visible()


async def test_a_paused_page_stands_still_and_catches_up(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    page = await visitor(user)
    asked, answered = list[Request](), list[Request]()
    page.on("request", lambda request: asked.append(request) if "/api/v1/jobs" in request.url else None)
    page.on("requestfinished", lambda request: answered.append(request) if "/api/v1/jobs" in request.url else None)

    async def nothing_is_being_read() -> bool:
        """What was asked for before the pause may still change the page."""
        return len(asked) == len(answered)

    await page.goto("/ui/index.html")
    other = await dashboard(page.context)
    await expect(page.locator(".job-cards .status")).to_have_text("Pending")
    await expect(page.locator(".live-live")).to_be_visible()
    await page.click(".live-badge")
    await expect(page.locator(".live-paused")).to_be_visible()
    await eventually(nothing_is_being_read)
    await desk.approve(admin, job_id)
    await expect(other.locator(".job-cards .status")).to_have_text("Approved")
    await expect(page.locator(".job-cards .status")).to_have_text("Pending")
    await page.click(".live-badge")
    await expect(page.locator(".job-cards .status")).to_have_text("Approved")


async def test_without_a_stream_the_page_asks_now_and_then(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("failed: GET /api/v1/events")
    job_id = await desk.submit(user)
    page = await visitor(user, kept=False)
    await page.clock.install()
    await page.route("**/api/v1/events", lambda route: route.abort())
    await page.goto("/ui/index.html")
    await expect(page.locator(".job-cards .status")).to_have_text("Pending")
    for _ in range(4):
        await page.clock.fast_forward(10_000)
    await expect(page.locator(".live-polling")).to_be_visible()
    await desk.approve(admin, job_id)
    await page.clock.fast_forward(60_000)
    await expect(page.locator(".job-cards .status")).to_have_text("Approved")


async def test_what_happens_while_a_page_reads_its_data_is_not_missed(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    reader = await visitor(user)
    await reader.goto("/ui/index.html")
    await expect(reader.locator(".live-live")).to_be_visible()
    page = await reader.context.new_page()
    is_read, is_told = asyncio.Event(), asyncio.Event()

    async def slowly(route: Route) -> None:
        answer = await route.fetch()
        is_read.set()
        await is_told.wait()
        await route.fulfill(response=answer)

    await page.route("**/api/v1/jobs?*", slowly, times=1)
    await page.goto("/ui/index.html")
    await asyncio.wait_for(is_read.wait(), DEADLINE_MS / 1000)
    await desk.approve(admin, job_id)
    await expect(reader.locator(".job-cards .status")).to_have_text("Approved")
    is_told.set()
    await expect(page.locator(".job-cards .status")).to_have_text("Approved")


async def test_a_tab_that_slept_asks_the_reader_of_all_tabs_before_it_reads_itself(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    reader = await visitor(user, kept=False)
    streams: list[Request] = []
    reader.context.on("request", lambda request: streams.append(request) if "/events" in request.url else None)
    await reader.goto("/ui/index.html")
    await expect(reader.locator(".live-live")).to_be_visible()
    sleeper = await reader.context.new_page()
    await sleeper.clock.install()
    await sleeper.goto("/ui/index.html")
    await expect(sleeper.locator(".live-live")).to_be_visible()
    await sleeper.clock.fast_forward("08:00:00")
    await desk.approve(admin, job_id)
    await expect(sleeper.locator(".job-cards .status")).to_have_text("Approved")
    await sleeper.clock.fast_forward("00:10")
    await desk.cancel(user, job_id)
    await expect(sleeper.locator(".job-cards")).to_have_count(0)
    assert len(streams) == 1


async def test_without_locks_only_tabs_that_are_seen_hold_a_connection(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    """Browsers have no locks without TLS, and six connections to a server."""
    trouble.allow("failed: GET /api/v1/events")
    job_id = await desk.submit(user)
    page = await visitor(user, kept=False)
    await page.add_init_script("Object.defineProperty(navigator, 'locks', { value: undefined })")
    await page.goto("/ui/index.html")
    await expect(page.locator(".live-live")).to_be_visible()
    async with page.expect_event("requestfailed", lambda request: "/events" in request.url):
        await show(page, False)
    await desk.approve(admin, job_id)
    async with page.expect_request("**/api/v1/events") as resumed:
        await show(page, True)
    assert (await resumed.value).headers["last-event-id"]
    await expect(page.locator(".job-cards .status")).to_have_text("Approved")
    await expect(page.locator(".live-live")).to_be_visible()


async def show(page: Page, is_seen: bool) -> None:
    await page.evaluate(
        """(isSeen) => {
          Object.defineProperty(document, "hidden", { value: !isSeen, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_seen,
    )
