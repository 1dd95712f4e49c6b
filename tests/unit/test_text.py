from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from app.schemas.text import FoldedFloat, FoldedInt, Line, Name, RequestModel, RowId, Text


class Sample(RequestModel):
    name: Annotated[Name, Field(min_length=1, max_length=5)] = "x"
    notes: Annotated[Text, Field(max_length=40)] = ""
    gpus: Annotated[int, Field(ge=1, le=8)] = 1
    hours: Annotated[float, Field(gt=0)] = 1
    sensitive: bool = False


@pytest.mark.parametrize(
    "body",
    [
        {"gpus": True},
        {"gpus": "2"},
        {"gpus": 2.0},
        {"gpus": "۲"},
        {"hours": True},
        {"hours": "1.5"},
        {"hours": float("nan")},
        {"hours": float("inf")},
        {"sensitive": 1},
        {"sensitive": "true"},
        {"name": 5},
        {"name": None},
        {"name": "   "},
        {"name": "abcdef"},
        {"name": "a\nb"},
        {"name": "a\tb"},
        {"name": "a\x00b"},
        {"name": "a\x1bb"},
        {"name": "\ud800"},
        {"notes": "\udfff"},
        {"notes": "a\x00"},
        {"notes": "a\r\nb"},
        {"is_admin": True},
    ],
)
def test_json_is_taken_literally_or_not_at_all(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sample.model_validate(body)


def test_a_whole_number_is_a_number_of_hours() -> None:
    assert Sample.model_validate({"hours": 2}).hours == 2.0


def test_text_is_kept_as_it_came() -> None:
    text = "  خط یک\n\tخط دو\u200c‌ 🙂 \x7f "
    assert Sample.model_validate({"notes": text}).notes == text


def test_names_are_trimmed_and_written_with_persian_letters() -> None:
    assert Sample.model_validate({"name": " علي\u200cك "}).name == "علی\u200cک"


@pytest.mark.parametrize("text", ["2", "۲", "٢", " 2 ", "۰۲"])
def test_whole_numbers_in_text_may_have_any_of_our_digits(text: str) -> None:
    assert TypeAdapter(FoldedInt).validate_python(text) == 2


@pytest.mark.parametrize("text", ["", "two", "۲٫۵", "1e3", "0x2", "²", "２", "1_000", "1,000"])
def test_what_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FoldedInt).validate_python(text)


@pytest.mark.parametrize(("text", "value"), [("1.5", 1.5), ("۱٫۵", 1.5), ("١٫٥", 1.5), ("۱", 1.0)])
def test_numbers_in_text_may_have_the_persian_decimal_mark(text: str, value: float) -> None:
    assert TypeAdapter(FoldedFloat).validate_python(text) == value


@pytest.mark.parametrize("text", ["nan", "inf", "-Infinity", "1/2"])
def test_numbers_in_text_are_finite(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(FoldedFloat).validate_python(text)


@pytest.mark.parametrize("text", ["0", "-1", str(2**63), "9" * 40])
def test_an_id_fits_into_the_database(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(RowId).validate_python(text)


def test_a_line_is_one_line() -> None:
    assert TypeAdapter(Line).validate_python("  one  line ") == "one  line"
