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
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup
from typer.main import get_group

from gtm.context import Session
from gtm.parsing import HELP_NAMES, Command, CommandOfWords, Group
from gtm.shared_options import OF_DATA, SHARED, parameters_of, take

F = TypeVar("F", bound=Callable[..., None])


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
        take(session.flags, said)
        function(session, **values)

    parameters = [
        context,
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *parameters_of(shared),
    ]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
