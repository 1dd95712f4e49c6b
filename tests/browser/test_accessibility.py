"""Every page, with data on it, in both languages and themes, on wide and narrow screens: no barriers, no slips."""

import hashlib
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.browser.axe import AXE, RULES_OF_COLOUR, TAGS, barriers
from tests.browser.chromium import HEIGHTS, Language, Theme
from tests.browser.conftest import Visitor
from tests.browser.demo import Lab
from tests.browser.pages import FRONTEND, PageOfOurs, pages_of_ours, settled
from tests.browser.words import Words, words
from tests.factories import Person

pytestmark = pytest.mark.anyio

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
THEMES: Mapping[Language, Sequence[Theme]] = {
    "fa": ("light", "dark"),
    "en": ("light", "dark") if IS_LONG else ("light",),
}
"""Colours are the same in both languages."""

KEYS = set(json.loads((FRONTEND / "locales" / "en.json").read_text(encoding="utf-8")))
SLIPS = re.compile(r"\bundefined\b|\bNaN\b|\[object|Invalid Date|\bnull\b|\{[a-z_]+\}")
"""What a page shows when a value is missing, or not yet text."""
TEXTS = """() => {
  const attributes = ["aria-label", "title", "placeholder", "alt"];
  const spoken = [...document.querySelectorAll(attributes.map((name) => `[${name}]`).join())];
  return [
    document.title,
    ...document.body.innerText.split("\\n"),
    ...spoken.flatMap((element) => attributes.map((name) => element.getAttribute(name) ?? "")),
  ];
}"""
FEW_ROWS = """() => {
  const style = new CSSStyleSheet();
  style.replaceSync("#utilisation tbody tr:nth-child(n + 21) { display: none }");
  document.adoptedStyleSheets.push(style);
}"""
"""The table of a chart has more than a thousand rows, all alike: twenty prove the same in a tenth of the time."""
SHAPE = """() => {
  const seen = [...document.body.querySelectorAll("*")].map((element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return [x, y, width, height, element.checkVisibility({ opacityProperty: true, visibilityProperty: true })];
  });
  return document.head.outerHTML + document.body.outerHTML + JSON.stringify(seen);
}"""
"""All that the rules of accessibility look at but for colours: the markup, and what of it is seen where."""


@pytest.mark.parametrize("language", ["fa", "en"])
@pytest.mark.parametrize("shown", pages_of_ours(), ids=lambda page: page.name)
async def test_a_page_has_no_barriers(demo_visitor: Visitor, lab: Lab, shown: PageOfOurs, language: Language) -> None:
    page = await demo_visitor(shown.visitor(lab), language=language)
    await page.goto(shown.address(lab))
    await settled(page)
    assert page.url.endswith(shown.address(lab))
    assert await flaws(page, language, themes=THEMES[language]) == []


@pytest.mark.parametrize(
    "shown", [page for page in pages_of_ours() if ":" not in page.name], ids=lambda page: page.name
)
async def test_a_page_with_nothing_on_it_has_no_barriers(
    visitor: Visitor, user: Person, admin: Person, shown: PageOfOurs
) -> None:
    page = await visitor({"everybody": None, "people": user, "admins": admin}[shown.audience], language="fa")
    await page.goto(f"/ui/{shown.path}")
    await settled(page)
    assert await flaws(page, "fa", themes=("light",)) == []


async def problems_in_the_form(page: Page, say: Words) -> None:
    await page.get_by_role("button", name=say("submit.submit")).click()
    await expect(page.locator("#submit").get_by_role("alert")).to_be_visible()


async def all_details(page: Page, say: Words) -> None:
    del say
    for summary in await page.locator("summary").all():
        await summary.click()
    await expect(page.locator("details:not([open])")).to_have_count(0)


async def what_is_read_late(page: Page, say: Words) -> None:
    """The chart is fetched when somebody gets there."""
    await page.locator("#utilisation").scroll_into_view_if_needed()
    await expect(page.locator("#utilisation canvas")).to_be_visible()
    await expect(page.locator("#log")).to_contain_text("simulated run")
    if not IS_LONG:
        await page.evaluate(FEW_ROWS)
    await all_details(page, say)


async def the_menu(page: Page, say: Words) -> None:
    await page.set_viewport_size(ViewportSize(width=360, height=HEIGHTS[360]))
    await page.get_by_role("button", name=say("nav.menu")).click()
    await expect(page.get_by_role("link", name=say("nav.jobs"))).to_be_visible()


def dialog(key: str) -> Callable[[Page, Words], Awaitable[None]]:
    """Opened by the first button of this name."""

    async def open_dialog(page: Page, say: Words) -> None:
        await page.get_by_role("main").get_by_role("button", name=re.compile(f"^{say(key)}")).first.click()
        await expect(page.get_by_role("dialog")).to_be_visible()

    return open_dialog


async def many_selected(page: Page, say: Words) -> None:
    await page.locator("#select-all").check()
    await page.get_by_role("button", name=re.compile("^" + say("job.action.approve"))).first.click()
    await expect(page.get_by_role("dialog")).to_be_visible()


OPENED = {
    "index": (problems_in_the_form, all_details, the_menu),
    "jobs": (dialog("job.action.cancel"),),
    "job:RUNNING": (dialog("job.action.cancel"), what_is_read_late),
    "profile": (dialog("tokens.new"), dialog("tokens.revoke")),
    "admin/requests": (
        dialog("job.action.approve"),
        dialog("job.action.reject"),
        many_selected,
        dialog("requests.help"),
    ),
    "admin/fleet": (dialog("fleet.drain_node"),),
}


@pytest.mark.parametrize(
    ("name", "opening"),
    [
        pytest.param(name, each, id=f"{name}-{n}")
        for name, all_of_page in OPENED.items()
        for n, each in enumerate(all_of_page)
    ],
)
async def test_what_opens_on_a_page_has_no_barriers(
    demo_visitor: Visitor, lab: Lab, name: str, opening: Callable[[Page, Words], Awaitable[None]]
) -> None:
    [shown] = [page for page in pages_of_ours() if page.name == name]
    page = await demo_visitor(shown.visitor(lab), language="fa")
    await page.goto(shown.address(lab))
    await settled(page)
    await opening(page, words("fa"))
    assert await flaws(page, "fa", themes=("light", "dark")) == []


async def test_a_new_token_has_no_barriers(visitor: Visitor, user: Person) -> None:
    page = await visitor(user, language="fa")
    await page.goto("/ui/profile.html")
    await page.click("#make-token")
    await page.fill("#token-name", "اجرای شبانه")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#secret")).to_be_visible()
    assert await flaws(page, "fa", themes=("light", "dark")) == []


async def test_what_is_wrong_is_found(visitor: Visitor) -> None:
    page = await visitor(width=360)
    await page.goto("/ui/login.html")
    await settled(page)
    await page.evaluate(
        """() => {
          document.querySelector("label").remove();
          document.querySelector("h1").append(" login.title undefined");
          const text = document.querySelector(".soft");
          Object.assign(text.style, { color: "#eee", background: "#fff", inlineSize: "500px" });
        }"""
    )
    assert {line.partition(":")[0] for line in await barriers(page)} >= {"label", "color-contrast"}
    assert await overflowing(page) != []
    assert slips(await page.evaluate(TEXTS)) != []
    assert slips(["login.title"]) == ["login.title"]
    assert slips(["From node1.lab.example, at 12.30"]) == []


def test_the_accessibility_checker_is_the_one_that_was_published() -> None:
    """`npm pack axe-core@VERSION` has the same files."""
    vendor = AXE.parents[1]
    lines = (vendor / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    locked = {name: checksum for checksum, name in (line.split() for line in lines)}
    present = {
        str(path.relative_to(vendor)): hashlib.sha256(path.read_bytes()).hexdigest() for path in vendor.glob("*/*")
    }
    assert present == locked


async def flaws(page: Page, language: Language, *, themes: Sequence[Theme]) -> list[str]:
    """Looked for in these themes and on wide and narrow screens, without loading the page again.

    A theme that leaves everything in its place and changes colours alone is judged by the rules of colour.
    """
    direction = {"fa": "rtl", "en": "ltr"}[language]
    found = slips(await page.evaluate(TEXTS))
    if await page.locator(f"html[lang={language}][dir={direction}] h1").count() != 1:
        found.append("not one h1 in a page of this language and direction")
    for width in (1280, 360):
        judged = None
        await page.set_viewport_size(ViewportSize(width=width, height=HEIGHTS[width]))
        for theme in themes:
            await page.emulate_media(color_scheme=theme)
            await page.evaluate("(theme) => { document.documentElement.dataset.bsTheme = theme }", theme)
            await page.evaluate("() => scrollTo(0, 0)")
            await settled(page)
            shape: str = await page.evaluate(SHAPE)
            rules = RULES_OF_COLOUR if shape == judged and not IS_LONG else TAGS
            judged = shape
            lines = await barriers(page, rules) + await overflowing(page)
            found += [f"{page.url}, {language}, {theme}, {width} px: {line}" for line in lines]
    return found


def slips(texts: list[str]) -> list[str]:
    return [text for text in texts if SLIPS.search(text) or not KEYS.isdisjoint(re.findall(r"[a-z_]+(?:\.\w+)+", text))]


async def overflowing(page: Page) -> list[str]:
    """What makes the whole page scroll sideways."""
    found: list[str] = await page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.body.querySelectorAll("*")]
            .filter((element) => {
              const box = element.getBoundingClientRect();
              return box.width > 0 && (box.right > width + 1 || box.left < -1);
            })
            .map((element) => `sticks out: ${element.localName}#${element.id}.${element.className}`);
        }"""
    )
    return found
