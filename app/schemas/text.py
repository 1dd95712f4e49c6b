"""The types of fields on the wire, and the two models that every schema derives from.

JSON is strict: `true` is not 1 GPU and `"2"` is not 2. Where a number can only arrive as text (query, form, path) it
may be written in Persian or Arabic digits.
"""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

LARGEST_ROW_ID = 2**63 - 1
ASCII_NUMBER = {
    **{ord(digit): str(value) for value, digit in enumerate("۰۱۲۳۴۵۶۷۸۹")},
    **{ord(digit): str(value) for value, digit in enumerate("٠١٢٣٤٥٦٧٨٩")},
    ord("٫"): ".",
    ord("_"): "?",  # 1_000 is a number to Python, not to people
}
PERSIAN_LETTERS = str.maketrans("يىك", "ییک")
DIRECTION_CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
UNDRAWN = frozenset({"Cc", "Cf", "Cs", "Mn", "Me", "Zs", "Zl", "Zp"})
"""Categories of Unicode. What is unassigned (Cn) is not among them: it may be a letter of a newer version."""

BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Unicode calls them letters or symbols, and nothing is drawn for them."""

UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")


class RequestModel(BaseModel):
    """What a client sends. Unknown fields are refused, types are taken literally.

    An enumeration needs `Field(strict=False)`, because JSON can only carry its value.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class ResponseModel(BaseModel):
    """What we send."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


def fold_digits(value: Any) -> Any:
    """Persian and Arabic digits to ASCII, so that the number can be read; anything but text is left alone."""
    return value.translate(ASCII_NUMBER).strip() if isinstance(value, str) else value


def fold_letters(value: str) -> str:
    """The Arabic letters of Arabic keyboards (ي, ى, ك) to the Persian ones that look the same."""
    return value.translate(PERSIAN_LETTERS)


def refuse_control_characters(value: str) -> str:
    """Tab and newline are text. Other C0 control characters are a mistake or an attack, and half surrogates no text."""
    if UNSTORABLE.search(value):
        raise PydanticCustomError("control_character", "must not contain control characters")
    return value


def refuse_direction_controls(value: str) -> str:
    """They let a text look like another one: what an approver reads has to be what runs (Unicode's Bidi_Control)."""
    if DIRECTION_CONTROLS.search(value):
        raise PydanticCustomError("direction_control", "must not contain characters that control the direction of text")
    return value


def refuse_invisible(value: str) -> str:
    drawn = {letter for letter in value if unicodedata.category(letter) not in UNDRAWN}
    if value and drawn <= BLANK_LETTERS:
        raise PydanticCustomError("blank", "must not be blank")
    return value


def refuse_line_breaks(value: str) -> str:
    if "\n" in value or "\t" in value:
        raise PydanticCustomError("line_break", "must be a single line")
    return value


Text = Annotated[str, AfterValidator(refuse_control_characters)]
"""Text of several lines, kept exactly as it came. Give it a `Field(max_length=…)`."""

Reason = Annotated[Text, StringConstraints(strip_whitespace=True), Field(min_length=1, max_length=2000)]
"""Why somebody did something, for somebody else to read: trimmed, and never blank."""

Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(refuse_control_characters),
    AfterValidator(refuse_line_breaks),
]
"""One line, trimmed. Give it a `Field(min_length=…, max_length=…)`."""

Name = Annotated[
    Line,
    AfterValidator(refuse_direction_controls),
    AfterValidator(refuse_invisible),
    AfterValidator(fold_letters),
]
"""One line that people search for: trimmed, with something to see, and with Persian letters. Give it a
`Field(min_length=…, max_length=…)`."""

Command = Annotated[Text, AfterValidator(refuse_direction_controls), AfterValidator(refuse_invisible)]
"""What runs, kept exactly as it came. Give it a `Field(max_length=…)`."""

FoldedInt = Annotated[int, BeforeValidator(fold_digits)]
FoldedFloat = Annotated[float, BeforeValidator(fold_digits), Field(allow_inf_nan=False)]

RowId = Annotated[FoldedInt, Field(ge=1, le=LARGEST_ROW_ID)]
"""An id in a path or query."""
