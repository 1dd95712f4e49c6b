"""The sentences of the interface: the same in both languages, all used, none missing, and well written.

A key stands in a script as a string (`t("jobs.title")`) or in a page as an attribute (`data-t="jobs.title"`). Where a
script puts a key together, a comment lists what it may become, `*` for one part: `// locale keys: job.status.*`.
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from app.domain.job_state import JobAction, JobStatus
from tests.frontend.files import PAGES, SCRIPTS, elements, script, sentences

LANGUAGES = ["fa", "en"]
PLURAL = ".one"
DECLARATION = re.compile(r"locale keys: (.+)")
PLACEHOLDER = re.compile(r"\{(\w+)\}")
KEY = re.compile(r"[a-z_]+(?:\.[\w-]+)+")
FILE = re.compile(r".*\.(?:html|js|json|css|svg|txt|sh)")
ZWNJ = "\u200c"
MISSPELT = {
    "an Arabic letter or digit": r"[يىك٠-٩]",
    "a Latin digit or mark": r"[0-9,;?]",
    "a space where a half-space belongs": r"(?<!\w)ن?می\s|\s(?:ها|های|هایی|تر|ترین)(?!\w)",
    "a half-space at the end of a word": rf"{ZWNJ}(?!\w)|(?<!\w){ZWNJ}",
    "a space before a mark": r"\s[.،؛:؟!](?!\S)",
    "two spaces": r"\s\s",
    "three dots": r"\.\.\.",
}
NOT_PERSIAN = re.compile(r"[A-Za-z0-9{}:_/-]*[A-Za-z][A-Za-z0-9{}:_/.-]*")

languages = pytest.mark.parametrize("language", LANGUAGES)


def base(key: str) -> str:
    return key.removesuffix(PLURAL)


def placeholders(sentence: str) -> set[str]:
    return set(PLACEHOLDER.findall(sentence))


def declared(path: Path) -> list[str]:
    comments = "\n".join(script(path).comments)
    return [pattern for found in DECLARATION.findall(comments) for pattern in found.split()]


def literal_keys(path: Path) -> set[str]:
    """Every string that looks like a key of a part of the interface that has keys."""
    if path in PAGES:
        return {element.attributes["data-t"] for element in elements(path) if "data-t" in element.attributes}
    areas = {key.partition(".")[0] for key in sentences("en")}
    texts = {str(text) for text in script(path).texts}
    keys = {text for text in texts if KEY.fullmatch(text) and not FILE.fullmatch(text)}
    said = {
        str(text) for text in script(path).texts if re.search(r"(?<![\w.])t\($", text.after) and len(text.parts) == 1
    }
    return {key for key in keys if key.partition(".")[0] in areas} | said


def fits(key: str, pattern: str) -> bool:
    return key.count(".") == pattern.count(".") and fnmatchcase(key, pattern)


def test_both_languages_say_the_same_things_of_the_same_facts() -> None:
    persian, english = sentences("fa"), sentences("en")
    assert sorted(persian) == sorted(english)
    for key, sentence in english.items():
        assert placeholders(persian[key]) == placeholders(sentence), key


@languages
def test_what_is_counted_is_said_of_one_and_of_many(language: str) -> None:
    for key, sentence in sentences(language).items():
        if key.endswith(PLURAL):
            assert base(key) in sentences(language), key
            assert placeholders(sentence) <= placeholders(sentences(language)[base(key)]), key
            assert "count" in placeholders(sentences(language)[base(key)]), key


@languages
def test_the_keys_are_in_order(language: str) -> None:
    assert list(sentences(language)) == sorted(sentences(language))


@pytest.mark.parametrize("path", [*PAGES, *SCRIPTS], ids=str)
def test_every_key_that_is_used_has_its_sentence(path: Path) -> None:
    assert sorted(literal_keys(path) - sentences("en").keys()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_every_key_that_is_put_together_is_declared(path: Path) -> None:
    patterns = declared(path)
    for pattern in patterns:
        assert any(fits(key, pattern) for key in sentences("en")), pattern
    for text in script(path).texts:
        if re.search(r"(?<![\w.])t\($", text.after) and len(text.parts) > 1:
            assert "*".join(text.parts) in patterns, f"line {text.line}: {text}"


def test_every_sentence_is_used() -> None:
    literal = set().union(*(literal_keys(path) for path in [*PAGES, *SCRIPTS]))
    patterns = [pattern for path in SCRIPTS for pattern in declared(path)]
    unused = [
        key
        for key in sentences("en")
        if base(key) not in literal and not any(fits(base(key), pattern) for pattern in patterns)
    ]
    assert unused == []


@pytest.mark.parametrize(("area", "names"), [("job.status", JobStatus), ("job.action", JobAction)])
def test_every_state_and_action_of_the_service_has_its_word(area: str, names: type[JobStatus | JobAction]) -> None:
    assert {f"{area}.{name}" for name in names} <= sentences("en").keys()


@languages
def test_sentences_are_text_without_markup(language: str) -> None:
    for key, sentence in sentences(language).items():
        assert not re.search(r"[<>]|&\w+;", sentence), key
        assert sentence.strip() != "", key
        assert sentence == sentence.strip() or key == "list.separator", key
        assert "  " not in sentence, key
        assert "{" not in PLACEHOLDER.sub("", sentence), key


@pytest.mark.parametrize("mistake", MISSPELT)
def test_persian_is_spelt_as_persian(mistake: str) -> None:
    persian = {key: NOT_PERSIAN.sub("…", PLACEHOLDER.sub("…", text)) for key, text in sentences("fa").items()}
    assert [key for key, text in persian.items() if re.search(MISSPELT[mistake], text)] == []
