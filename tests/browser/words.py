"""What pages say, by the keys of the locales, so that a test holds in both languages and for better wording."""

import json
from functools import cache

from tests.browser.chromium import Language
from tests.browser.pages import FRONTEND


class Words:
    """`say = words("fa")`, then `say("jobs.empty.title")`, and with facts `say("approve.title", name="train")`."""

    def __init__(self, language: Language) -> None:
        path = FRONTEND / "locales" / f"{language}.json"
        self._sentences: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))

    def __call__(self, key: str, **facts: str) -> str:
        """Facts stand between the same invisible marks as on the page, which keep their direction to themselves."""
        return self._sentences[key].format(**{name: f"\u2068{fact}\u2069" for name, fact in facts.items()})


@cache
def words(language: Language) -> Words:
    return Words(language)
