"""Browsers that are kept from test to test: half of what it costs to look at a page is to begin a process for it."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, NoReturn

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize
from playwright.async_api import Error as PlaywrightError

from tests.browser.chromium import HEIGHTS, PERMISSIONS, Language, Theme, new_context
from tests.browser.service import READ_NOTE, begin_anew, sign_in
from tests.browser.trouble import Trouble
from tests.factories import Person

REST = "/livez"
"""Where pages wait for their next visitor: an address of the service, so that they keep their process."""


@dataclass(frozen=True)
class Kept:
    """A browser with one page."""

    language: Language
    context: BrowserContext
    page: Page


class Browsers:
    """Those of the visitors of one service. `trouble` is what went wrong in any of them."""

    def __init__(self, base_url: str, chromium: Browser) -> None:
        self.trouble = Trouble()
        self._base_url = base_url
        self._chromium = chromium
        self._free: dict[Language, list[Kept]] = defaultdict(list)
        self._in_use: list[Kept] = []
        self._thrown_away: list[BrowserContext] = []

    async def __call__(
        self,
        person: Person | None = None,
        *,
        language: Language = "en",
        theme: Theme = "light",
        width: int = 1280,
        kept: bool = True,
    ) -> Page:
        """A blank page of a browser that nobody else has, and that remembers nothing but its session.

        Whoever adds scripts to the page or sets its clock wants one that is not kept.
        """
        context, page = await (self._kept(language) if kept else self._new(language))
        if not kept:
            self._thrown_away.append(context)
        if person is None:
            await begin_anew(context, self._base_url, "nobody")
        else:
            await sign_in(context, self._base_url, person)
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size(ViewportSize(width=width, height=HEIGHTS.get(width, 800)))
        return page

    async def take_back(self) -> None:
        """Leave all pages. The browsers are free again."""
        while self._in_use:
            browser = self._in_use.pop()
            try:
                await _rest(browser)
            except PlaywrightError:  # its page was closed, or its service is gone after a test that failed
                self._thrown_away.append(browser.context)
            else:
                self._free[browser.language].append(browser)
        while self._thrown_away:
            await self._thrown_away.pop().close()

    async def close(self) -> None:
        for browsers in self._free.values():
            for browser in browsers:
                await browser.context.close()

    async def _kept(self, language: Language) -> tuple[BrowserContext, Page]:
        if self._free[language]:
            browser = self._free[language].pop()
            await browser.context.clear_cookies()
        else:
            context, page = await self._new(language)
            changeable: Any = page
            changeable.add_init_script = changeable.clock.install = _refuse
            browser = Kept(language, context, page)
        self._in_use.append(browser)
        return browser.context, browser.page

    async def _new(self, language: Language) -> tuple[BrowserContext, Page]:
        context = await new_context(self._chromium, self._base_url, language, "light", 1280)
        await context.add_init_script(READ_NOTE)
        await self.trouble.watch(context)
        return context, await context.new_page()


async def _rest(browser: Kept) -> None:
    for page in browser.context.pages:
        if page is not browser.page:
            await page.close()
    await browser.page.unroute_all(behavior="ignoreErrors")
    await browser.page.goto(REST)
    await browser.context.clear_permissions()
    await browser.context.grant_permissions(PERMISSIONS)


def _refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("this would change a page for all later tests: ask for one that is not kept (kept=False)")
