"""Turns what Pydantic says about a request into our own words. What the client sent is never repeated."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from app.schemas.errors import FieldProblem
from app.schemas.messages import Language, find_message, message

SENTENCES: Mapping[str, str] = {
    "model_type": "json_object",
    "model_attributes_type": "json_object",
    "dict_type": "json_object",
    "int_parsing": "int_type",
    "int_parsing_size": "int_type",
    "int_from_float": "int_type",
    "float_parsing": "float_type",
    "bool_parsing": "bool_type",
    "literal_error": "one_of",
    "enum": "one_of",
    "datetime_type": "datetime",
    "datetime_parsing": "datetime",
    "datetime_from_date_parsing": "datetime",
    "timezone_aware": "datetime",
    "date_type": "date",
    "date_parsing": "date",
    "date_from_datetime_parsing": "date",
    "date_from_datetime_inexact": "date",
    "uuid_type": "uuid",
    "uuid_parsing": "uuid",
}
"""Pydantic's kinds of error whose sentence has another name; the others are found under their own."""

LIMITS = frozenset({"min_length", "max_length", "gt", "ge", "lt", "le"})
SPEAKABLE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
QUOTED = re.compile(r"'([^']*)'")


def field_problems(errors: Sequence[Mapping[str, Any]], language: Language) -> list[FieldProblem]:
    return [FieldProblem(pointer=_pointer(error["loc"]), message=_sentence(error, language)) for error in errors]


def _pointer(location: Sequence[str | int]) -> str:
    """JSON pointer into the body, or under `/query`, `/path`, `/header`. Names that a client made up are left out."""
    parts = location[1:] if location and location[0] == "body" else location
    pointer = ""
    for part in parts:
        if not SPEAKABLE_NAME.fullmatch(str(part)):
            break
        pointer += f"/{part}"
    return pointer


def _sentence(error: Mapping[str, Any], language: Language) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "json_invalid":
        return message("field.json_invalid", language, position=error["loc"][-1])
    if kind in ("too_short", "too_long") and context.get("field_type") == "Value":
        kind = f"string_{kind}"
    facts = {name: context[name] for name in LIMITS & context.keys()}
    key = f"field.{SENTENCES.get(kind, kind)}"
    if key == "field.one_of":
        facts["expected"] = QUOTED.findall(context.get("expected", ""))
    if key in ("field.string_too_short", "field.too_short") and facts.get("min_length") == 1:
        key += ".one"
    return find_message(key, language, **facts) or message("field.invalid", language)
