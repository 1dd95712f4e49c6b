"""Debian's Chromium, driven by Playwright: browsers that Playwright itself would download are never used."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from playwright.async_api import Browser, BrowserContext, async_playwright

ADVICE = "Chromium is not installed: get it (Debian: apt-get install chromium), or let CHROMIUM name its program"
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HEIGHTS = {360: 780, 1280: 800}

Language = Literal["fa", "en"]
Theme = Literal["light", "dark"]


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@asynccontextmanager
async def running_chromium() -> AsyncIterator[Browser]:
    program = find_chromium()
    if program is None:
        raise FileNotFoundError(ADVICE)
    arguments = [*QUIET, "--no-sandbox"] if os.geteuid() == 0 else [*QUIET]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        await browser.close()


async def new_context(
    browser: Browser, base_url: str, language: Language, theme: Theme, width: int, *, scale: float = 1
) -> BrowserContext:
    """A browser of one's own. Who has it reads this language, likes this theme and no motion, and lives in UTC."""
    return await browser.new_context(
        base_url=base_url,
        locale={"fa": "fa-IR", "en": "en-GB"}[language],
        timezone_id="UTC",
        color_scheme=theme,
        reduced_motion="reduce",
        viewport={"width": width, "height": HEIGHTS.get(width, 800)},
        device_scale_factor=scale,
    )
