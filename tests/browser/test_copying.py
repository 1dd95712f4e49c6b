"""Text for the clipboard, where the browser gives it, where it has none without TLS, and where it refuses."""

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.words import words
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SAY = words("en")
WITHOUT_TLS = "Object.defineProperty(navigator, 'clipboard', { value: undefined })"
REFUSING = "navigator.clipboard.writeText = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"


async def copied_from_a_job(page: Page, job_id: int) -> str:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(f"/ui/job.html?id={job_id}")
    button = page.get_by_role("button", name=SAY("action.copy")).first
    await button.click()
    await expect(page.locator("#toasts p")).to_be_visible()
    await expect(button).to_be_focused()
    return await page.locator("#toasts p").inner_text()


@pytest.mark.parametrize("script", ["", WITHOUT_TLS])
async def test_a_command_is_copied(visitor: Visitor, user: Person, desk: Desk, script: str) -> None:
    job_id = await desk.submit(user, command="python train.py --epochs 10")
    page = await visitor(user, kept=False)
    await page.add_init_script(script)
    assert await copied_from_a_job(page, job_id) == SAY("toast.copied")
    await page.goto("/ui/jobs.html")
    await page.get_by_role("searchbox").first.press("Control+V")
    await expect(page.get_by_role("searchbox").first).to_have_value("python train.py --epochs 10")


async def test_a_browser_that_refuses_to_copy_is_not_taken_to_have_done_it(
    visitor: Visitor, user: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    page = await visitor(user, kept=False)
    await page.add_init_script(REFUSING)
    assert await copied_from_a_job(page, job_id) == SAY("toast.not_copied")
