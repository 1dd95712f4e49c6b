"""Tables for spreadsheets."""

import csv
import io
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from app.schemas.spreadsheet import Cell, day, lines, moment, number, table

TEHRAN = ZoneInfo("Asia/Tehran")
LATE_IN_THE_EVENING = datetime(2026, 3, 20, 21, 15, 30, 999_999, tzinfo=UTC)
"""In Tehran the new year has begun a quarter past midnight."""


def test_a_table_begins_with_a_byte_order_mark_and_its_columns() -> None:
    assert table(("id", "name"), [(1, "الف")]) == "\ufeffid,name\r\n1,الف\r\n"


@pytest.mark.parametrize(
    "formula",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "＋1", "－1", "＠1", '=HYPERLINK("x")'],
)
def test_no_text_is_run_as_a_formula(formula: str) -> None:
    assert read(lines([(formula,)])) == [[f"'{formula}"]]


@pytest.mark.parametrize("text", ["train-resnet", "a=1", "", "'quoted'", 'say "hi", then go', "two\nlines", "سارا"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert read(lines([(text, "end")])) == [[text, "end"]]


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (-7, "-7"),
        (number(-1.5, 4), "-1.5000"),
        (number(0, 4), "0.0000"),
        (number(1 / 3, 4), "0.3333"),
        (number(1e15, 4), "1000000000000000.0000"),
        (number(None, 4), ""),
    ],
)
def test_numbers_stay_numbers_of_so_many_decimals(cell: Cell, written: str) -> None:
    assert read(lines([("x", cell)])) == [["x", written]]


def test_a_moment_is_told_in_local_time_with_the_persian_day_beside() -> None:
    assert moment(LATE_IN_THE_EVENING, TEHRAN) == ("2026-03-21T00:45:30+03:30", "1405-01-01")
    assert moment(LATE_IN_THE_EVENING, ZoneInfo("UTC")) == ("2026-03-20T21:15:30+00:00", "1404-12-29")
    assert moment(None, TEHRAN) == ("", "")
    assert day(LATE_IN_THE_EVENING, TEHRAN) == "2026-03-21"


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))
