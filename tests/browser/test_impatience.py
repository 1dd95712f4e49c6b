"""People who are quicker than the service: a second click, a dialog closed too early."""

import asyncio

import pytest
from playwright.async_api import Route, expect

from tests.browser.chromium import DEADLINE_MS
from tests.browser.conftest import Visitor
from tests.browser.words import words
from tests.factories import Person
from tests.services.desk import Desk
from tests.waiting import HANG_SECONDS

pytestmark = pytest.mark.anyio

SAY = words("en")


async def test_a_double_click_asks_once(visitor: Visitor, user: Person, desk: Desk) -> None:
    job_id = await desk.submit(user)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    button = page.get_by_role("button", name=SAY("job.action.cancel"))
    await expect(button).to_be_visible()
    await button.evaluate("(button) => { button.click(); button.click(); }")
    await page.get_by_role("dialog").get_by_role("button", name=SAY("dialog.cancel")).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await button.click()
    await expect(page.get_by_role("dialog")).to_have_count(1)


async def test_a_dialog_closed_before_its_answer_still_tells_of_it(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    page = await visitor(admin)
    is_asked, is_closed = asyncio.Event(), asyncio.Event()

    async def slowly(route: Route) -> None:
        is_asked.set()
        await is_closed.wait()
        await route.continue_()

    await page.route("**/approve", slowly)
    await page.goto(f"/ui/job.html?id={job_id}")
    await page.get_by_role("button", name=SAY("job.action.approve")).click()
    await page.get_by_role("dialog").get_by_role("button", name=SAY("job.action.approve")).click()
    await asyncio.wait_for(is_asked.wait(), HANG_SECONDS)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    is_closed.set()
    await expect(page.locator("#toasts .toast-success")).to_be_visible()


async def test_a_long_list_is_saved_as_one_file(visitor: Visitor, admin: Person, desk: Desk) -> None:
    """The service sends 100,000 rows in a file, and says where the next one begins."""
    for number in (*[5_000] * 20, 1):  # in parts, because the service gives no statement more than five seconds
        await desk.sql(
            """
            INSERT INTO audit_entries (actor_user_id, action, target_type, target_id, details)
            SELECT :id, 'user.renamed', 'user', :id, '{}' FROM generate_series(1, :number)
            """,
            id=admin.id,
            number=number,
        )
    page = await visitor(admin)
    await page.goto("/ui/admin/audit.html?action=user.renamed")
    async with page.expect_download(timeout=DEADLINE_MS) as download:
        await page.get_by_role("button", name=SAY("action.csv")).click()
    lines = (await asyncio.to_thread((await (await download.value).path()).read_bytes)).split(b"\r\n")
    numbers = [int(line.partition(b",")[0]) for line in lines[1:-1]]
    assert len(numbers) == 100_001
    assert numbers == sorted(set(numbers), reverse=True)
