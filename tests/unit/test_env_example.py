"""`.env.example` says what the settings are: the same names, the same defaults, and nothing that takes effect."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from dotenv import dotenv_values

from app.core.config import Settings
from tests.unit.test_compose import COMPOSE_ONLY

EXAMPLE = Path(__file__).parents[2] / ".env.example"


class Line(NamedTuple):
    name: str
    value: str
    comment: str


LINES = [
    Line(name, value, comment)
    for comment, name, value in re.findall(r"^# (.+)\n#([A-Z_]+)=(.*)$", EXAMPLE.read_text("utf-8"), re.MULTILINE)
]
SETTINGS = [line for line in LINES if line.name.lower() in Settings.model_fields]


def test_it_names_every_setting_in_the_order_of_the_code_and_nothing_else() -> None:
    names = [line.name for line in LINES]
    assert names[: len(Settings.model_fields)] == [field.upper() for field in Settings.model_fields]
    assert set(names[len(Settings.model_fields) :]) == COMPOSE_ONLY


def test_every_assignment_has_its_line_of_comment() -> None:
    assert len(LINES) == len(re.findall(r"^#?[A-Z_]+=", EXAMPLE.read_text("utf-8"), re.MULTILINE))
    assert all(line.comment.endswith(".") for line in LINES)


@pytest.mark.parametrize("line", SETTINGS, ids=lambda line: line.name)
def test_the_value_shown_is_the_default(line: Line) -> None:
    default = getattr(Settings(_env_file=None), line.name.lower())
    if default in (None, ()):
        assert line.value == ""
    else:
        shown = Settings(_env_file=None, **{line.name.lower(): line.value})
        assert getattr(shown, line.name.lower()) == default


def test_a_copy_of_it_changes_nothing() -> None:
    assert dotenv_values(EXAMPLE) == {}
