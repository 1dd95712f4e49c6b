"""The reference of the command line client, as the program itself tells it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from gtm.main import app
from gtm.shared_options import SHARED_PANEL

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BEGINNING = "<!-- What follows is written by scripts/cli-reference. -->\n"
WIDTH = 100
"""Of the help texts, in characters: what a page of documents shows without scrolling."""

SHARED = re.compile(rf"\n{SHARED_PANEL}:\n(?:  .*(?:\n|$))+")


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_reference(text), encoding="utf-8")


def with_reference(page: str) -> str:
    """The page with its reference as it should be."""
    before, _, _ = page.partition(BEGINNING)
    return f"{before}{BEGINNING}\n{reference()}"


def reference() -> str:
    """A section for every command, in the order of `gtm --help`."""
    return "\n".join(_section(name, text) for name, text in helps())


def helps() -> Iterator[tuple[str, str]]:
    """The full name of every command, and its help without the options that all have."""
    program = typer.main.get_group(app)
    yield from _helps_of(_context(program, "gtm", None))


def _helps_of(context: Any) -> Iterator[tuple[str, str]]:
    text = context.command.get_help(context)
    is_program = context.parent is None
    yield context.command_path, text if is_program else SHARED.sub("", text).rstrip()
    if isinstance(context.command, TyperGroup):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None and not command.hidden:
                yield from _helps_of(_context(command, name, context))


def _context(command: Any, name: str, parent: Any) -> Any:
    return typer.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings)


def _section(name: str, text: str) -> str:
    return f"### {name}\n\n```text\n{_without_trailing_spaces(text)}\n```\n"


def _without_trailing_spaces(text: str) -> str:
    return re.sub(r" +$", "", text, flags=re.MULTILINE).rstrip()


if __name__ == "__main__":
    main()
