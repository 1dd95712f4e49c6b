"""Sentences for people, in Persian and English, from `app/locales/`. Code elsewhere names a sentence by its key.

A sentence may have `{placeholders}`. Numbers are written in the digits of the language, and those named `…_hours` with
their unit; text that runs the other way is isolated, so that a name cannot turn the sentence around.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal, get_args
from unicodedata import bidirectional

Language = Literal["fa", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
DEFAULT_LANGUAGE: Language = "en"

LOCALES = Path(__file__).resolve().parents[1] / "locales"
PERSIAN_DIGITS = str.maketrans("0123456789.,", "۰۱۲۳۴۵۶۷۸۹٫٬")
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
FOREIGN_DIRECTIONS: Mapping[Language, frozenset[str]] = {"fa": frozenset({"L"}), "en": frozenset({"R", "AL"})}
AGES = (("days", timedelta(days=1)), ("hours", timedelta(hours=1)), ("minutes", timedelta(minutes=1)))


def message(key: str, language: Language, **facts: object) -> str:
    """The sentence of this key.

    Raises:
        KeyError: no such sentence, or one of its placeholders has no fact.
    """
    return sentences(language)[key].format_map({name: _written(name, fact, language) for name, fact in facts.items()})


def counted(key: str, language: Language, count: int) -> str:
    """The sentence of this key for so many: its variants are `.none` for 0 and `.one` for 1."""
    variant = {0: f"{key}.none", 1: f"{key}.one"}.get(count, key)
    return message(variant, language, count=count)


def find_message(key: str, language: Language, **facts: object) -> str | None:
    """The sentence of this key, or nothing where there is none."""
    return message(key, language, **facts) if key in sentences(language) else None


@cache
def sentences(language: Language) -> Mapping[str, str]:
    loaded: dict[str, str] = json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))
    return loaded


def time_ago(moment: datetime, now: datetime, language: Language) -> str:
    """How long ago, in the largest whole unit: "2 minutes ago"."""
    age = now - moment
    for unit, size in AGES:
        if (count := age // size) >= 1:
            return counted(f"ago.{unit}", language, count)
    return message("ago.now", language)


def number(value: float, language: Language) -> str:
    """With at most two decimals, grouped by thousands, in the digits of the language."""
    written = f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return written.translate(PERSIAN_DIGITS) if language == "fa" else written


def preferred_language(accept_language: str) -> Language | None:
    """The first of our languages by the weights of an `Accept-Language` header; nothing where it names none of them."""
    best: tuple[float, Language] | None = None
    for part in accept_language[:200].split(","):
        tag, _, weight = part.partition(";")
        for language in LANGUAGES:
            if tag.strip().lower().split("-")[0] == language:
                quality = _quality(weight)
                if quality > 0 and (best is None or quality > best[0]):
                    best = quality, language
    return best[1] if best else None


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _written(name: str, fact: object, language: Language) -> str:
    match fact:
        case bool():
            return str(fact).lower()
        case int() | float() if name.endswith("_hours"):
            return message("unit.gpu_hours.one" if fact == 1 else "unit.gpu_hours", language, count=fact)
        case int() | float():
            return number(fact, language)
        case list() | tuple():
            return message("list.separator", language).join(_written("", part, language) for part in fact)
        case _:
            return _isolated(str(fact), language)


def _isolated(text: str, language: Language) -> str:
    runs_the_other_way = any(bidirectional(character) in FOREIGN_DIRECTIONS[language] for character in text)
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}" if runs_the_other_way else text
