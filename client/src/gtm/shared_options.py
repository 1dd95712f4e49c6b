"""The options that all commands share, and `--output` of those that print data.

They can stand before or after the command's name; what stands after it wins.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from gtm.settings import CALENDARS, OUTPUT_FORMATS, Flags, checked

SHARED_PANEL = "Options of every command"


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
    typer.Option(
        metavar="|".join(CALENDARS),
        help="The calendar of dates for people.",
        autocompletion=one_of(CALENDARS),
        rich_help_panel=SHARED_PANEL,
    ),
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


def parameters_of(options: Mapping[str, Any]) -> list[inspect.Parameter]:
    """Of a function that takes these options by name."""
    return [_parameter(name, annotation) for name, annotation in options.items()]


def take(flags: Flags, said: Mapping[str, Any]) -> None:
    """Put down what was said, over what was said before. Raises UsageError for what cannot be."""
    if said.get("json"):
        flags.output = "json"
    for name in ("url", "profile", "output", "calendar"):
        if said.get(name) is not None:
            setattr(flags, name, checked(name, said[name], f"--{name}"))
    flags.no_color |= said["no_color"]
    flags.verbose |= said["verbose"]


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    is_switch = annotation in (NoColorOption, VerboseOption, JsonOption)
    default = False if is_switch else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
