"""A person's own account: name, password, the places where it is signed in, language and theme, the ledger."""

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visitor
from tests.browser.trouble import Trouble
from tests.factories import PASSWORD, Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio


async def test_a_new_name_shows_at_once(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await page.fill("#full_name", "سارا محمدی")
    await page.click("text=Save the name")
    await expect(page.locator("#navigation")).to_contain_text("محمدی")
    await page.reload()
    await expect(page.locator("#full_name")).to_have_value("سارا محمدی")


async def test_a_new_password_ends_all_sessions_but_this_one(visitor: Visitor, user: Person, trouble: Trouble) -> None:
    trouble.allow("answer: 401 ")
    here, elsewhere = await visitor(user), await visitor(user)
    await elsewhere.goto("/ui/index.html")
    await here.goto("/ui/profile.html")
    await expect(here.locator("#sessions li")).to_have_count(2)
    await here.fill("#current_password", PASSWORD)
    await here.fill("#new_password", "another-Forest-12-window")
    await here.click("#password-form [type=submit]")
    await expect(here.locator(".toast-success")).to_be_visible()
    await expect(here.locator("#sessions li")).to_have_count(1)
    await elsewhere.goto("/ui/jobs.html")
    await expect(elsewhere).to_have_url(re.compile(r"/ui/login\.html\?next=%2Fui%2Fjobs\.html$"))
    await elsewhere.fill("#username", user.email)
    await elsewhere.fill("#password", "another-Forest-12-window")
    await elsewhere.click("[type=submit]")
    await expect(elsewhere).to_have_url(re.compile(r"/ui/jobs\.html$"))


async def test_a_wrong_present_password_is_said_at_its_field(visitor: Visitor, user: Person, trouble: Trouble) -> None:
    trouble.allow("answer: 422 POST /api/v1/auth/password")
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await page.fill("#current_password", "not my password")
    await page.fill("#new_password", "another-Forest-12-window")
    await page.click("#password-form [type=submit]")
    await expect(page.locator("#current_password-error")).to_be_visible()
    await expect(page.locator("#current_password")).to_be_focused()


async def test_a_session_elsewhere_is_ended_from_here(visitor: Visitor, user: Person, trouble: Trouble) -> None:
    trouble.allow("answer: 401 ")
    here, elsewhere = await visitor(user), await visitor(user)
    await elsewhere.goto("/ui/index.html")
    await here.goto("/ui/profile.html")
    await here.locator("#sessions li").filter(has_text="End it").get_by_role("button").click()
    await expect(here.locator("#sessions li")).to_have_count(1)
    await elsewhere.reload()
    await expect(elsewhere).to_have_url(re.compile(r"/ui/login\.html\?next=%2Fui%2Findex\.html$"))


async def test_the_language_goes_with_the_person_to_another_browser(visitor: Visitor, user: Person) -> None:
    page = await visitor(user, language="en")
    await page.goto("/ui/profile.html")
    await page.check("input[name=language][value=fa]")
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(page.locator("h1")).to_have_text("حساب من")
    other = await visitor(user, language="en")
    await other.goto("/ui/index.html")
    await expect(other.locator("h1")).to_have_text("پیشخان")


async def test_a_theme_is_kept_and_drawn_at_once(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await page.check("input[name=theme][value=dark]")
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    await page.goto("/ui/index.html")
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


async def test_the_ledger_says_why_each_number_moved(visitor: Visitor, user: Person, desk: Desk) -> None:
    job_id = await desk.submit(user, name="train-resnet", num_gpus=2)
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    rows = page.locator("#ledger tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("Reserved for the job train-resnet")
    await expect(rows.first).to_contain_text("+2")
    await desk.cancel(user, job_id)
    await expect(rows.first).to_contain_text("Reservation given back for the job train-resnet")


async def test_an_unknown_page_leads_home(visitor: Visitor, trouble: Trouble) -> None:
    trouble.allow("answer: 404 GET /ui/nowhere.html")
    page = await visitor(language="fa")
    await page.goto("/ui/nowhere.html")
    await expect(page.locator("h1")).to_have_text("این صفحه پیدا نشد")
    await page.click("main a")
    await expect(page).to_have_url(re.compile(r"/ui/login\.html\?next=%2Fui%2Findex\.html$"))
