"""What holds for every page, template, script and style of our own, as a browser would meet it."""

import json
import re
from pathlib import Path

import pytest

from tests.frontend.files import (
    EXPRESSION,
    FRONTEND,
    OWN_PAGES,
    PAGES,
    ROOT,
    SCRIPTS,
    STYLES,
    Element,
    elements,
    read,
    script,
)

MARKUP = [*PAGES, *SCRIPTS]
WORDS = re.compile(r"[^\W\d_]{2,}")
SPOKEN = ("aria-label", "aria-description", "aria-roledescription", "alt", "placeholder", "title")
EXAMPLE = re.compile(r"\w+(?:[-./]\w+)+")
NEEDS_A_NAME = {
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "a",
    "button",
    "label",
    "legend",
    "caption",
    "th",
    "summary",
    "option",
}
PHYSICAL = re.compile(
    r"(?<![\w-])(?:(?:margin|padding|border|scroll-margin|scroll-padding)-(?:left|right)(?:-[a-z]+)?\s*:"
    r"|border-(?:top|bottom)-(?:left|right)-radius\s*:|(?:left|right)\s*:"
    r"|(?:text-align|float|clear)\s*:\s*(?:left|right)\b)"
)
DANGEROUS = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|setHTMLUnsafe|parseHTMLUnsafe|createContextualFragment|unsafeHTML"
    r"|DOMParser|document\.write(?:ln)?|eval|Function)\b"
)
TALKS = re.compile(r"(?<![\w.])(?:fetch\s*\(|new (?:XMLHttpRequest|EventSource|WebSocket)\b)|\bsendBeacon\b")
EXTERNAL = re.compile(r"""(?:^|["'(\s])(?:https?:)?//[\w$]""")

pages = pytest.mark.parametrize("page", OWN_PAGES, ids=str)
scripts = pytest.mark.parametrize("path", SCRIPTS, ids=str)
styles = pytest.mark.parametrize("path", STYLES, ids=str)
markup = pytest.mark.parametrize("path", MARKUP, ids=str)


def places(found: list[Element]) -> list[str]:
    return [f"line {element.line}: <{element.tag}>" for element in found]


@pages
def test_a_page_begins_with_its_language_and_the_script_that_corrects_it_before_the_first_paint(page: Path) -> None:
    (root,) = [element for element in elements(page) if element.tag == "html"]
    assert root.attributes.get("lang")
    first, *others = [element for element in elements(page) if element.tag == "script"]
    assert (FRONTEND / page.parent / first.attributes["src"]).resolve() == FRONTEND / "js" / "boot.js"
    assert first.attributes.keys() == {"src"}, "boot.js must stop the parser until it has run"
    assert first.is_in("head")
    assert all(other.attributes.get("type") == "module" for other in others)


@markup
def test_no_style_script_or_handler_stands_in_markup(path: Path) -> None:
    """The Content-Security-Policy would stop each of them."""
    forbidden = [
        element
        for element in elements(path)
        if element.tag == "style"
        or (element.tag == "script" and (element.text.strip() or "src" not in element.attributes))
        or any(name == "style" or name.startswith("on") for name in element.attributes)
        or any(value.strip().lower().startswith("javascript:") for value in element.attributes.values())
    ]
    assert places(forbidden) == []


@markup
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    external = [
        element
        for element in elements(path)
        if any(EXTERNAL.search(value) for name, value in element.attributes.items() if name != "placeholder")
    ]
    assert places(external) == []


@pages
def test_a_form_sent_without_a_script_puts_nothing_into_the_address_and_says_nothing_in_another_language(
    page: Path,
) -> None:
    forms = [element for element in elements(page) if element.tag == "form"]
    unsafe = [form for form in forms if form.attributes.get("method") != "post" or "novalidate" not in form.attributes]
    assert places(unsafe) == []


@scripts
def test_no_script_names_another_host(path: Path) -> None:
    assert [text.line for text in script(path).texts if EXTERNAL.match(str(text))] == []


@styles
def test_no_style_comes_from_elsewhere_or_from_a_chain_of_imports(path: Path) -> None:
    assert not re.search(r"@import\b", read(path))
    for target in re.findall(r"url\(\s*[\"']?([^\"')]+)", read(path)):
        assert target.startswith(("#", "data:")) or (FRONTEND / path.parent / target).is_file(), target


@scripts
def test_no_script_makes_markup_or_code_from_text(path: Path) -> None:
    assert DANGEROUS.findall(script(path).code) == []


@scripts
def test_only_one_module_talks_to_the_service(path: Path) -> None:
    found = TALKS.findall(script(path).code)
    assert bool(found) == (path == Path("js/lib/api.js")), found


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_what_a_page_names_exists(page: Path) -> None:
    for element in elements(page):
        for name in ("href", "src"):
            target = re.split(r"[?#]", element.attributes.get(name, ""))[0]
            if target and not target.startswith("/"):
                assert (FRONTEND / page.parent / target).exists(), f"line {element.line}: {target}"


@scripts
def test_a_library_that_a_script_names_is_vendored(path: Path) -> None:
    for text in script(path).texts:
        if "vendor/" in str(text):
            assert (FRONTEND / path.parent / str(text)).is_file(), f"line {text.line}: {text}"


@pages
def test_a_page_asks_for_all_its_modules_at_once(page: Path) -> None:
    """Without the hints, each step in the chain of imports would cost a round trip."""
    sources = [element.attributes["src"] for element in elements(page) if element.attributes.get("type") == "module"]
    entries = {(FRONTEND / page.parent / source).resolve() for source in sources}
    hints = [element for element in elements(page) if element.attributes.get("rel") == "modulepreload"]
    hinted = {(FRONTEND / page.parent / hint.attributes["href"]).resolve() for hint in hints}
    assert {str(path) for path in hinted} == {str(path) for path in imported_by(entries) - entries}


def imported_by(modules: set[Path]) -> set[Path]:
    """The modules themselves and all that they import, but not what they load when it is needed."""
    found: set[Path] = set()
    waiting = set(modules)
    while waiting:
        module = waiting.pop()
        found.add(module)
        if "vendor" not in module.parts:
            imports = [
                text
                for text in script(module.relative_to(FRONTEND)).texts
                if re.search(r"\b(from|import) $", text.after)
            ]
            waiting |= {(module.parent / str(text)).resolve() for text in imports} - found
    return found


@markup
def test_words_come_from_the_locales(path: Path) -> None:
    """Left are names: of a language in itself, of the page in its title until a script gives it the right one."""
    exempt = path.name == "docs.html"
    spoken = [
        element
        for element in elements(path)
        if not exempt
        and not element.is_in("title", "noscript", "code")
        and (
            WORDS.search(element.text.replace(EXPRESSION, ""))
            or any(WORDS.search(text.replace(EXPRESSION, "")) for text in spoken_attributes(element))
        )
    ]
    assert places(spoken) == []


def spoken_attributes(element: Element) -> list[str]:
    """An example of a name, a command or a path is no sentence."""
    example = element.attributes.get("placeholder", "")
    is_code = element.attributes.get("dir") == "ltr" or EXAMPLE.fullmatch(example)
    return [element.attributes.get(name, "") for name in SPOKEN if not (is_code and name == "placeholder")]


@pages
def test_what_needs_a_name_is_given_one_by_a_sentence(page: Path) -> None:
    nameless = [
        element
        for element in elements(page)
        if element.tag in NEEDS_A_NAME
        and "aria-label" not in element.attributes
        and not any("data-t" in part.attributes for part in [element, *element.inner()])
        and not element.is_in("noscript")
    ]
    assert places(nameless) == []


@styles
def test_styles_know_no_left_and_right(path: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", read(path), flags=re.DOTALL)
    assert PHYSICAL.findall(text) == []


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    texts = [text for path in SCRIPTS for text in script(path).texts]
    named = {str(text) for text in texts if re.search(r"(?<![\w.])icon\($", text.after)}
    named |= {found for page in PAGES for found in re.findall(r"icons\.svg#([\w-]+)", read(page))}
    assert sorted(named - sprite()) == []


def test_every_icon_of_the_sprite_is_used() -> None:
    named = {str(text) for path in SCRIPTS for text in script(path).texts}
    named |= {found for page in PAGES for found in re.findall(r"icons\.svg#([\w-]+)", read(page))}
    assert sorted(sprite() - named) == []


def sprite() -> set[str]:
    return set(json.loads((ROOT / "frontend" / "vendor.lock.json").read_text())["bootstrap-icons"]["icons"])


@styles
def test_every_class_of_a_style_is_used(path: Path) -> None:
    """By its whole name, or by the one that a script completes, such as `status-${status}`."""
    style = re.sub(r"/\*.*?\*/", "", read(path), flags=re.DOTALL)
    parts = [part for name in SCRIPTS for text in script(name).texts for part in text.parts] + [*map(read, PAGES)]
    words = {word for part in parts for word in re.findall(r"[\w-]+", part)}
    beginnings = tuple(word for word in words if word.endswith("-") and word.strip("-"))
    unused = {name for name in re.findall(r"\.([a-zA-Z][\w-]*)", style) if name not in words}
    assert sorted(name for name in unused if not name.startswith(beginnings)) == []
