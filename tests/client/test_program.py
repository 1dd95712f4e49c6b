"""`gtm` as a program: its help, its usage errors, its pipes, its completion."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from gtm.commandline import Commands
from gtm.main import COMMANDS
from tests.client.runner import Gtm, new_gtm

SLOW_TO_IMPORT = {"httpx2", "rich", "yaml", "pydantic", "platformdirs", "jdatetime"}

HELP_OF_EACH = """
import os
from gtm.main import COMMANDS, run
for name in COMMANDS:
    if (child := os.fork()) == 0:
        raise SystemExit(run([name, "--help"], os.environ))
    assert os.waitpid(child, 0)[1] == 0, name
"""
"""Each in a process that has imported no other command."""


@pytest.fixture
def offline(tmp_path: Path) -> Gtm:
    return new_gtm(tmp_path / "offline")


def test_the_list_of_commands_says_what_each_says_itself() -> None:
    assert {name: first_line_of_help(name) for name in COMMANDS} == {
        name: entry.help for name, entry in COMMANDS.items()
    }


def first_line_of_help(name: str) -> str:
    entry = COMMANDS[name]
    commands: Commands = import_module(f"gtm.commands.{entry.module}").commands
    group = commands.load()
    help_text = (group if entry.is_group else group.commands[name]).help or ""
    return help_text.strip().splitlines()[0]


def test_every_command_has_help_and_needs_no_other_commands_imports(offline: Gtm) -> None:
    done = run_python(offline, HELP_OF_EACH)
    usages = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("Usage: gtm")]
    assert usages == list(COMMANDS), done.stderr


def test_help_imports_nothing_slow(offline: Gtm) -> None:
    code = "import sys; from gtm.main import run; run(['--help'], {}); print(*sys.modules, file=sys.stderr)"
    assert not set(run_python(offline, code).stderr.split()) & SLOW_TO_IMPORT


def run_python(gtm: Gtm, code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=gtm.variables({}),
        cwd=gtm.directory,
        capture_output=True,
        text=True,
        check=True,
    )


def test_python_dash_m_is_the_same_program(offline: Gtm) -> None:
    for arguments, code in ((["--help"], 0), (["config", "list", "-o", "csv"], 0), (["whoam"], 2), (["whoami"], 4)):
        assert offline.as_process(*arguments, code=code) == offline(*arguments, code=code)


def test_no_command_at_all_shows_the_help_as_a_mistake(offline: Gtm) -> None:
    outcome = offline(code=2)
    assert outcome.out == ""
    assert "Your account" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["whoam"], "Did you mean gtm whoami?"),
        (["nonsense"], "There is no command 'nonsense'."),
        (["--nonsense"], "No such option: --nonsense"),
        (["config", "set"], "Missing argument 'NAME'"),
        (["completion", "tcsh"], "gtm: Invalid value for 'SHELL': 'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        (["whoami", "-o", "xml"], "output cannot be 'xml'"),
        (["whoami", "--calendar", "maya"], "calendar cannot be 'maya'"),
    ],
)
def test_a_mistake_of_usage_ends_with_2_and_says_what_to_try(offline: Gtm, arguments: list[str], sentence: str) -> None:
    outcome = offline(*arguments, code=2, GTM_TOKEN="gtm_x")
    assert sentence in outcome.err
    assert "Try: gtm" in outcome.err
    assert outcome.out == ""


def test_a_pipe_that_breaks_is_no_matter(offline: Gtm) -> None:
    with offline.start("config", "list", "-o", "json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(offline: Gtm, shell: str) -> None:
    outcome = offline("completion", shell)
    assert f"_GTM_COMPLETE=complete_{shell}" in outcome.out
    assert outcome.err == ""


def test_bash_accepts_the_script(offline: Gtm) -> None:
    script = offline("completion", "bash").out
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


@pytest.mark.parametrize(
    ("line", "word", "expected"),
    [
        ("gtm who", 1, "whoami"),
        ("gtm config pr", 2, "profiles"),
        ("gtm whoami --pro", 2, "--profile"),
        ("gtm ps -o js", 3, "json jsonl"),
        ("gtm config get u", 3, "url"),
    ],
)
def test_commands_and_options_are_completed(offline: Gtm, line: str, word: int, expected: str) -> None:
    outcome = offline(_GTM_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(word))
    assert outcome.lines == expected.split()
