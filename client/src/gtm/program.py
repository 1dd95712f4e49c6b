"""`gtm` itself: knows its commands by name, and imports only the module of the one that is called."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from gtm.parsing import Group

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

    from gtm.commandline import Commands

COMPLETION_VARIABLE = "_GTM_COMPLETE"
"""With it in the environment a shell asks which words could come next."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not loaded yet: its module in gtm.commands, its help's first line, its heading."""

    module: str
    help: str
    heading: str
    is_group: bool = False


class Program(Group):
    """`gtm` itself: knows its commands by name, and imports only the module of the one that is called."""

    entries: Mapping[str, Entry] = {}

    def list_commands(self, ctx: "Context") -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        if cmd_name not in self.commands and cmd_name in self.entries:
            entry = self.entries[cmd_name]
            commands: Commands = import_module(f"gtm.commands.{entry.module}").commands
            group = commands.load()
            loaded = group if entry.is_group else group.commands[cmd_name]
            loaded.name = cmd_name
            self.commands[cmd_name] = loaded
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """Knows the names of all for "did you mean"."""
        if args[0] not in self.entries and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]!r}.{_did_you_mean(args[0], self.entries)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        headings = dict.fromkeys(entry.heading for entry in self.entries.values())
        width = max(map(len, self.entries), default=0)
        for heading in headings:
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (name.ljust(width), entry.help)
                        for name, entry in self.entries.items()
                        if entry.heading == heading
                    ]
                )


def _did_you_mean(typed: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = [f"gtm {name}" for name in get_close_matches(typed, names)]
    return f" Did you mean {' or '.join(near)}?" if near else ""
