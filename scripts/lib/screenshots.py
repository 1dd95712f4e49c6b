"""Looks at the interface through Chromium, on a service with believable data that lives as long as the run."""
# ruff: noqa: T201

import argparse
import asyncio
import base64
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from playwright.async_api import Browser, Page

from app.core.config import LogFormat
from app.core.logging import configure_logging
from app.db.embedded import EmbeddedPostgres
from app.db.migrations import upgrade_to_head
from tests.browser.chromium import ADVICE, Language, Theme, find_chromium, new_context, running_chromium
from tests.browser.demo import ENVIRONMENT, Lab, make_lab, read_lab
from tests.browser.pages import PageOfOurs, pages_of_ours, settled
from tests.browser.service import Service, serving, sign_in_at_once

LANGUAGES: tuple[Language, ...] = ("fa", "en")
THEMES: tuple[Theme, ...] = ("light", "dark")
WIDTHS = (360, 1280)
READING_MS = 800


@dataclass(frozen=True)
class Shot:
    page: PageOfOurs
    language: Language
    theme: Theme
    width: int

    def __str__(self) -> str:
        return f"{self.page.name.replace('/', '-').replace(':', '-').lower()}-{self.language}-{self.theme}-{self.width}"


DOCS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
DOCS_SHOTS: tuple[tuple[str, Language, Theme, int], ...] = (
    ("index", "fa", "light", 1280),
    ("index", "en", "dark", 1280),
    ("job:RUNNING", "en", "light", 1280),
    ("admin/requests", "fa", "light", 1280),
    ("admin/fleet", "en", "dark", 1280),
    ("admin/reports", "fa", "dark", 1280),
    ("jobs", "fa", "light", 360),
    ("job:FAILED", "en", "dark", 360),
)
DOCS_SCALE = 1.5
DOCS_QUALITY = 80


def main() -> None:
    options = read_options()
    if find_chromium() is None and not options.serve:
        sys.exit(ADVICE)
    configure_logging(LogFormat.CONSOLE, "WARNING")
    with tempfile.TemporaryDirectory() as directory, EmbeddedPostgres(Path(directory, "data")) as url:
        upgrade_to_head(url)
        try:
            asyncio.run(run(options, url, Path(directory)))
        except KeyboardInterrupt:
            print()


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    names = [page.name for page in pages_of_ours()]
    parser.add_argument("--pages", help=f"some of these, with commas between them: {', '.join(names)}; default: all")
    parser.add_argument("--languages", default=",".join(LANGUAGES), help="default: %(default)s")
    parser.add_argument("--themes", default=",".join(THEMES), help="default: %(default)s")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)), help="default: %(default)s")
    parser.add_argument("--docs", action="store_true", help=f"the few that documents show, into {DOCS.name}/ of docs/")
    parser.add_argument(
        "--serve", action="store_true", help="take none: print where the service is and wait for Ctrl-C"
    )
    parser.add_argument("--port", type=int, help="of the service; default: any that is free")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="where to put them; default: a new folder")
    options = parser.parse_args()
    if options.pages and (
        unknown := set(options.pages.split(",")) - {*names, *(name.partition(":")[0] for name in names)}
    ):
        parser.error(f"there is no page {', '.join(sorted(unknown))}")
    return options


async def run(options: argparse.Namespace, url: str, directory: Path) -> None:
    await make_lab(url, directory)
    async with serving(url, directory, ENVIRONMENT, port=options.port) as service:
        lab = await read_lab(service.state)
        if options.serve:
            await wait_at(service, lab)
            return
        async with running_chromium() as browser:
            if options.docs:
                await take_for_docs(browser, service, lab)
            else:
                out = options.out or Path(tempfile.mkdtemp(prefix="screenshots-"))
                await take(browser, service, lab, chosen(options), out)


async def take(browser: Browser, service: Service, lab: Lab, shots: Iterable[Shot], out: Path) -> None:
    """Whole pages, however long they are."""
    for shot in shots:
        async with looking(browser, service, lab, shot) as page:
            await page.screenshot(path=out / f"{shot}.png", full_page=True)
        print(out / f"{shot}.png", flush=True)


async def take_for_docs(browser: Browser, service: Service, lab: Lab) -> None:
    """What a screen shows of a page, sharp and small. Pictures of former times go."""
    shutil.rmtree(DOCS, ignore_errors=True)
    DOCS.mkdir(parents=True)
    by_name = {page.name: page for page in pages_of_ours()}
    for name, language, theme, width in DOCS_SHOTS:
        shot = Shot(by_name[name], language, theme, width)
        async with looking(browser, service, lab, shot, scale=DOCS_SCALE) as page:
            session = await page.context.new_cdp_session(page)
            picture = await session.send("Page.captureScreenshot", {"format": "webp", "quality": DOCS_QUALITY})
        path = DOCS / f"{shot}.webp"
        path.write_bytes(base64.b64decode(picture["data"]))
        print(f"{path.relative_to(Path.cwd())}: {path.stat().st_size // 1024} KiB", flush=True)


async def wait_at(service: Service, lab: Lab) -> None:
    print(f"{service.url}/ui/index.html")
    for person in (lab.researcher, lab.admin):
        print(f"{'admin' if person.is_admin else 'user '}  {person.email}  {person.password}", flush=True)
    await asyncio.Event().wait()


def chosen(options: argparse.Namespace) -> Iterable[Shot]:
    names = options.pages.split(",") if options.pages else None
    pages = [
        page for page in pages_of_ours() if names is None or page.name in names or page.name.partition(":")[0] in names
    ]
    widths = map(int, options.widths.split(","))
    for page, language, theme, width in product(pages, options.languages.split(","), options.themes.split(","), widths):
        yield Shot(page, language, theme, width)


@asynccontextmanager
async def looking(browser: Browser, service: Service, lab: Lab, shot: Shot, *, scale: float = 1) -> AsyncIterator[Page]:
    context = await new_context(browser, service.url, shot.language, shot.theme, shot.width, scale=scale)
    if (person := shot.page.visitor(lab)) is not None:
        await sign_in_at_once(context, service.url, person)
    page = await context.new_page()
    page.on("pageerror", lambda error: print(f"{shot}: {error}", file=sys.stderr))
    await page.goto(shot.page.address(lab))
    await settled(page)
    await see_all(page)
    if shot.page.path not in page.url:
        print(f"{shot}: ended on {page.url}", file=sys.stderr)
    yield page
    await context.close()


async def see_all(page: Page) -> None:
    """Go to the end of the page and back: some of it is read only when somebody gets there."""
    await page.evaluate("() => scrollTo(0, document.documentElement.scrollHeight)")
    await page.wait_for_timeout(READING_MS)
    await settled(page)
    await page.evaluate("() => scrollTo(0, 0)")


if __name__ == "__main__":
    main()
