"""What is printed, in each format, and that nobody's name can command a terminal."""

import csv
import io
import json

import pytest

from gtm.output import Column, Output, flattened, harmless, no_formula
from tests.client.runner import Gtm

NASTY = "a\x1b]0;owned\x07b\u202ec"
COLUMNS = (Column("Id", "id"), Column("Owner", "owner.name"))
ROWS = [{"id": 1, "owner": {"name": "سارا"}, "tags": ["a"], "note": None}, {"id": 2, "owner": {"name": NASTY}}]


def printed(output_format: str, rows: list[dict[str, object]] = ROWS) -> tuple[str, str]:
    output = Output(output_format, stdout=io.StringIO(), stderr=io.StringIO())
    output.records(rows, COLUMNS, empty="There is nothing.")
    assert isinstance(output.stdout, io.StringIO)
    assert isinstance(output.stderr, io.StringIO)
    return output.stdout.getvalue(), output.stderr.getvalue()


def test_json_is_the_apis_own_fields() -> None:
    text, _ = printed("json")
    assert json.loads(text) == ROWS
    assert "سارا" in text


def test_jsonl_is_one_object_a_line() -> None:
    text, _ = printed("jsonl")
    assert [json.loads(line) for line in text.splitlines()] == ROWS


def test_csv_has_nested_fields_by_their_path() -> None:
    rows = list(csv.DictReader(io.StringIO(printed("csv")[0])))
    assert rows[0] == {"id": "1", "owner.name": "سارا", "tags": '["a"]', "note": ""}


def test_ids_stand_one_a_line() -> None:
    assert printed("id")[0] == "1\n2\n"


def test_a_table_off_a_terminal_has_tabs_and_a_heading() -> None:
    assert printed("table")[0].splitlines()[:2] == ["Id\tOwner", "1\tسارا"]


@pytest.mark.parametrize("output_format", ["json", "jsonl", "table"])
def test_no_format_sends_what_a_terminal_obeys(output_format: str) -> None:
    text, _ = printed(output_format)
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


def test_an_empty_list_is_told_to_people_and_not_to_programs() -> None:
    assert printed("table", []) == ("", "There is nothing.\n")
    assert printed("json", []) == ("[]\n", "")
    assert printed("jsonl", []) == ("", "")


def test_what_a_spreadsheet_would_run_is_quoted() -> None:
    assert no_formula("=HYPERLINK()") == "'=HYPERLINK()"
    assert no_formula("@cmd") == "'@cmd"
    assert no_formula("-1.5") == "-1.5"
    assert no_formula("plain") == "plain"


def test_persian_is_shown_as_it_is_written() -> None:
    assert harmless("می‌خواهم") == "می‌خواهم"


def test_nested_values_are_flat_in_a_row() -> None:
    assert dict(flattened({"a": {"b": {"c": 1.5}}, "d": True})) == {"a.b.c": "1.5", "d": "true"}


def test_there_is_colour_on_a_terminal_alone_and_only_if_wanted(sara: Gtm) -> None:
    assert "\x1b[" not in sara("doctor").out
    with sara.on_terminal("doctor") as terminal:
        assert terminal.wait() == 0, terminal.seen
    assert "\x1b[32mok" in terminal.seen
    for refusing in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        with sara.on_terminal("doctor", **refusing) as terminal:
            terminal.wait()
        assert "\x1b[3" not in terminal.seen
    with sara.on_terminal("doctor", "--no-color") as terminal:
        terminal.wait()
    assert "\x1b[3" not in terminal.seen
