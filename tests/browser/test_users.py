"""Accounts and quotas, as admins look after them; and what the person at the other end notices."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from app.api.state import AppState
from tests.browser.axe import barriers
from tests.browser.conftest import Visitor
from tests.browser.pages import settled
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.factories import Person, make_user
from tests.services.desk import HOUR, Desk

pytestmark = pytest.mark.anyio

t = words("en")


async def open_person(page: Page, person: Person) -> None:
    await page.goto(f"/ui/admin/users.html?user={person.id}")
    await settled(page)


async def answer(page: Page) -> None:
    await page.click("dialog [type=submit]")


async def test_a_limit_is_changed_in_the_digits_of_the_page_but_not_below_what_is_taken(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(r"answer: 409 PUT /api/v1/admin/users/\d+/quota")
    await desk.submit(user, num_gpus=6)
    page = await visitor(admin, language="fa")
    await open_person(page, user)
    await page.click("#set-limit")
    await expect(page.locator("#limit_hours")).to_be_focused()
    await expect(page.locator("#limit_hours")).to_have_value("۱۰۰۰")
    await page.fill("#limit_hours", "۵٫۵")
    await page.fill("#reason", "پایان پروژه")
    await answer(page)
    await expect(page.locator("#limit_hours-error")).to_contain_text("۶ ساعت GPU")
    await expect(page.locator("#limit_hours")).to_be_focused()
    assert await barriers(page) == []
    await page.fill("#limit_hours", "۴۰٫۵")
    await answer(page)
    await expect(page.locator(".figure")).to_have_text("۳۴٫۵")
    await expect(page.locator("#set-limit")).to_be_focused()
    assert await barriers(page) == []
    newest = page.locator("#ledger tbody tr").first
    for said in ("تغییر سقف سهمیه", "پایان پروژه", "۹۵۹٫۵"):
        await expect(newest).to_contain_text(said)
    assert (await desk.quota(user)).limit_seconds == 40.5 * HOUR


async def test_used_hours_are_corrected_both_ways_and_never_below_zero(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(r"answer: 409 POST /api/v1/admin/users/\d+/quota/adjustments")
    page = await visitor(admin)
    await open_person(page, user)
    for direction, hours in (("charge", "4.5"), ("give_back", "1")):
        await page.click("#correct")
        await page.check(f"#direction-{direction}")
        await page.fill("#hours", hours)
        await page.fill("#reason", "The node failed.")
        await answer(page)
        await expect(page.locator("dialog")).to_have_count(0)
    await expect(page.locator("#ledger tbody tr").first).to_contain_text("-1")
    await expect(page.locator("#ledger tbody tr").nth(1)).to_contain_text("+4.5")
    await page.click("#correct")
    await page.fill("#hours", "5")
    await page.fill("#reason", "Too much")
    await answer(page)
    await expect(page.locator("#hours-error")).to_contain_text("from -3.5 GPU-hours")
    await expect(page.locator("#reason")).to_have_value("Too much")
    assert (await desk.quota(user)).used_seconds == 3.5 * HOUR


async def test_whoever_is_disabled_is_signed_out_and_may_come_back(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("answer: 401 ")
    await desk.submit(user)
    theirs, page = await visitor(user), await visitor(admin)
    await theirs.goto("/ui/index.html")
    await settled(theirs)
    await open_person(page, user)
    await page.click("[data-change=disable]")
    await expect(page.locator("dialog")).to_contain_text("1 job under way goes on")
    await expect(page.get_by_role("button", name=t("dialog.cancel"))).to_be_focused()
    await answer(page)
    await expect(page.locator(".person-facts .status")).to_have_text(t("users.is_disabled"))
    await theirs.fill("#name", "one more")
    await expect(theirs).to_have_url(re.compile(r"/ui/login\.html\?next=.*why=expired"))
    await page.click("[data-change=enable]")
    await answer(page)
    await expect(page.locator(".person-facts .status")).to_have_text(t("users.is_active"))
    await theirs.fill("#username", user.email)
    await theirs.fill("#password", user.password)
    await theirs.click("[type=submit]")
    await expect(theirs).to_have_url("/ui/index.html")


async def test_an_admin_is_made_and_the_last_one_stays(
    visitor: Visitor, user: Person, admin: Person, state: AppState, trouble: Trouble
) -> None:
    trouble.allow(r"answer: 409 PATCH /api/v1/admin/users/\d+")
    page = await visitor(admin)
    await open_person(page, admin)
    await page.click("[data-change=demote]")
    await expect(page.locator("dialog .notice-warning")).to_have_text(t("users.your_own"))
    await answer(page)
    await expect(page.locator("dialog .form-problem")).to_contain_text("This is the last active admin.")
    await page.keyboard.press("Escape")
    await expect(page.locator("[data-change=demote]")).to_be_focused()

    await open_person(page, user)
    await page.click("[data-change=promote]")
    await answer(page)
    await expect(page.locator(".person-facts")).to_contain_text(t("users.is_admin"))
    assert (await Desk(state).sql("SELECT is_admin FROM users WHERE id = :id", id=user.id))[0].is_admin

    await open_person(page, admin)
    await page.click("[data-change=demote]")
    await answer(page)
    await expect(page).to_have_url("/ui/index.html")
    await expect(page.locator("#navigation")).not_to_contain_text(t("nav.administration"))


async def test_a_person_is_found_opened_and_left_again(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, state: AppState
) -> None:
    await make_user(state, full_name="مریم حسینی")
    await desk.set_limit(admin, user, 20 * HOUR)
    await desk.reject(admin, await desk.submit(user))
    await desk.submit(user, num_gpus=3)
    page = await visitor(admin)
    await page.goto("/ui/admin/users.html")
    await settled(page)
    await expect(page.locator("#list tbody tr")).to_have_count(3)
    await page.fill("#search", user.email)
    found = page.locator("#list tbody tr")
    await expect(found).to_have_count(1)
    for said in ("17 of 20 left", "1 job under way", "1 rejected"):
        await expect(found).to_contain_text(said)
    await found.get_by_role("link").click()
    await expect(page.locator("h1")).to_have_text("Sara Ahmadi")
    await expect(page.locator("h1")).to_be_focused()
    await expect(page).to_have_url(re.compile(rf"user={user.id}"))
    await expect(page.locator("#jobs-link")).to_have_attribute("href", re.compile(rf"requests\.html.*user={user.id}"))
    await page.click("#back a")
    await expect(page.locator("h1")).to_have_text(t("users.title"))
    await expect(found.get_by_role("link")).to_be_focused()
    await page.fill("#search", "حسینی")
    await expect(found.get_by_role("link")).to_have_text("مریم حسینی")
    await page.locator("#tabs a").nth(3).click()
    await expect(page.locator(".empty-title")).to_have_text(t("users.none"))
    await page.get_by_role("button", name=t("users.clear_filters")).click()
    await expect(found).to_have_count(3)


async def test_the_ledger_grows_by_itself_and_is_read_to_its_beginning(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    for number in range(25):
        await desk.submit(user, name=f"job-{number}")
    page = await visitor(admin)
    await open_person(page, user)
    entries = page.locator("#ledger tbody tr")
    await expect(entries).to_have_count(20)
    await expect(entries.first).to_contain_text("job-24")
    await page.get_by_role("button", name=t("list.more")).click()
    await expect(entries).to_have_count(26)
    await expect(entries.last).to_contain_text(t("ledger.kind.GRANT"))
    await expect(page.get_by_role("button", name=t("list.more"))).to_have_count(0)
    await desk.submit(user, name="newest")
    await expect(entries.first).to_contain_text("newest")
    await expect(entries).to_have_count(27)
    async with page.expect_download() as downloading:
        await page.click("#csv")
    content = await asyncio.to_thread(Path(await (await downloading.value).path()).read_text, encoding="utf-8-sig")
    assert len(content.splitlines()) == 28
