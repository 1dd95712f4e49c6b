"""The list of one's own jobs: what is asked for stands in the address, and what is shown stays under one's hands."""

import csv
import io
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.words import words
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

HOUR = 3600
ROWS = "#list tbody tr"
TOP = "(row) => row.getBoundingClientRect().top"
"""Where the reader sees it."""


async def names_of(page: Page) -> list[str]:
    return await page.locator(f"{ROWS} .job-link").all_inner_texts()


async def three_jobs(desk: Desk, user: Person, admin: Person) -> None:
    """From the newest: one waits, one was rejected, one is approved."""
    approved = await desk.submit(user, name="approved-one")
    rejected = await desk.submit(user, name="rejected-one")
    await desk.submit(user, name="pending-one")
    await desk.approve(admin, approved)
    await desk.reject(admin, rejected)


async def test_tab_status_and_search_stand_in_the_address(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    await three_jobs(desk, user, admin)
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    await expect(page.locator(ROWS)).to_have_count(3)
    assert await page.locator(".tab").all_inner_texts() == ["All\n3", "Active\n2", "Waiting\n2", "Finished\n1"]

    await page.click(".tab:has-text('Waiting')")
    await expect(page.locator(ROWS)).to_have_count(2)
    await page.select_option("#status", "APPROVED")
    await expect(page.locator(ROWS)).to_have_count(1)
    await page.fill("#search", "approved")
    await page.wait_for_url("**/jobs.html?tab=waiting&status=APPROVED&q=approved")

    await page.reload()
    await expect(page.locator(ROWS)).to_have_count(1)
    assert await names_of(page) == ["approved-one"]
    assert await page.input_value("#search") == "approved"
    assert await page.input_value("#status") == "APPROVED"
    await expect(page.locator(".tab[aria-current]")).to_contain_text("Waiting")


async def test_back_returns_to_what_was_shown(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    await three_jobs(desk, user, admin)
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    await page.click(".tab:has-text('Finished')")
    await expect(page.locator(ROWS)).to_have_count(1)
    await page.go_back()
    await expect(page.locator(ROWS)).to_have_count(3)
    await expect(page.locator(".tab[aria-current]")).to_contain_text("All")


async def test_a_status_that_a_tab_lacks_is_not_asked_for(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    await three_jobs(desk, user, admin)
    page = await visitor(user)
    await page.goto("/ui/jobs.html?tab=active&status=PENDING")
    await expect(page.locator(ROWS)).to_have_count(1)
    await page.click(".tab:has-text('Finished')")
    await expect(page.locator(ROWS)).to_contain_text(["rejected-one"])
    await expect(page.locator(ROWS)).to_have_count(1)
    assert await names_of(page) == ["rejected-one"]
    assert page.url.endswith("/jobs.html?tab=finished")


async def test_nothing_yet_and_no_match_are_told_apart(visitor: Visitor, user: Person, desk: Desk) -> None:
    t = words("fa")
    page = await visitor(user, language="fa")
    await page.goto("/ui/jobs.html")
    await expect(page.locator(".empty-title")).to_have_text(t("jobs.none.yet"))
    await desk.submit(user)
    await expect(page.locator(ROWS)).to_have_count(1)

    await page.fill("#search", "nowhere")
    await expect(page.locator(".empty-title")).to_have_text(t("jobs.none.match"))
    await page.click(".empty button")
    await expect(page.locator(ROWS)).to_have_count(1)
    assert page.url.endswith("/jobs.html")
    await page.click(f".tab:has-text('{t('jobs.tab.finished')}')")
    await expect(page.locator(".empty-title")).to_have_text(t("jobs.none.finished"))


async def test_a_slash_leads_to_the_search_unless_it_is_typed(visitor: Visitor, user: Person, desk: Desk) -> None:
    await desk.submit(user)
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    await expect(page.locator(ROWS)).to_have_count(1)
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.type("a/b")
    await expect(page.locator("#search")).to_have_value("a/b")


async def test_news_leave_focus_selection_and_scroll_where_they_are(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    ids = [await desk.submit(user, name=f"job-{number}") for number in range(30)]
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    await expect(page.locator(".live-live")).to_be_visible()
    middle = page.locator(f"{ROWS}[data-key='{ids[15]}']")
    await middle.locator(".job-link").focus()
    await middle.evaluate(
        "(row) => { window.watched = row; getSelection().selectAllChildren(row.querySelector('th')) }"
    )
    selected = await page.evaluate("getSelection().toString()")
    await page.evaluate("document.fonts.ready")
    seen_at = await middle.evaluate(TOP)

    await desk.approve(admin, ids[15])
    await expect(middle.locator(".status")).to_have_text("Approved")
    await expect(middle.locator(".job-link")).to_be_focused()
    assert await page.evaluate("watched.isConnected && getSelection().toString()") == selected
    assert await middle.evaluate(TOP) == pytest.approx(seen_at, abs=1)

    await desk.submit(user, name="the-newest")
    await expect(page.locator(ROWS).first).to_contain_text("the-newest")
    await expect(middle.locator(".job-link")).to_be_focused()
    assert await page.evaluate("watched.isConnected")


async def test_more_jobs_come_below_and_the_reader_goes_on_there(visitor: Visitor, user: Person, desk: Desk) -> None:
    for number in range(52):
        await desk.submit(user, name=f"job-{number}")
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    await expect(page.locator(ROWS)).to_have_count(50)
    await page.click("#more")
    await expect(page.locator(ROWS)).to_have_count(52)
    await expect(page.locator("#more")).to_have_count(0)
    await expect(page.locator(f"{ROWS}:nth-child(51) .job-link")).to_be_focused()


async def test_the_spreadsheet_has_what_the_filters_ask_for(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, tmp_path: Path
) -> None:
    await three_jobs(desk, user, admin)
    page = await visitor(user)
    await page.goto("/ui/jobs.html?tab=active&q=one")
    await expect(page.locator(ROWS)).to_have_count(2)
    async with page.expect_download() as download:
        await page.click("#csv")
    saved = await download.value
    assert saved.suggested_filename.endswith(".csv")
    await saved.save_as(tmp_path / "jobs.csv")
    text = (tmp_path / "jobs.csv").read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in rows] == ["pending-one", "approved-one"]


async def test_cancelling_says_what_it_costs_and_keeps_the_place(visitor: Visitor, user: Person, desk: Desk) -> None:
    job_id = await desk.submit(user, num_gpus=2)
    await desk.submit(user, name="another")
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    row = page.locator(f"{ROWS}[data-key='{job_id}']")
    await row.get_by_role("button").click()
    await expect(page.locator("dialog")).to_contain_text("2 GPU-hours")
    await page.keyboard.press("Escape")
    await expect(row.get_by_role("button")).to_be_focused()

    await page.keyboard.press("Enter")
    await page.fill("dialog textarea", "sent twice")
    await page.click("dialog [type=submit]")
    await expect(row.locator(".status")).to_have_text("Cancelled")
    await expect(row.get_by_role("button")).to_have_count(0)
    await expect(row.locator(".job-link")).to_be_focused()
    assert (await desk.job(job_id)).status == "CANCELLED"


async def test_a_dialog_that_was_closed_opens_again_at_the_very_next_key(
    visitor: Visitor, user: Person, desk: Desk
) -> None:
    """Which the browser may hand over before it tells the page that the dialog is closed."""
    await desk.submit(user)
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    button = page.locator(f"{ROWS} button")
    await button.click()
    await page.locator("dialog").get_by_role("button", name="Cancel").wait_for()
    await button.evaluate(
        """async (button) => {
            document.querySelector("dialog footer button").click();
            for (let step = 0; step < 10; step++) await null;
            button.click();
        }"""
    )
    await expect(page.locator("dialog textarea")).to_be_visible()


async def test_a_phone_shows_cards_without_scrolling_sideways(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    await desk.submit(user, name="x" * 255)
    await desk.submit(user, name="کاری با نامی بسیار بلند " * 8)
    rejected = await desk.submit(user)
    await desk.reject(admin, rejected)
    page = await visitor(user, language="fa", width=360)
    await page.goto("/ui/jobs.html")
    await expect(page.locator(ROWS)).to_have_count(3)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = [await cell.bounding_box() for cell in await page.locator(f"{ROWS}:first-child > :is(th, td)").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 for box in boxes if box)
