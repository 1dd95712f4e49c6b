"""People who are quicker than a page: what they type, choose and send before its script, or its data, has come.

Every control that can be edited by then is found on the page; one that these tests do not know fails them.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, Request, Route, ViewportSize, expect

from app.db.queries.users import UserChange
from app.services import users
from tests.browser.chromium import HEIGHTS, Language
from tests.browser.conftest import Visitor
from tests.browser.pages import FOR_EVERYBODY, pages_of_ours, settled
from tests.browser.words import words
from tests.factories import ORIGIN, PASSWORD, Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SAY = words("en")
PATHS = sorted({shown.path for shown in pages_of_ours()})
AUDIT = "admin/audit.html"
FIELDS = {
    "login.html": ["username", "password"],
    "register.html": ["full_name", "email", "password"],
    AUDIT: ["actor", "target_id", "from", "to"],
}
"""What can be typed into before a page's script has come: all that stands in its HTML."""

SCRIPTS = re.compile(r"/js/pages/\w+\.js$")
"""A page's own module: no other one runs before it is there."""

DATA = re.compile(r"/api/v1/(?!auth/(?:refresh|me)$|events)")
QUICK = {
    "text": "quick",
    "search": "quick",
    "textarea": "quick",
    "email": "quick@example.org",
    "password": "quick-River-72-lantern",
    "date": "2026-11-02",
}
"""What is typed, by the kind of control."""

BEFORE_THE_DATA = {"jobs.html": ("search", "status"), AUDIT: ("from",), "profile.html": ("full_name",)}
"""Controls that are there before their page has any data."""

FILTERS = {"actor": "", "target_id": "7", "from": "2026-11-02", "to": "2026-11-03"}
"""Of the audit log: what its address asks for once the fields are filled in as below; the actor is a test's own."""

AS_TYPED = {
    "en": {"target_id": "7", "from": "2026-11-02", "to": "2026-11-03"},
    "fa": {"target_id": "۷", "from": "۱۴۰۵/۰۸/۱۱", "to": "۱۴۰۵/۰۸/۱۲"},
}
FORMS = {"login", "register"}
"""Sent early below. What is in a form acts when that is sent."""

ACT_AT_ONCE = {"button", "submit", "summary", "radio"}
"""They hold nothing that could get lost."""

EDITABLE = """() => {
  const all = document.querySelectorAll("input, select, textarea, button, summary, [contenteditable]");
  const isOpen = (element) => element.checkVisibility({ visibilityProperty: true })
    && !element.matches(":disabled, [readonly], [inert], [inert] *")
    && !(element.localName === "select" && element.length < 2);
  return [...all].filter(isOpen).map((element) => ({
    id: element.id, kind: element.type ?? element.localName, form: element.form?.id ?? "",
  }));
}"""
HELD = """(ids) => Object.fromEntries(ids.map((id) => {
  const { value, selectionStart } = document.getElementById(id);
  return [id, [value, selectionStart]];
}))"""


@dataclass(frozen=True)
class Control:
    id: str
    kind: str
    form: str


class Gate:
    """Holds requests back until it is opened."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self.reached = asyncio.Event()

    async def __call__(self, route: Route) -> None:
        self.reached.set()
        await self._opened.wait()
        await route.continue_()

    def open(self) -> None:
        self._opened.set()


async def arrive_early(page: Page, path: str) -> Gate:
    """The page stands as it was served; its script comes when the gate is opened."""
    gate = Gate()
    await page.unroute_all(behavior="ignoreErrors")
    await page.route(SCRIPTS, gate)
    await page.goto(f"/ui/{path}", wait_until="commit")
    await page.wait_for_function("() => document.readyState === 'interactive'")
    return gate


async def editable(page: Page) -> list[Control]:
    return [Control(**each) for each in await page.evaluate(EDITABLE)]


async def type_into(page: Page, control: Control, text: str) -> None:
    """As a keyboard does, with the caret left within the text where the control has one."""
    assert control.id, f"a {control.kind} without an id"
    field = page.locator(f"#{control.id}")
    await field.select_text()
    await page.keyboard.insert_text(text)
    await page.keyboard.press("ArrowLeft")
    await expect(field).to_have_value(text)


def asked_for(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def asks_for(page: Page, wanted: Mapping[str, str]) -> None:
    await page.wait_for_url(lambda _: asked_for(page) == wanted)


async def values(page: Page, names: Iterable[str]) -> dict[str, str]:
    return {name: value for name, (value, _) in (await page.evaluate(HELD, list(names))).items()}


async def test_every_control_of_a_page_as_it_is_served_is_known(visitor: Visitor) -> None:
    """The tests below drive these; all others come with the script that draws them."""
    page = await visitor()
    await page.route(SCRIPTS, lambda route: route.abort("aborted"))
    for path in PATHS:
        await page.goto(f"/ui/{path}", wait_until="domcontentloaded")
        controls = await editable(page)
        fields = {control.id: control for control in controls if control.kind not in ("submit", "summary")}
        assert fields.keys() == set(FIELDS.get(path, ())), path
        assert {control.kind for control in fields.values()} <= QUICK.keys(), path
        assert {control.id for control in fields.values() if not control.form} <= FILTERS.keys(), path
        assert {control.form for control in controls if control.kind == "submit"} <= FORMS, path
        assert path == AUDIT or all(control.kind != "summary" for control in controls), path


@pytest.mark.parametrize(("language", "fields_of"), [("en", FIELDS), ("fa", {AUDIT: ["from"]})], ids=["en", "fa"])
async def test_what_is_typed_before_the_script_stays_and_is_done(
    visitor: Visitor, admin: Person, user: Person, language: Language, fields_of: Mapping[str, list[str]]
) -> None:
    """Of all fields of a page, each in turn has the focus when the script comes; the others have been left.

    In Persian only dates are typed in another way.
    """
    stranger, reader = await visitor(language=language), await visitor(admin, language=language)
    wanted = FILTERS | {"actor": str(user.id)}
    for path, in_turn in fields_of.items():
        page, names = reader if path == AUDIT else stranger, FIELDS[path]
        for focused in in_turn:
            gate = await arrive_early(page, path)
            fields = {control.id: control for control in await editable(page) if control.id in names}
            texts = {name: QUICK[control.kind] for name, control in fields.items()}
            texts |= AS_TYPED[language] | {"actor": user.email} if path == AUDIT else {}
            for name in sorted(names, key=lambda name: name == focused):
                await type_into(page, fields[name], texts[name])
            before = await page.evaluate(HELD, [focused])
            gate.open()
            await settled(page)
            await expect(page.locator(f"#{focused}")).to_be_focused()
            assert await page.evaluate(HELD, [focused]) == before
            assert await values(page, names) == texts
            if path == AUDIT:
                await asks_for(page, {name: value for name, value in wanted.items() if name != focused})
                await page.locator(f"#{focused}").blur()
                await asks_for(page, wanted)
                await settled(page)
                assert await values(page, names) == texts


async def test_what_is_typed_before_the_data_stays(visitor: Visitor, admin: Person, user: Person, desk: Desk) -> None:
    """The script is there and draws again when the answers come."""
    job_id = await desk.submit(user)
    page = await visitor(admin)
    for path in PATHS:
        if path in FOR_EVERYBODY:
            continue
        gate = Gate()
        await page.unroute_all(behavior="ignoreErrors")
        await page.route(DATA, gate)
        await page.goto(f"/ui/{path}?id={job_id}" if path == "job.html" else f"/ui/{path}")
        await gate.reached.wait()  # which the navigation's own request can do
        for name in BEFORE_THE_DATA.get(path, ()):
            await expect(page.locator(f"#{name}")).to_be_visible()
        controls = [each for each in await editable(page) if each.kind not in ACT_AT_ONCE]
        for control in controls:
            await page.locator(f"#{control.id}").focus()
            if control.kind == "select-one":
                await page.locator(f"#{control.id}").select_option(index=1)
            elif control.kind == "date":
                await page.locator(f"#{control.id}").fill(QUICK["date"])
            else:
                await type_into(page, control, QUICK[control.kind])
        names = [control.id for control in controls]
        before = await page.evaluate(HELD, names)
        gate.open()
        await settled(page)
        assert await page.evaluate(HELD, names) == before, path
        if names:
            await expect(page.locator(f"#{names[-1]}")).to_be_focused()


async def test_what_is_typed_and_entered_early_is_done_while_the_focus_stays(
    visitor: Visitor, admin: Person, user: Person
) -> None:
    page = await visitor(admin)
    gate = await arrive_early(page, AUDIT)
    await page.locator("#actor").press_sequentially(user.email)
    await page.keyboard.press("Enter")
    gate.open()
    await asks_for(page, {"actor": str(user.id)})
    await expect(page.locator("#actor")).to_be_focused()


async def test_what_was_typed_wins_over_the_address_and_stays_where_nothing_fits_it(
    visitor: Visitor, admin: Person, user: Person
) -> None:
    page = await visitor(admin)
    gate = await arrive_early(page, f"{AUDIT}?target_id=1&to=2026-11-03")
    ambiguous = "person"
    assert admin.email.startswith(ambiguous)
    assert user.email.startswith(ambiguous)
    for name, text in {"actor": ambiguous, "from": "1405/13/01", "target_id": "7"}.items():
        await page.locator(f"#{name}").press_sequentially(text)
    await page.locator("#target_id").blur()
    gate.open()
    await asks_for(page, {"target_id": "7", "to": "2026-11-03"})
    await expect(page.locator("#actor-hint")).to_have_text(SAY("audit.several_people"))
    await expect(page.locator("#from-hint")).to_have_text(SAY("audit.no_such_day"))
    await settled(page)
    texts = {"actor": ambiguous, "from": "1405/13/01", "target_id": "7", "to": "2026-11-03"}
    assert await values(page, texts) == texts


async def test_a_panel_that_was_opened_or_closed_early_stays_so(visitor: Visitor, admin: Person) -> None:
    """Where there is little room, it looks closed until it is opened."""
    page = await visitor(admin)
    for width, height in HEIGHTS.items():
        await page.set_viewport_size(ViewportSize(width=width, height=height))
        gate = await arrive_early(page, AUDIT)
        was_open = await page.locator("#actor").is_visible()
        assert was_open == (width > 1000)
        await page.locator("summary").click()
        gate.open()
        await settled(page)
        assert await page.locator("#actor").is_visible() != was_open


async def test_nobody_who_is_typing_is_moved_to_another_language(visitor: Visitor, admin: Person, desk: Desk) -> None:
    async with desk.state.database.transaction() as connection:
        change = UserChange(locale="fa", fields=frozenset({"locale"}))
        now = desk.state.clock()
        await users.update(connection, admin.id, change, actor=admin.caller.actor, origin=ORIGIN, now=now)
    page = await visitor(admin, language="en")
    gate = await arrive_early(page, AUDIT)
    await page.locator("#target_id").press_sequentially("7")
    gate.open()
    await settled(page)
    await expect(page.locator("#target_id")).to_have_value("7")
    await expect(page.locator("h1")).to_have_text(SAY("audit.title"))
    await page.goto("/ui/jobs.html")
    await expect(page.locator("h1")).to_have_text(words("fa")("jobs.title"))


@pytest.mark.parametrize(("form", "by_keyboard"), [("login", True), ("login", False), ("register", True)])
async def test_a_form_that_is_sent_early_is_sent_once_and_never_by_its_address(
    visitor: Visitor, user: Person, form: str, *, by_keyboard: bool
) -> None:
    email = user.email if form == "login" else "quick@example.org"
    page = await visitor()
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))  # noqa: PLW0108
    gate = await arrive_early(page, f"{form}.html")
    for control in await editable(page):
        if control.kind != "submit":
            await type_into(page, control, {"email": email, "password": PASSWORD}.get(control.kind, "Quick"))
    if by_keyboard:
        await page.keyboard.press("Enter")
    else:
        await page.click(f"#{form} [type=submit]")
    await expect(page.locator("#password")).to_have_value(PASSWORD)
    gate.open()
    await page.wait_for_url("**/ui/index.html")
    sent = [request for request in requests if request.method == "POST" and request.url.endswith(f"/auth/{form}")]
    assert len(sent) == 1
    assert not any(secret in request.url for request in requests for secret in (PASSWORD, email, "Quick"))


async def test_a_form_that_is_filled_in_further_after_it_was_sent_early_waits_to_be_sent(
    visitor: Visitor, user: Person
) -> None:
    page = await visitor()
    requests: list[Request] = []
    page.on("request", lambda request: requests.append(request))  # noqa: PLW0108
    gate = await arrive_early(page, "login.html")
    await page.locator("#username").press_sequentially(user.email)
    await page.keyboard.press("Enter")
    await page.locator("#password").press_sequentially(PASSWORD)
    gate.open()
    await settled(page)
    assert not [request for request in requests if request.url.endswith("/auth/login")]
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/ui/index.html")


async def test_a_draft_does_not_replace_what_was_typed_early(visitor: Visitor) -> None:
    page = await visitor()
    await page.goto("/ui/register.html")
    await settled(page)
    await page.fill("#full_name", "Slow")
    await page.fill("#email", "slow@example.org")
    gate = await arrive_early(page, "register.html")
    await page.locator("#email").press_sequentially("quick@example.org")
    gate.open()
    await settled(page)
    await expect(page.locator("#full_name")).to_have_value("Slow")
    await expect(page.locator("#email")).to_have_value("quick@example.org")


async def test_the_form_for_another_try_comes_with_what_it_is_filled_with(
    visitor: Visitor, user: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user)
    page = await visitor(user)
    gate = Gate()
    await page.route(f"**/api/v1/jobs/{job_id}", gate)
    await page.goto(f"/ui/index.html?again={job_id}")
    await gate.reached.wait()
    await expect(page.locator("#submit-form")).to_have_count(0)
    gate.open()
    await expect(page.locator("#submit-form #name")).to_have_value("train-resnet")
