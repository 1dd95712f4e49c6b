"""The specification's story by clicking alone, from registration to a finished job; and the way through a rejection."""

import re

import pytest
from playwright.async_api import Page, expect

from app.api.state import AppState
from tests.browser.chromium import Language
from tests.browser.conftest import Visitor
from tests.browser.trouble import Trouble
from tests.browser.words import Words, words
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

PASSWORD = "quiet-River-71-lantern"
COMMAND = "python train.py  #SIM duration=50% lines=20"


async def register(page: Page, email: str, name: str) -> None:
    """From the address that people are told, which sends those who are not signed in to the door."""
    await page.goto("/ui/index.html")
    await page.click("a[href*='register.html']")
    await page.fill("#full_name", name)
    await page.fill("#email", email)
    await page.fill("#password", PASSWORD)
    await page.click("[type=submit]")
    await expect(page.locator("#submit-form")).to_be_visible()


async def submit(page: Page, name: str) -> None:
    await page.fill("#name", name)
    await page.fill("#num_gpus", "2")
    await page.fill("#estimated_hours", "2")
    await page.fill("#command", COMMAND)
    await page.click("#submit-form [type=submit]")
    await expect(page.locator(".job-cards")).to_contain_text(name)


async def decide(page: Page, tab: str, name: str, action: str) -> None:
    """Press the button in the job's row of the requests, on this tab."""
    await page.goto(f"/ui/admin/requests.html?tab={tab}")
    row = page.locator("tbody tr").filter(has_text=name)
    await row.get_by_role("button", name=re.compile(action)).click()


@pytest.mark.parametrize(("language", "name"), [("en", "train-resnet"), ("fa", "آموزش مدل زبانی")])
async def test_a_job_from_registration_to_its_end(
    visitor: Visitor, state: AppState, language: Language, name: str
) -> None:
    t: Words = words(language)
    researcher, manager = await visitor(language=language), await visitor(language=language)
    await register(researcher, "sara@example.org", "سارا احمدی")
    await submit(researcher, name)
    await expect(researcher.locator(".job-cards .status")).to_have_text(t("job.status.PENDING"))

    await register(manager, "reza@example.org", "Reza Karimi")
    await Desk(state).sql("UPDATE users SET is_admin = true WHERE email = 'reza@example.org' RETURNING id")
    await decide(manager, "decide", name, t("job.action.approve"))
    await manager.fill("dialog #approve-note", "Good luck")
    await manager.click("dialog [type=submit]")
    await expect(manager.locator(".toast-success")).to_be_visible()
    await expect(researcher.locator(".job-cards .status")).to_have_text(t("job.status.APPROVED"))

    await researcher.locator(".job-cards a").click()
    status = researcher.locator("main .status").first
    await expect(status).to_have_text(t("job.status.APPROVED"))
    await decide(manager, "start", name, t("job.action.start"))
    await expect(manager.locator(".toast-success")).to_be_visible()
    await expect(status).to_have_text(t("job.status.COMPLETED"))
    await expect(researcher.get_by_role("log")).to_contain_text("epoch")
    await expect(researcher.locator("main")).to_contain_text("Good luck")

    await researcher.goto("/ui/index.html")
    await expect(researcher.locator("#quota .legend li").first).to_contain_text(
        {"en": "2 GPU-hours", "fa": "۲ ساعت GPU"}[language]
    )
    [row] = await Desk(state).sql("SELECT status, charged_seconds FROM jobs")
    assert tuple(row) == ("COMPLETED", 2 * 3600)


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_a_rejected_job_is_changed_and_submitted_again(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, language: Language
) -> None:
    t = words(language)
    await desk.submit(user, name="sweep-all", num_gpus=8)
    page, manager = await visitor(user, language=language), await visitor(admin, language=language)
    await page.goto("/ui/index.html")
    await decide(manager, "decide", "sweep-all", t("job.action.reject"))
    await manager.click("dialog .chip >> nth=1")
    await manager.click("dialog [type=submit]")
    await expect(manager.locator(".toast-success")).to_be_visible()

    await page.goto("/ui/jobs.html?tab=finished")
    row = page.locator("tbody tr")
    await expect(row.locator(".status")).to_have_text(t("job.status.REJECTED"))
    await row.locator("a").first.click()
    await expect(page.locator("main")).to_contain_text(t("reject.preset.too_many_gpus"))
    await page.locator("a[href*='again=']").first.click()
    await expect(page.locator("#name")).to_have_value("sweep-all")
    await page.fill("#num_gpus", "1")
    await page.click("#submit-form [type=submit]")
    await expect(page.locator(".job-cards .status")).to_have_text(t("job.status.PENDING"))


async def test_an_admin_right_taken_away_acts_at_once(
    visitor: Visitor, admin: Person, state: AppState, trouble: Trouble
) -> None:
    trouble.allow("answer: 401 ", "answer: 403 ")
    page = await visitor(admin)
    await page.goto("/ui/admin/requests.html")
    await expect(page.locator("#tabs a").first).to_be_visible()
    await Desk(state).sql(
        "INSERT INTO users (email, password_hash, is_admin) SELECT 'other@example.org', password_hash, true FROM users"
        " RETURNING id"
    )
    await Desk(state).sql("UPDATE users SET is_admin = false WHERE id = :id RETURNING id", id=admin.id)
    await page.reload()
    await expect(page.locator("h1")).to_have_text("This page is for admins")
    await expect(page.locator("#navigation")).not_to_contain_text("Requests")
