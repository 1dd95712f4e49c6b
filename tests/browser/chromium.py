"""Debian's Chromium, driven by Playwright: browsers that Playwright itself would download are never used.

Its headless shell comes first: the same engine without the windows around it. A page that is opened, loaded and closed
costs half the processor time there.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.waiting import HANG_SECONDS

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ADVICE = (
    "Chromium is not installed: get it (Debian: apt-get install chromium-headless-shell, or chromium), "
    "or let CHROMIUM name its program"
)
DEADLINE_MS = HANG_SECONDS * 1000
"""Ends what hangs. How fast something must be is for `benchmarks/` to measure."""

QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HEIGHTS = {360: 780, 1280: 800}
PERMISSIONS = ["clipboard-write"]
"""A Chromium with windows lets pages write to the clipboard once somebody has clicked; the headless shell does not."""

Language = Literal["fa", "en"]
Theme = Literal["light", "dark"]


def find_chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    program = find_chromium()
    if program is None:
        raise FileNotFoundError(ADVICE)
    arguments = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else [*QUIET]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments, timeout=DEADLINE_MS)
        yield browser
        await browser.close()


async def new_context(
    browser: Browser, base_url: str, language: Language, theme: Theme, width: int, *, scale: float = 1
) -> BrowserContext:
    """A browser of one's own. Who has it reads this language, likes this theme and no motion, and lives in UTC."""
    context = await browser.new_context(
        base_url=base_url,
        locale={"fa": "fa-IR", "en": "en-GB"}[language],
        timezone_id="UTC",
        color_scheme=theme,
        reduced_motion="reduce",
        viewport={"width": width, "height": HEIGHTS.get(width, 800)},
        device_scale_factor=scale,
        permissions=PERMISSIONS,
    )
    context.set_default_timeout(DEADLINE_MS)
    return context
