"""docs/cli.md says what the program does."""

import re
import shlex

import typer
from typer.core import TyperGroup

from gtm.errors import ExitCode
from gtm.main import app
from gtm.settings import DEFAULTS, OUTPUT_FORMATS, VARIABLES
from scripts.lib.cli_reference import BEGINNING, with_reference
from tests.documents import blocks, read, table_rows

PAGE = read("docs/cli.md")
GUIDE = PAGE.partition(BEGINNING)[0]
UNSAID = {ExitCode.BROKEN_PIPE}
"""What ends quietly, as with every program."""


def calls() -> list[list[str]]:
    """Every call of `gtm` in the guide's examples, without what the shell does around it."""
    lines = "\n".join(blocks(GUIDE, "bash")).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        for call in re.findall(r"(?:^|[|;&(] ?|GTM_TOKEN=\S+ \S+ |xargs -r )gtm ([^|;&()<>]*)", line):
            found.append(shlex.split(call, comments=True))
    return found


def test_the_reference_is_what_the_program_says() -> None:
    assert with_reference(PAGE) == PAGE, "run scripts/cli-reference"


def test_every_example_is_a_call_that_the_program_understands() -> None:
    examples = calls()
    assert examples
    assert {" ".join(example): unknown for example in examples if (unknown := unknown_words(example))} == {}


def unknown_words(arguments: list[str]) -> set[str]:
    """The commands and options of a call that the program does not have."""
    command = typer.main.get_group(app)
    context = typer.Context(command, info_name="gtm")
    words = [*arguments]
    while isinstance(command, TyperGroup):
        own = {name: option.is_flag for option in command.get_params(context) for name in option.opts}
        while words and words[0].startswith("-"):
            words = words[1:] if own[words[0]] else words[2:]
        if not words:
            return set()
        found = command.get_command(context, words[0])
        if found is None:
            return {words[0]}
        command, words = found, words[1:]
    known = {name for parameter in command.get_params(context) for name in (*parameter.opts, *parameter.secondary_opts)}
    before_a_command = words[: words.index("--")] if "--" in words else words
    said = {word.partition("=")[0] for word in before_a_command if word.startswith("-") and word != "-"}
    return said - known


def test_the_table_of_settings_is_complete() -> None:
    rows = [row for row in table_rows(GUIDE) if len(row) == 5]
    stated = {row[0].strip("`"): (row[2].strip("`"), row[3].strip("`")) for row in rows[1:] if row[0] != "–"}
    assert {name: stated.get(name) for name in DEFAULTS} == {
        name: (VARIABLES[name], default) for name, default in DEFAULTS.items()
    }


def test_the_table_of_exit_codes_is_complete() -> None:
    stated = {int(row[0]) for row in table_rows(GUIDE) if row[0].isdigit()}
    assert stated == set(ExitCode) - UNSAID


def test_the_table_of_formats_is_complete() -> None:
    stated = [row[0].strip("`") for row in table_rows(GUIDE) if row[0].strip("`") in OUTPUT_FORMATS]
    assert stated == list(OUTPUT_FORMATS)
