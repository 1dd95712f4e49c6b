"""All pages of the interface, found by their files, so that none can be forgotten."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.async_api import Page

from tests.browser.demo import Lab
from tests.factories import Person

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
OF_OTHERS = {"docs.html"}
"""Swagger UI draws it."""
FOR_EVERYBODY = {"login.html", "register.html", "404.html"}
JOBS_SHOWN = ("RUNNING", "PENDING", "FAILED")
"""One file shows these jobs each in a way of its own."""


@dataclass(frozen=True)
class PageOfOurs:
    """`name` is that of the file; what follows a colon tells apart what it can show."""

    name: str
    path: str
    audience: Literal["everybody", "people", "admins"]

    def address(self, lab: Lab) -> str:
        status = self.name.partition(":")[2]
        return f"/ui/{self.path}?id={lab.jobs[status]}" if status else f"/ui/{self.path}"

    def visitor(self, lab: Lab) -> Person | None:
        return {"everybody": None, "people": lab.researcher, "admins": lab.admin}[self.audience]


def pages_of_ours() -> list[PageOfOurs]:
    paths = sorted(str(file.relative_to(FRONTEND)) for file in FRONTEND.rglob("*.html"))
    return [page for path in paths if "vendor/" not in path and path not in OF_OTHERS for page in _shown_by(path)]


def _shown_by(path: str) -> list[PageOfOurs]:
    name = path.removesuffix(".html")
    if path in FOR_EVERYBODY:
        return [PageOfOurs(name, path, "everybody")]
    if path.startswith("admin/"):
        return [PageOfOurs(name, path, "admins")]
    if path == "job.html":
        return [PageOfOurs(f"{name}:{status}", path, "people") for status in JOBS_SHOWN]
    return [PageOfOurs(name, path, "people")]


async def settled(page: Page) -> None:
    """Until everything is there that the page first shows: its text, its data in place of the skeletons, its fonts."""
    await page.wait_for_function(
        """() => document.querySelector("h1")?.textContent.trim()
          && !document.querySelector(".skeleton, [aria-busy='true']")
          && document.fonts.status === "loaded" """
    )
    await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
