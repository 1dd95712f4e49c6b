"""`gtm`: which commands there are, and how a call ends.

A command is added here with the module that has it and the first line of its help; its module is imported when it is
called, so that `gtm --help` stays quick.
"""

import gc
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Annotated, NoReturn

import typer
from typer._click.exceptions import NoArgsIsHelpError

from gtm import VERSION
from gtm.context import Session
from gtm.errors import CommandError, ExitCode
from gtm.parsing import HELP_NAMES
from gtm.program import COMPLETION_VARIABLE, Entry, Program
from gtm.settings import Flags
from gtm.shared_options import CalendarOption, NoColorOption, ProfileOption, UrlOption, VerboseOption, take

JOBS = "Your jobs"
ACCOUNT = "Your account"
ADMINS = "For admins"
CLIENT = "This program"

COMMANDS: Mapping[str, Entry] = {
    "submit": Entry("submit", "Submit a job: a script, or a command after --.", JOBS),
    "ps": Entry("jobs", "List your jobs that have not ended, newest first.", JOBS),
    "show": Entry("jobs", "Show one job: what it asked for, where it stands, and what happened to it.", JOBS),
    "logs": Entry("logs", "Print a job's log.", JOBS),
    "wait": Entry("wait", "Wait until jobs have ended, and exit as they did.", JOBS),
    "cancel": Entry("jobs", "Give jobs up.", JOBS),
    "resubmit": Entry("submit", "Submit a job again, as it was or with changes.", JOBS),
    "quota": Entry("quota", "Show what is left of your GPU-hours this month.", JOBS),
    "gpus": Entry("gpus", "List the GPU types: how many there are, and how many are free now.", JOBS),
    "login": Entry("auth", "Sign in, and keep a personal access token on this machine.", ACCOUNT),
    "logout": Entry("auth", "Revoke this machine's token and forget it.", ACCOUNT),
    "whoami": Entry("auth", "Show who you are signed in as, and where.", ACCOUNT),
    "token": Entry("tokens", "Personal access tokens, for programs and other machines.", ACCOUNT, is_group=True),
    "admin": Entry("admin", "Decide on jobs, look after people and GPUs.", ADMINS, is_group=True),
    "config": Entry("config", "Settings: read, change, and see where each comes from.", CLIENT, is_group=True),
    "doctor": Entry("doctor", "Check the connection, the clock, the token and the versions.", CLIENT),
    "completion": Entry("completion", "Print the completion script of a shell: bash, zsh or fish.", CLIENT),
    "version": Entry("version", "Show the versions of this program and of the service.", CLIENT),
}

SELDOM = 100_000
"""Objects between two collections of garbage: imports make many and leave none, and are a tenth quicker so."""

PYDANTICS = "Value error, "
"""How it begins what typer lets it say."""


class Gtm(Program):
    entries = COMMANDS


app = typer.Typer(
    cls=Gtm,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings=HELP_NAMES,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"gtm {VERSION}\n")
        raise typer.Exit


@app.callback(epilog="The guide with examples is docs/cli.md; `gtm COMMAND --help` tells about one command.")
def gtm(
    context: typer.Context,
    url: UrlOption = None,
    profile: ProfileOption = None,
    calendar: CalendarOption = None,
    no_color: NoColorOption = False,
    verbose: VerboseOption = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Show this program's version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Submit GPU jobs, follow them, and share GPUs fairly."""
    session: Session = context.obj
    said = {"url": url, "profile": profile, "calendar": calendar, "no_color": no_color, "verbose": verbose}
    take(session.flags, said)


def main() -> NoReturn:
    """The console script."""
    gc.set_threshold(SELDOM)
    code = run(sys.argv[1:], os.environ)
    sys.exit(_flushed(code))


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Carry out one call, and return its exit code. Whatever goes wrong has been said on stderr."""
    session = Session(Flags(), environment)
    try:
        return _invoke(list(arguments), session)
    except CommandError as error:
        return _report(error, session)
    except typer.TyperException as error:
        return _report_usage(error, session)
    except (KeyboardInterrupt, EOFError, typer.Abort):
        sys.stderr.write("\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.BROKEN_PIPE
    except Exception as error:
        return _report_bug(error, session)
    finally:
        session.close()


def _invoke(arguments: list[str], session: Session) -> int:
    program = typer.main.get_group(app)
    if COMPLETION_VARIABLE in session.environment:
        from typer._completion_classes import completion_init

        completion_init()
        program.main(prog_name="gtm")
    try:
        with program.make_context("gtm", arguments, obj=session) as context:
            program.invoke(context)
    except typer.Exit as ended:
        return ended.exit_code
    return ExitCode.OK


def _report(error: CommandError, session: Session) -> int:
    output = session.messages
    output.error(error.message + (f" [{error.code}]" if error.code else ""))
    for line in error.details:
        output.say(f"  {line}")
    if error.hint:
        output.say(f"Try: {error.hint}")
    return error.exit_code


def _report_usage(error: typer.TyperException, session: Session) -> int:
    """A call that typer does not understand; of one without any arguments the message is the help."""
    context = getattr(error, "ctx", None)
    if isinstance(error, NoArgsIsHelpError):
        sys.stderr.write(f"{error.message}\n")
    else:
        session.messages.error(error.format_message().replace(PYDANTICS, ""))
        session.messages.say(f"Try: {context.command_path if context else 'gtm'} --help")
    return error.exit_code


def _report_bug(error: Exception, session: Session) -> int:
    """A mistake of this program: people who only use it are spared the traceback."""
    if session.flags.verbose:
        traceback.print_exception(error)
    session.messages.error(f"This is a mistake in gtm itself ({type(error).__name__}: {error}).")
    session.messages.say("Try: the same with --verbose, and tell the people who look after gtm what it prints")
    return ExitCode.FAILED


def _flushed(code: int) -> int:
    """Who reads our output may have gone; then Python must not try again at its own end, and complain."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = ExitCode.BROKEN_PIPE
    if code == ExitCode.BROKEN_PIPE:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code
