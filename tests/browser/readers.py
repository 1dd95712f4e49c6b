"""Browsers of people who only look: kept from test to test, with what they have fetched and compiled."""

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize

from tests.browser.chromium import HEIGHTS, Language, Theme, new_context
from tests.browser.service import READ_NOTE, Service, begin_anew, sign_in_at_once
from tests.browser.trouble import Trouble
from tests.factories import Person


class Readers:
    """One browser for each person and language. `trouble` is what went wrong in any of them."""

    def __init__(self, service: Service, chromium: Browser) -> None:
        self.trouble = Trouble()
        self._service = service
        self._chromium = chromium
        self._contexts: dict[tuple[int | None, Language], BrowserContext] = {}

    async def open_page(
        self, person: Person | None = None, *, language: Language = "en", theme: Theme = "light", width: int = 1280
    ) -> Page:
        """A blank page of a browser that remembers nothing but its session."""
        context = await self._context(person, language)
        await begin_anew(context, self._service.url, "user" if person else "nobody")
        page = await context.new_page()
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size(ViewportSize(width=width, height=HEIGHTS[width]))
        return page

    async def close_pages(self) -> None:
        for context in self._contexts.values():
            for page in context.pages:
                await page.close()

    async def close(self) -> None:
        for context in self._contexts.values():
            await context.close()

    async def _context(self, person: Person | None, language: Language) -> BrowserContext:
        key = (person and person.id, language)
        if key not in self._contexts:
            context = await new_context(self._chromium, self._service.url, language, "light", 1280)
            await self.trouble.watch(context)
            if person is None:
                await context.add_init_script(READ_NOTE)
            else:
                await sign_in_at_once(context, self._service.url, person)
            self._contexts[key] = context
        return self._contexts[key]
