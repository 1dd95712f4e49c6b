"""Completion of commands and options by the shell."""

from enum import Enum
from typing import Annotated

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.program import COMPLETION_VARIABLE

commands = Commands()


class Shell(str, Enum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


FOR_GOOD = {
    Shell.BASH: "gtm completion bash >~/.local/share/bash-completion/completions/gtm",
    Shell.ZSH: "gtm completion zsh >~/.zfunc/_gtm     (and ~/.zfunc in fpath before compinit)",
    Shell.FISH: "gtm completion fish >~/.config/fish/completions/gtm.fish",
}


@commands.command(
    epilog="\n".join(
        [
            "Until the shell ends, in bash or zsh:",
            '  eval "$(gtm completion bash)"',
            "For good:",
            *(f"  {command}" for command in FOR_GOOD.values()),
        ]
    )
)
def completion(
    session: Session, *, shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
) -> None:
    """Print the completion script of a shell: bash, zsh or fish."""
    from typer._completion_shared import get_completion_script

    session.output.data(get_completion_script(prog_name="gtm", complete_var=COMPLETION_VARIABLE, shell=shell.value))
    if session.output.is_terminal:
        session.output.say("That is for the shell to read.", then=FOR_GOOD[shell])
