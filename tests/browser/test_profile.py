"""A person's own account: name, password, where it is signed in, its tokens, language and theme, the ledger."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from app.api.state import AppState
from app.domain.identity import Scope
from tests.browser.chromium import Language
from tests.browser.conftest import Visitor
from tests.browser.service import OWN_CONNECTION
from tests.browser.test_copying import WITHOUT_TLS
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.factories import PASSWORD, Person, make_token
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SAY = words("en")
EVERYTHING_KEPT = """() => [document.documentElement.outerHTML, ...Object.values(localStorage),
  ...Object.values(sessionStorage), document.cookie, location.href].join("\\n")"""


async def make_new_token(page: Page, name: str = "nightly runs") -> str:
    """On the profile page, by clicking. What is shown of it then: its secret."""
    await page.click("#make-token")
    await page.fill("#token-name", name)
    await page.click("dialog [type=submit]")
    await expect(page.locator(".secret")).to_be_focused()
    return await page.locator("#secret").inner_text()


async def answer_to(page: Page, secret: str) -> int:
    answer = await page.request.get("/api/v1/auth/me", headers=OWN_CONNECTION | {"Authorization": f"Bearer {secret}"})
    return answer.status


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


async def test_a_token_is_shown_once_and_is_good_for_what_was_chosen(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await expect(page.locator("#tokens")).to_contain_text(SAY("tokens.none"))
    await page.click("#make-token")
    await expect(page.locator("#expires_in_days")).to_have_value("30")
    await page.get_by_role("button", name=SAY("dialog.cancel")).click()
    secret = await make_new_token(page, "شبانه 1")
    assert re.fullmatch(r"gtm_[\w-]{43}", secret)
    assert await answer_to(page, secret) == 200
    await expect(page.locator("#secret")).to_have_attribute("dir", "ltr")
    await expect(page.locator(".secret")).to_contain_text(SAY("tokens.once"))
    await expect(page.locator("#secret-client")).to_have_text(re.compile(r"^gtm login --url http://\S+ --with-token$"))
    row = page.locator("#tokens li")
    await expect(row).to_contain_text("شبانه 1")
    await expect(row).to_contain_text(f"{SAY('tokens.scope.jobs:read')} · {SAY('tokens.scope.jobs:write')}")
    await page.get_by_role("button", name=SAY("tokens.hide")).click()
    await expect(page.locator("#make-token")).to_be_focused()
    assert secret not in await page.evaluate(EVERYTHING_KEPT)
    await page.reload()
    await expect(row).to_contain_text("شبانه 1")
    assert secret not in await page.evaluate(EVERYTHING_KEPT)


async def test_a_secret_does_not_stay_on_a_page_that_was_left(visitor: Visitor, user: Person) -> None:
    """The browser may keep such a page, to show it again as it was."""
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    secret = await make_new_token(page)
    await page.evaluate("() => dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    assert secret not in await page.evaluate(EVERYTHING_KEPT)


@pytest.mark.parametrize("script", ["", WITHOUT_TLS])
async def test_a_secret_is_copied(visitor: Visitor, user: Person, script: str) -> None:
    page = await visitor(user, kept=False)
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.add_init_script(script)
    await page.goto("/ui/profile.html")
    secret = await make_new_token(page)
    button = page.locator(".copyable", has=page.locator("#secret")).get_by_role("button")
    await button.click()
    await expect(page.locator("#toasts p")).to_have_text(SAY("toast.copied"))
    await expect(button).to_be_focused()
    await page.fill("#full_name", "")
    await page.press("#full_name", "Control+V")
    await expect(page.locator("#full_name")).to_have_value(secret)


async def test_before_a_token_is_revoked_it_is_said_what_stops_working(
    visitor: Visitor, user: Person, state: AppState
) -> None:
    made = await make_token(state, user, scopes=[Scope.JOBS_WRITE])
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    button = page.get_by_role("button", name=SAY("tokens.revoke_title", name="nightly runs"))
    await button.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator("li")).to_have_text([SAY("tokens.scope.jobs:write")])
    await expect(dialog).to_contain_text(SAY("tokens.never_used"))
    await page.keyboard.press("Escape")
    await expect(button).to_be_focused()
    assert await answer_to(page, made.secret) == 200
    await button.click()
    await dialog.get_by_role("button", name=SAY("tokens.revoke_submit")).click()
    await expect(page.locator("#toasts")).to_contain_text(SAY("tokens.revoked", name="nightly runs"))
    await expect(page.locator("#tokens")).to_contain_text(SAY("tokens.none"))
    await expect(page.locator("#make-token")).to_be_focused()
    assert await answer_to(page, made.secret) == 401


async def test_the_secret_of_a_revoked_token_goes_with_it(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await make_new_token(page)
    await page.click("#tokens .button-danger-quiet")
    await page.click("dialog [type=submit]")
    await expect(page.locator(".secret")).to_have_count(0)


async def test_a_token_that_ended_elsewhere_meanwhile_leaves_the_list(
    visitor: Visitor, user: Person, state: AppState, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("answer: 404 DELETE /api/v1/auth/tokens/")
    await make_token(state, user)
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await page.click("#tokens .button-danger-quiet")
    await desk.sql("UPDATE personal_access_tokens SET revoked_at = now()")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#tokens")).to_contain_text(SAY("tokens.none"))


async def test_what_is_wrong_with_a_token_is_said_at_its_field(
    visitor: Visitor, user: Person, trouble: Trouble
) -> None:
    trouble.allow("answer: 422 POST /api/v1/auth/tokens")
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await page.click("#make-token")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#token-name-error")).to_have_text(SAY("form.required"))
    await expect(page.locator("#token-name")).to_be_focused()
    await page.fill("#token-name", "nightly runs")
    for name in ("jobs:read", "jobs:write"):
        await page.uncheck(f"dialog [name='{name}']")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#scopes-error")).to_have_text("This needs at least one entry.")
    await expect(page.locator("dialog .form-problem a")).to_have_text(SAY("tokens.scopes"))
    await expect(page.locator("dialog [name='jobs:read']")).to_be_focused()
    await expect(page.locator("#token-name")).to_have_value("nightly runs")


@pytest.mark.parametrize("is_admin", [False, True])
async def test_only_admins_are_offered_the_scope_of_admins(
    visitor: Visitor, user: Person, admin: Person, is_admin: bool
) -> None:
    page = await visitor(admin if is_admin else user)
    await page.goto("/ui/profile.html")
    await page.click("#make-token")
    boxes = page.locator("dialog input[type=checkbox]")
    await expect(boxes).to_have_count(3 if is_admin else 2)
    await expect(page.locator("dialog input[type=checkbox]:checked")).to_have_count(2)
    if not is_admin:
        return
    await page.check("dialog [name=admin]")
    await page.fill("#token-name", "reports")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#tokens li")).to_contain_text(SAY("tokens.scope.admin"))


async def test_a_token_is_made_and_hidden_without_a_mouse(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await expect(page.locator("#make-token")).to_be_visible()  # its section is hidden until all of the page is there
    await page.focus("#make-token")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await expect(page.locator("#make-token")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#token-name")).to_be_focused()
    for key in (*"cron", "Tab", "Tab", "Space", "Tab", "End", "Tab", "Tab", "Enter"):
        await page.keyboard.press(key)
    await expect(page.locator(".secret")).to_be_focused()
    row = page.locator("#tokens li")
    await expect(row).to_contain_text("cron")
    await expect(row).not_to_contain_text(SAY("tokens.scope.jobs:write"))
    for key in (*["Tab"] * 7, "Enter"):
        await page.keyboard.press(key)
    await expect(page.locator(".secret")).to_have_count(0)
    await expect(page.locator("#make-token")).to_be_focused()


@pytest.mark.parametrize(("language", "days"), [("en", "7"), ("fa", "۷")])
async def test_a_lifetime_says_the_day_on_which_it_ends(
    visitor: Visitor, user: Person, language: Language, days: str
) -> None:
    page = await visitor(user, language=language)
    await page.goto("/ui/profile.html")
    await page.click("#make-token")
    choice = await page.locator("#expires_in_days option").first.inner_text()
    assert re.match(rf"{days}\D", choice)
    await page.select_option("#expires_in_days", "7")
    await page.fill("#token-name", "cron")
    await page.click("dialog [type=submit]")
    moment = page.locator("#tokens li time").first
    assert datetime.fromisoformat(str(await moment.get_attribute("datetime"))) < datetime.now(UTC) + timedelta(days=7)
    day = (await moment.inner_text()).split("\u2068")[1]
    assert day in choice.split("\u2068")[1]


async def test_a_new_password_ends_all_tokens(visitor: Visitor, user: Person, state: AppState) -> None:
    made = await make_token(state, user)
    page = await visitor(user)
    await page.goto("/ui/profile.html")
    await make_new_token(page, "another")
    await expect(page.locator("#tokens li")).to_have_count(2)
    await page.fill("#current_password", PASSWORD)
    await page.fill("#new_password", "another-Forest-12-window")
    await page.click("#password-form [type=submit]")
    await expect(page.locator("#tokens")).to_contain_text(SAY("tokens.none"))
    await expect(page.locator(".secret")).to_have_count(0)
    assert await answer_to(page, made.secret) == 401


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
