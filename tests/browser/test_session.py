"""Signing in and staying signed in: reloads, tabs, tokens that run out, sessions that end, a service that restarts."""

import re

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.chromium import Language
from tests.browser.conftest import Visitor
from tests.browser.service import OWN_CONNECTION, Service
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.factories import PASSWORD, Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

DASHBOARD = re.compile(r"/ui/index\.html$")
LOGIN = re.compile(r"/ui/login\.html")
SAY = words("en")


async def sign_in(page: Page, person: Person, *, password: str | None = None, language: Language = "en") -> None:
    say = words(language)
    await page.get_by_label(say("account.email")).fill(person.email)
    await page.get_by_label(say("account.password")).fill(password or person.password)
    await page.get_by_role("button", name=say("login.submit")).click()


async def sign_out(page: Page) -> None:
    await page.get_by_role("button", name=SAY("nav.sign_out")).click()


async def is_on_dashboard(page: Page, language: Language = "en") -> None:
    await expect(page).to_have_url(DASHBOARD)
    await expect(page.get_by_role("heading", level=1)).to_have_text(words(language)("dashboard.title"))
    await expect(page.locator("#quota h2")).to_have_text(words(language)("quota.title"))


@pytest.mark.parametrize("language", ["fa", "en"])
async def test_signing_in_leads_to_the_page_that_was_asked_for(
    visitor: Visitor, user: Person, language: Language
) -> None:
    page = await visitor(language=language)
    await page.goto("/ui/index.html?from=mail")
    await expect(page).to_have_url(re.compile(r"/ui/login\.html\?next=%2Fui%2Findex\.html%3Ffrom%3Dmail"))
    await sign_in(page, user, language=language)
    await expect(page).to_have_url(re.compile(r"/ui/index\.html\?from=mail$"))
    await expect(page.get_by_role("heading", level=1)).to_have_text(words(language)("dashboard.title"))


@pytest.mark.parametrize("language", ["fa", "en"])
async def test_a_wrong_password_and_an_unknown_address_are_refused_in_the_same_words(
    visitor: Visitor, user: Person, trouble: Trouble, language: Language
) -> None:
    trouble.allow("answer: 401 POST /api/v1/auth/login")
    page = await visitor(language=language)
    await page.goto("/ui/login.html")
    await sign_in(page, user, password="not-the-password", language=language)
    refusal = page.get_by_role("alert")
    await expect(refusal).to_be_focused()
    sentence = await refusal.inner_text()
    await expect(page.get_by_label(words(language)("account.email"))).to_have_value(user.email)

    await page.goto("/ui/login.html")
    stranger = Person(0, "nobody@example.org", None, is_admin=False)
    await sign_in(page, stranger, language=language)
    await expect(refusal).to_have_text(sentence)
    assert any("\u0600" <= letter <= "\u06ff" for letter in sentence) == (language == "fa")


async def test_what_is_missing_is_said_at_the_field(visitor: Visitor) -> None:
    page = await visitor()
    await page.goto("/ui/login.html")
    await page.get_by_label(SAY("account.email")).fill("sara@example.org")
    await page.get_by_role("button", name=SAY("login.submit")).click()
    password = page.get_by_label(SAY("account.password"))
    await expect(password).to_be_focused()
    await expect(password).to_have_accessible_description(SAY("form.required"))
    await expect(page.get_by_role("alert")).to_contain_text(SAY("form.incomplete"))


@pytest.mark.parametrize("language", ["fa", "en"])
async def test_somebody_registers_and_is_signed_in(visitor: Visitor, desk: Desk, language: Language) -> None:
    say = words(language)
    page = await visitor(language=language)
    await page.goto("/ui/login.html")
    await page.get_by_role("link", name=say("login.register")).click()
    await page.get_by_label(say("account.full_name")).fill("سارا احمدی")
    await page.get_by_label(say("account.email")).fill("sara@example.org")
    await page.get_by_label(say("account.password")).fill(PASSWORD)
    await page.get_by_role("button", name=say("register.submit")).click()
    await is_on_dashboard(page, language)
    await expect(page.get_by_role("link", name="سارا احمدی")).to_be_visible()
    assert [tuple(row) for row in await desk.sql("SELECT email, full_name, is_admin FROM users")] == [
        ("sara@example.org", "سارا احمدی", False)
    ]


async def test_a_password_that_is_refused_is_said_at_its_field_and_the_rest_is_kept(
    visitor: Visitor, trouble: Trouble
) -> None:
    trouble.allow("answer: 422 POST /api/v1/auth/register")
    page = await visitor()
    await page.goto("/ui/register.html")
    await page.get_by_label(SAY("account.full_name")).fill("Sara")
    await page.get_by_label(SAY("account.email")).fill("sara@example.org")
    await page.get_by_label(SAY("account.password")).fill("short")
    await page.get_by_role("button", name=SAY("register.submit")).click()
    await expect(page.get_by_label(SAY("account.password"))).to_be_focused()
    await expect(page.get_by_label(SAY("account.password"))).to_have_attribute("aria-invalid", "true")
    await expect(page.get_by_role("alert").get_by_role("link", name=SAY("account.password"))).to_be_visible()
    await expect(page.get_by_label(SAY("account.email"))).to_have_value("sara@example.org")


async def test_a_browser_that_refuses_cookies_is_told_before_anybody_types(visitor: Visitor) -> None:
    page = await visitor(kept=False)
    await page.add_init_script("Object.defineProperty(navigator, 'cookieEnabled', { value: false })")
    await page.goto("/ui/login.html")
    await expect(page.locator("#notice")).to_have_text(SAY("login.no_cookies"))


async def test_a_password_may_be_pasted(visitor: Visitor, user: Person) -> None:
    page = await visitor()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto("/ui/login.html")
    await page.evaluate("(text) => navigator.clipboard.writeText(text)", user.password)
    await page.get_by_label(SAY("account.email")).fill(user.email)
    await page.get_by_label(SAY("account.password")).press("Control+V")
    await expect(page.get_by_label(SAY("account.password"))).to_have_value(user.password)
    await page.keyboard.press("Enter")
    await is_on_dashboard(page)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/ui/index.html",
        "//evil.example/ui/",
        "/\\evil.example/ui/",
        "javascript:alert(1)",
        "/api/v1/jobs",
        "/ui/../livez",
    ],
)
async def test_only_a_page_of_ours_can_come_next(visitor: Visitor, user: Person, elsewhere: str) -> None:
    page = await visitor()
    await page.goto("/ui/login.html?" + "next=" + elsewhere.replace("\\", "%5C"))
    await sign_in(page, user)
    await is_on_dashboard(page)


async def test_whoever_is_signed_in_passes_the_login_page_by(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/login.html")
    await is_on_dashboard(page)


async def test_a_reload_keeps_the_session_and_no_script_can_read_it(visitor: Visitor, user: Person) -> None:
    page = await visitor()
    await page.goto("/ui/login.html")
    await sign_in(page, user)
    await is_on_dashboard(page)
    async with page.expect_request("**/api/v1/quota") as request:
        await page.reload()
    token = (await request.value).headers["authorization"].removeprefix("Bearer ")
    await is_on_dashboard(page)
    kept = await page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert token not in kept
    for cookie in await page.context.cookies():
        assert cookie["value"] not in kept


async def test_signing_out_in_one_tab_signs_all_tabs_out(visitor: Visitor, user: Person) -> None:
    first = await visitor(user)
    await first.goto("/ui/index.html")
    await is_on_dashboard(first)
    second = await first.context.new_page()
    await second.goto("/ui/index.html")
    await is_on_dashboard(second)
    await sign_out(first)
    for page in (first, second):
        await expect(page).to_have_url(LOGIN)
        await expect(page.get_by_text(SAY("login.why.signed-out"))).to_be_visible()
    await second.goto("/ui/index.html")
    await expect(second).to_have_url(LOGIN)


async def test_another_person_in_another_tab_is_the_person_in_all_tabs(
    visitor: Visitor, user: Person, admin: Person
) -> None:
    """One browser has one session: the older tab shows whose it is now, and no mixture."""
    first = await visitor(user)
    await first.goto("/ui/index.html")
    await is_on_dashboard(first)
    second = await first.context.new_page()
    await second.context.clear_cookies()
    await second.goto("/ui/login.html")
    await second.evaluate("() => localStorage.removeItem('gtm.signed-in')")
    await second.goto("/ui/login.html")
    await sign_in(second, admin)
    await is_on_dashboard(second)
    await expect(first.get_by_role("link", name=SAY("nav.requests"))).to_be_visible()


async def test_a_token_that_has_run_out_is_renewed_without_a_word(visitor: Visitor, user: Person, desk: Desk) -> None:
    page = await visitor(user, kept=False)
    await page.clock.install()
    await page.goto("/ui/index.html")
    await is_on_dashboard(page)
    async with page.expect_response("**/api/v1/auth/refresh") as renewal:
        await page.clock.fast_forward("16:00")
        await desk.submit(user, name="after-a-while")
    assert (await renewal.value).ok
    await expect(page.get_by_role("link", name="after-a-while")).to_be_visible()


async def test_a_token_that_is_revoked_before_its_time_is_renewed_too(
    visitor: Visitor, user: Person, desk: Desk, trouble: Trouble
) -> None:
    """A change of rights does that; the session goes on."""
    trouble.allow("answer: 401 GET /api/v1/")
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await is_on_dashboard(page)
    await desk.sql("UPDATE users SET is_admin = true WHERE id = :id", id=user.id)
    await desk.submit(user, name="after-the-promotion")
    await expect(page.get_by_role("link", name="after-the-promotion")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("link", name=SAY("nav.requests"))).to_be_visible()


async def test_a_session_that_has_ended_asks_to_sign_in_and_what_was_typed_is_still_there(
    visitor: Visitor, user: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("answer: 401 ")
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await page.get_by_label(SAY("job.name")).fill("half-typed")
    await desk.sql("UPDATE sessions SET revoked_at = now() WHERE user_id = :id", id=user.id)
    await page.get_by_label(SAY("job.command")).fill("python train.py")
    await page.get_by_role("button", name=SAY("submit.submit")).click()
    await expect(page).to_have_url(LOGIN)
    await expect(page.get_by_text(SAY("login.why.expired"))).to_be_visible()
    await sign_in(page, user)
    await is_on_dashboard(page)
    await expect(page.get_by_label(SAY("job.name"))).to_have_value("half-typed")
    await expect(page.get_by_label(SAY("job.command"))).to_have_value("python train.py")


async def test_a_page_outlives_a_restart_of_the_service(
    visitor: Visitor, user: Person, desk: Desk, service: Service, trouble: Trouble
) -> None:
    trouble.allow("failed: ", "answer: 50", "console: ")
    page = await visitor(user)
    await page.goto("/ui/index.html")
    live = page.locator("#live")
    await expect(live).to_have_text(SAY("live.live"))
    await service.stop()
    await expect(live).not_to_have_text(SAY("live.live"))
    await service.start()
    await desk.submit(user, name="meanwhile")
    await expect(page.get_by_role("link", name="meanwhile")).to_be_visible()
    await expect(live).to_have_text(SAY("live.live"))


async def test_the_language_is_the_browsers_until_somebody_chooses(visitor: Visitor, user: Person) -> None:
    page = await visitor(user, language="en")
    await page.goto("/ui/index.html")
    await is_on_dashboard(page, "en")
    await page.get_by_role("button", name="فارسی").click()
    await is_on_dashboard(page, "fa")
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await page.reload()
    await is_on_dashboard(page, "fa")

    elsewhere = await visitor(user, language="en")
    await elsewhere.goto("/ui/index.html")
    await is_on_dashboard(elsewhere, "fa")


async def test_the_theme_is_the_systems_until_somebody_chooses(visitor: Visitor, user: Person) -> None:
    page = await visitor(user, theme="dark")
    await page.goto("/ui/index.html")
    await is_on_dashboard(page)
    html = page.locator("html")
    await expect(html).to_have_attribute("data-bs-theme", "dark")
    await page.emulate_media(color_scheme="light")
    await expect(html).to_have_attribute("data-bs-theme", "light")

    def button(now: str, following: str) -> str:
        return SAY("theme.switch", now=SAY(f"theme.{now}"), next=SAY(f"theme.{following}"))

    await page.get_by_role("button", name=button("system", "light")).click()
    await page.get_by_role("button", name=button("light", "dark")).click()
    await expect(html).to_have_attribute("data-bs-theme", "dark")
    await page.reload()
    await is_on_dashboard(page)
    await expect(html).to_have_attribute("data-bs-theme", "dark")
    await page.get_by_role("button", name=button("dark", "system")).click()
    await expect(html).to_have_attribute("data-bs-theme", "light")


async def test_a_session_that_another_person_has_taken_over_is_never_shown_as_the_first_ones(
    visitor: Visitor, user: Person, admin: Person
) -> None:
    page = await visitor(user, kept=False)
    await page.clock.install()
    await page.goto("/ui/index.html")
    await is_on_dashboard(page)
    await page.get_by_label(SAY("job.name")).fill("half-typed")
    login = {"username": admin.email, "password": admin.password}
    assert (await page.context.request.post("/api/v1/auth/login", form=login, headers=OWN_CONNECTION)).ok
    async with page.expect_event("domcontentloaded"):
        await page.clock.fast_forward("16:00")
        await page.get_by_label(SAY("job.command")).fill("python train.py")
    await expect(page.get_by_role("link", name=SAY("nav.requests"))).to_be_visible()
    await expect(page.get_by_label(SAY("job.name"))).to_have_value("")


async def test_a_browser_that_keeps_nothing_shows_its_pages_in_the_language_it_asks_for(
    visitor: Visitor, user: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("answer: 401 POST /api/v1/jobs/validate")  # a forecast that was asked for before signing out
    await desk.sql("UPDATE users SET locale = 'fa' WHERE id = :id", id=user.id)
    page = await visitor(user, language="en", kept=False)
    refused = "{ get() { throw new DOMException('no', 'SecurityError'); } }"
    for storage in ("localStorage", "sessionStorage"):
        await page.add_init_script(f"Object.defineProperty(window, '{storage}', {refused})")
    await page.goto("/ui/index.html")
    await is_on_dashboard(page, "en")
    await page.get_by_label(SAY("job.name")).fill("half-typed")
    await sign_out(page)
    await expect(page.get_by_text(SAY("login.why.signed-out"))).to_be_visible()


async def test_a_language_that_could_not_be_kept_is_not_shown(visitor: Visitor, user: Person, trouble: Trouble) -> None:
    trouble.allow("failed: PATCH /api/v1/auth/me")
    page = await visitor(user, language="en")
    await page.goto("/ui/index.html")
    await is_on_dashboard(page, "en")
    await page.route("**/api/v1/auth/me", lambda route: route.abort())
    await page.get_by_role("button", name="فارسی").click()
    await expect(page.get_by_text(SAY("error.network"))).to_be_visible()
    await is_on_dashboard(page, "en")


@pytest.mark.parametrize(
    ("registration", "said"),
    [("closed", SAY("register.closed")), ("domains", SAY("register.domains", domains="example.org"))],
)
async def test_who_can_register_is_said_before_anybody_types(visitor: Visitor, registration: str, said: str) -> None:
    page = await visitor()

    async def answer(route: Route) -> None:
        about = await (await route.fetch()).json()
        await route.fulfill(json=about | {"registration": registration, "registration_domains": ["example.org"]})

    await page.route("**/api/v1/about", answer)
    await page.goto("/ui/register.html")
    await expect(page.locator("#notice")).to_have_text(said)
    await expect(page.locator("#register")).to_be_visible(visible=registration == "domains")
