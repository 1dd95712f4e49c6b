"""Every page with the keyboard alone: nothing out of reach, nobody lost, and always to be seen where one is."""

import os

import pytest
from playwright.async_api import Page, expect

from tests.browser.chromium import Language
from tests.browser.conftest import Visitor
from tests.browser.demo import Lab
from tests.browser.pages import PageOfOurs, pages_of_ours, settled
from tests.browser.words import words

pytestmark = pytest.mark.anyio

LANGUAGES = ("fa", "en") if os.environ.get("TEST_DEPTH") == "long" else ("fa",)
"""The keyboard follows the markup, which is the same in both."""

MOST_STOPS = 150
"""Enough of a long list; its rows are alike."""
DATES_AND_DETOURS = 30
"""A field for a date has a stop for each of its parts."""
AT_ONCE = 10
WATCH_FOCUS = """() => {
  const interactive = "a[href], button, input, select, textarea, summary, [tabindex]";
  const stops = [...document.querySelectorAll(interactive)].filter((element) =>
    element.tabIndex >= 0 && !element.disabled && element.checkVisibility({ visibilityProperty: true })
      && (element.type !== "radio" || element.checked));
  window.watched = { stops, reached: new Set(), unseen: [], all: [] };
  document.addEventListener("focusin", ({ target }) => {
    const isMarked = [undefined, "::before", "::after"].some((part) => {
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(target, part);
      return (outlineStyle !== "none" && parseFloat(outlineWidth) > 0) || boxShadow !== "none";
    });
    const { top, bottom, left, right } = target.getBoundingClientRect();
    const isOnScreen = bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
    if (!isMarked || !isOnScreen) watched.unseen.push(target.outerHTML.slice(0, 120));
    watched.reached.add(target);
  });
  return stops.length;
}"""
UNREACHED = """(most) => watched.stops.slice(0, most)
  .filter((element) => element.isConnected && !watched.reached.has(element))
  .map((element) => element.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("shown", pages_of_ours(), ids=lambda page: page.name)
async def test_the_tab_key_reaches_everything_shows_where_one_is_and_leads_past_the_navigation(
    demo_visitor: Visitor, lab: Lab, shown: PageOfOurs, language: Language
) -> None:
    page = await demo_visitor(shown.visitor(lab), language=language)
    await page.goto(shown.address(lab))
    await settled(page)
    await go_to_the_top(page)
    stops: int = await page.evaluate(WATCH_FOCUS)
    for _ in range(0, min(stops, MOST_STOPS) + DATES_AND_DETOURS, AT_ONCE):
        for _ in range(AT_ONCE):
            await page.keyboard.press("Tab")
        unreached = await page.evaluate(UNREACHED, MOST_STOPS)
        if not unreached:
            break
    assert unreached == []
    assert await page.evaluate("() => watched.unseen") == []
    await first_stop_leads_past_the_navigation(page, language)


async def first_stop_leads_past_the_navigation(page: Page, language: Language) -> None:
    await go_to_the_top(page)
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name=words(language)("app.skip"))
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("main")).to_be_focused()


async def test_on_a_narrow_screen_the_menu_opens_and_closes_by_keyboard(demo_visitor: Visitor, lab: Lab) -> None:
    page = await demo_visitor(lab.admin, width=360)
    await page.goto("/ui/index.html")
    await settled(page)
    say = words("en")
    menu = page.get_by_role("button", name=say("nav.menu"))
    link = page.get_by_role("link", name=say("nav.requests"))
    await expect(link).to_be_hidden()
    await menu.press("Enter")
    await expect(menu).to_have_attribute("aria-expanded", "true")
    await expect(link).to_be_visible()
    await link.press("Escape")
    await expect(link).to_be_hidden()
    await expect(menu).to_be_focused()


async def go_to_the_top(page: Page) -> None:
    """Some pages put the focus into their first field; the next Tab begins before everything."""
    await page.evaluate(
        """() => {
          const top = document.createElement("span");
          top.tabIndex = -1;
          document.body.prepend(top);
          top.focus();
          top.remove();
        }"""
    )
