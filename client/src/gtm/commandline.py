"""How commands are declared, on top of typer.

    commands = Commands()

    @commands.command(prints_data=True)
    def whoami(session: Session) -> None:
        '''Show who you are signed in as.'''

A command gets its Session first; its other parameters are typer's. The options that all commands share (and `--output`,
of those that print data) are added here, so that they can stand anywhere on the line and no command repeats them.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from gtm.context import Session
from gtm.plain_options import converted_late
from gtm.settings import CALENDARS, OUTPUT_FORMATS, Flags, checked

if TYPE_CHECKING:
    from typer._click import Command as AnyCommand
    from typer._click import Context, HelpFormatter
    from typer._click import Parameter as AnyParameter

F = TypeVar("F", bound=Callable[..., None])

SHARED_PANEL = "Options of every command"
COMPLETION_VARIABLE = "_GTM_COMPLETE"
"""How a shell asks which words could come next."""

HELP_NAMES = {"help_option_names": ["-h", "--help"]}


def one_of(words: Iterable[str]) -> Callable[[str], list[str]]:
    """What a shell completes a value with."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


UrlOption = Annotated[
    str | None, typer.Option(metavar="URL", help="Where the service is.", rich_help_panel=SHARED_PANEL)
]
ProfileOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which service and account of yours.", rich_help_panel=SHARED_PANEL),
]
CalendarOption = Annotated[
    str | None,
    typer.Option(metavar="|".join(CALENDARS), help="The calendar of dates for people.", rich_help_panel=SHARED_PANEL),
]
NoColorOption = Annotated[bool, typer.Option("--no-color", help="No colours.", rich_help_panel=SHARED_PANEL)]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", help="Tell each request and its id on stderr.", rich_help_panel=SHARED_PANEL),
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="|".join(OUTPUT_FORMATS),
        help="How to print data.",
        autocompletion=one_of(OUTPUT_FORMATS),
        rich_help_panel=SHARED_PANEL,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as -o json.", rich_help_panel=SHARED_PANEL)]

SHARED: Mapping[str, Any] = {
    "url": UrlOption,
    "profile": ProfileOption,
    "calendar": CalendarOption,
    "no_color": NoColorOption,
    "verbose": VerboseOption,
}
OF_DATA: Mapping[str, Any] = {"output": OutputOption, "json": JsonOption}


class Commands:
    """The commands of one module; with `help`, a group of its own: `gtm token create`."""

    def __init__(self, help: str | None = None) -> None:
        self.typer = typer.Typer(
            help=help,
            cls=Group,
            add_completion=False,
            no_args_is_help=True,
            rich_markup_mode=None,
            context_settings=HELP_NAMES,
        )
        self.typer.callback()(_nothing)

    def command(
        self,
        name: str | None = None,
        *,
        prints_data: bool = False,
        takes_words: bool = False,
        epilog: str | None = None,
        hidden: bool = False,
    ) -> Callable[[F], F]:
        """`prints_data`: it has `--output`. `takes_words`: its parameter `words` gets what stands after `--`.

        `epilog`: what stands below its help, examples above all.
        """

        def register(function: F) -> F:
            self.typer.command(
                name,
                cls=CommandOfWords if takes_words else Command,
                epilog=epilog,
                hidden=hidden,
                context_settings=HELP_NAMES,
                no_args_is_help=False,
            )(_with_shared_options(function, prints_data=prints_data))
            return function

        return register

    def add(self, commands: "Commands", name: str) -> None:
        """A group inside this one: `gtm admin quota set`."""
        self.typer.add_typer(commands.typer, name=name)

    def load(self) -> TyperGroup:
        return get_group(self.typer)


def _nothing() -> None:
    """Makes a group of a module that has one command, too."""


def _with_shared_options(function: Callable[..., None], *, prints_data: bool) -> Callable[..., None]:
    """A function for typer: its parameters and the shared ones, which it puts into the Session."""
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = {**OF_DATA, **SHARED} if prints_data else SHARED
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

    @functools.wraps(function)
    def run(*, context: typer.Context, **values: Any) -> None:
        session: Session = context.find_root().obj
        said = {name: values.pop(name) for name in shared}
        _take(session.flags, said)
        function(session, **values)

    parameters = [
        context,
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *(_shared_parameter(name, annotation) for name, annotation in shared.items()),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _shared_parameter(name: str, annotation: Any) -> inspect.Parameter:
    is_switch = annotation in (NoColorOption, VerboseOption, JsonOption)
    default = False if is_switch else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _take(flags: Flags, said: Mapping[str, Any]) -> None:
    """What stands at the command wins over what stands before it. Raises UsageError for what cannot be."""
    if said.get("json"):
        flags.output = "json"
    for name in ("url", "profile", "output", "calendar"):
        if said.get(name) is not None:
            setattr(flags, name, checked(name, said[name], f"--{name}"))
    flags.no_color |= said["no_color"]
    flags.verbose |= said["verbose"]


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

    def get_params(self, ctx: "Context") -> "list[AnyParameter]":
        return converted_late(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        return [_usual_notation(piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        self.write_options(self.get_params(ctx), ctx, formatter)

    def format_epilog(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        write_epilog(self.epilog, formatter)


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

    def get_params(self, ctx: "Context") -> "list[AnyParameter]":
        return converted_late(super().get_params(ctx))

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        self.format_commands(ctx, formatter)
        self.write_options(self.get_params(ctx), ctx, formatter)


def _usual_notation(piece: str) -> str:
    """`JOB...`, where typer writes `{JOB...}...`."""
    bare = piece.removesuffix("...") if piece.count("...") > 1 else piece
    return bare[1:-1] if bare.startswith("{") and bare.endswith("}") else bare


def write_epilog(epilog: str | None, formatter: "HelpFormatter") -> None:
    """As it stands: examples have lines of their own."""
    if epilog:
        formatter.write_paragraph()
        formatter.write(inspect.cleandoc(epilog) + "\n")


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

    def get_command(self, ctx: "Context", cmd_name: str) -> "AnyCommand | None":
        if cmd_name not in self.commands and cmd_name in self.entries:
            entry = self.entries[cmd_name]
            commands: Commands = import_module(f"gtm.commands.{entry.module}").commands
            group = commands.load()
            loaded = group if entry.is_group else group.commands[cmd_name]
            loaded.name = cmd_name
            self.commands[cmd_name] = loaded
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, AnyCommand | None, list[str]]":
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
