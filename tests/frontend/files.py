"""What the front end consists of, without the libraries in vendor/, and how tests read it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

from tests.frontend.javascript import Script

ROOT = Path(__file__).resolve().parents[2]
FRONTEND = ROOT / "frontend"
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
EXPRESSION = "${}"
"""Stands in a template for whatever a script fills in."""


def files(suffix: str) -> list[Path]:
    """By their paths below frontend/, for readable names of tests."""
    own = (path.relative_to(FRONTEND) for path in FRONTEND.rglob(f"*{suffix}"))
    return sorted(path for path in own if path.parts[0] != "vendor" and not path.name.endswith(".d.ts"))


PAGES = files(".html")
SCRIPTS = files(".js")
STYLES = files(".css")
OWN_PAGES = [page for page in PAGES if page.name != "docs.html"]
"""All but the one that Swagger UI draws, in English."""


def read(path: Path) -> str:
    return (FRONTEND / path).read_text(encoding="utf-8")


@cache
def script(path: Path) -> Script:
    return Script(read(path))


@cache
def sentences(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(read(Path(f"locales/{language}.json")))
    return found


@dataclass
class Element:
    tag: str
    line: int
    attributes: dict[str, str]
    parent: "Element | None" = None
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def inner(self) -> Iterator["Element"]:
        for child in self.children:
            yield child
            yield from child.inner()

    def is_in(self, *tags: str) -> bool:
        return self.tag in tags or (self.parent is not None and self.parent.is_in(*tags))


class _Markup(HTMLParser):
    def __init__(self, source: str, first_line: int) -> None:
        super().__init__()
        self.first_line = first_line
        self.here = self.root = Element("", first_line, {})
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        line = self.first_line + self.getpos()[0] - 1
        element = Element(tag, line, {name: value or "" for name, value in attributes}, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_endtag(self, tag: str) -> None:
        here: Element | None = self.here
        while here is not None and here.tag != tag:
            here = here.parent
        if here is not None and here.parent is not None:
            self.here = here.parent

    def handle_data(self, data: str) -> None:
        self.here.text += data


@cache
def elements(path: Path) -> list[Element]:
    """Of a page, or of the templates in a script."""
    if path.suffix == ".html":
        return list(_Markup(read(path), 1).root.inner())
    templates = [text for text in script(path).texts if text.after.endswith("html") and len(str(text)) > 0]
    roots = [_Markup(str(template), template.line).root for template in templates]
    return [element for root in roots for element in [root, *root.inner()]]
