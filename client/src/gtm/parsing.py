"""typer's commands and groups as they are here: their help in plain text, their values without detours."""

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

from gtm.plain_options import converted_late
from gtm.shared_options import SHARED_PANEL

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter

HELP_NAMES = {"help_option_names": ["-h", "--help"]}
"""What every context is made with."""


class _Panels:
    """Help in plain text, with the shared options below the command's own."""

    def write_options(self, parameters: Iterable[Any], context: "Context", formatter: "HelpFormatter") -> None:
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], SHARED_PANEL: []}
        for parameter in parameters:
            if parameter.param_type_name == "argument":
                panels["Arguments"].append((parameter.metavar or parameter.name.upper(), parameter.help or ""))
            elif (record := parameter.get_help_record(context)) is not None:
                panels[parameter.rich_help_panel or "Options"].append(record)
        for title, records in panels.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class Command(_Panels, TyperCommand):
    """A command whose help lists its own options before those of every command."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        return converted_late(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        return [_usual_notation(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        self.write_options(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        _write_epilog(self.epilog, formatter)


class CommandOfWords(Command):
    """A command that is given another one after `--`, as its last parameter `words`."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        place = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:place])
        if stray := ctx.params.get("words"):
            ctx.fail(f"What is {' '.join(stray)}? A command is given after --, as in {ctx.command_path} -- sleep 60")
        ctx.params["words"] = args[place + 1 :]
        return rest


class Group(_Panels, TyperGroup):
    """A group of commands with the same help."""

    def get_params(self, ctx: "Context") -> "list[Parameter]":
        return converted_late(super().get_params(ctx))

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        self.format_commands(ctx, formatter)
        self.write_options(self.get_params(ctx), ctx, formatter)


def _usual_notation(piece: str) -> str:
    """`JOB...`, where typer writes `{JOB...}...`."""
    bare = piece.removesuffix("...") if piece.count("...") > 1 else piece
    return bare[1:-1] if bare.startswith("{") and bare.endswith("}") else bare


def _write_epilog(epilog: str | None, formatter: "HelpFormatter") -> None:
    """As it stands: examples have lines of their own."""
    if epilog:
        formatter.write_paragraph()
        formatter.write(inspect.cleandoc(epilog) + "\n")
