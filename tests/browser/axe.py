"""axe-core, which finds what a program can find of a page's barriers."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from playwright.async_api import Page

AXE = Path(__file__).parent / "vendor" / "axe-core@4.14.1" / "axe.min.js"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
RULES_OF_COLOUR = ("color-contrast", "link-in-text-block")
"""Those of the rules with these tags that look at colours."""


async def barriers(page: Page, rules: Sequence[str] = TAGS) -> list[str]:
    """What is wrong where, one line each; none is the only good answer. Rules are named by themselves or by tags."""
    if await page.evaluate("() => typeof axe === 'undefined'"):
        await page.evaluate(_source())
    found: list[dict[str, Any]] = await page.evaluate(
        "(rules) => axe.run(document, { runOnly: rules, resultTypes: ['violations'] }).then((r) => r.violations)",
        list(rules),
    )
    return [_line(violation, node) for violation in found for node in violation["nodes"]]


@cache
def _source() -> str:
    return AXE.read_text(encoding="utf-8")


def _line(violation: dict[str, Any], node: dict[str, Any]) -> str:
    reasons = [check["message"] for kind in ("any", "all", "none") for check in node[kind]]
    return f"{violation['id']}: {node['html'][:160]} ({'; '.join(reasons)[:300]})"
