"""A log on its way to a terminal, and the lines at its end."""

import pytest

from gtm.joblog import last_lines
from gtm.logscreen import showable
from gtm.output import harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("loss 0.1\n", "loss 0.1\n"),
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        (" 50%\r100%\n", " 50%\r100%\n"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("گام ۱ 你好", "گام ۱ 你好"),
    ],
)
def test_colours_pass_and_what_takes_over_the_terminal_is_shown(text: str, shown: str) -> None:
    assert showable(text, color=True) == shown


def test_without_colours_they_are_left_out() -> None:
    assert showable("\x1b[1;31mred\x1b[0m", color=False) == "red"


def test_a_name_that_the_service_isolates_stays_readable_and_one_that_turns_the_line_does_not() -> None:
    assert harmless("by \u2068سارا\u2069") == "by \u2068سارا\u2069"
    assert harmless("\u2068open \u202eturned") == "\\u2068open \\u202eturned"


@pytest.mark.parametrize(
    ("lines", "last"),
    [(0, b""), (1, b"c\rd\n"), (2, b"b\nc\rd\n"), (3, b"a\nb\nc\rd\n"), (9, b"a\nb\nc\rd\n")],
)
def test_the_last_lines_are_counted_by_their_ends(lines: int, last: bytes) -> None:
    assert last_lines(b"a\nb\nc\rd\n", lines) == last
    assert last_lines(b"a\nb", 1) == b"b"
