"""A script for bash, and what its `#GTM` lines ask for: `#GTM --gpus A100:2 --time 4h`, before its first command."""

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from gtm.errors import UsageError
from gtm.jobspec.options import WRITTEN_OPTIONS, JobOptions, with_command

MARK = "#GTM"
STANDARD_INPUT = "-"
SHELLS = frozenset({"sh", "bash", "dash"})
MOST_BYTES = 1_048_576
SWITCHES = {"--sensitive": "true", "--no-sensitive": "false"}


@dataclass(frozen=True)
class Script:
    """What a script asks for, its text being the command. `unread`: the numbers of `#GTM` lines that came too late."""

    options: JobOptions
    unread: tuple[int, ...] = ()


def load_script(path: str) -> Script:
    """The script of this path, `-` for standard input.

    Raises:
        UsageError: it cannot be read, is not for a shell, or asks for something that cannot be.
    """
    name = "standard input" if path == STANDARD_INPUT else path
    script = read_script(_decoded(_bytes_of(path), name), name)
    if path == STANDARD_INPUT:
        return script
    return Script(script.options.over(JobOptions(name=Path(path).name)), script.unread)


def read_script(text: str, name: str) -> Script:
    """From the text of a script; Windows line ends become those of Unix."""
    text = text.replace("\r\n", "\n")
    lines = text.split("\n")
    _check_interpreter(lines[0], name)
    first_command = _first_command(lines)
    options = JobOptions()
    for number, line in _marked(lines[:first_command], start=1):
        try:
            options = read_line(line).over(options)
        except UsageError as mistake:
            raise UsageError(f"{name}, line {number}: {mistake}") from None
    try:
        command = with_command(text)
    except UsageError as mistake:
        raise UsageError(f"{name}: {mistake}") from None
    unread = tuple(number for number, _ in _marked(lines[first_command:], start=first_command + 1))
    return Script(options.over(command), unread)


def read_line(line: str) -> JobOptions:
    """The options of one `#GTM` line, written as on the command line.

    Raises:
        UsageError: an option that does not exist, has no value, or a value that cannot be.
    """
    options = JobOptions()
    for name, value in _pairs(_words(line.removeprefix(MARK))):
        options = WRITTEN_OPTIONS[name](value).over(options)
    return options


def _bytes_of(path: str) -> bytes:
    try:
        if path == STANDARD_INPUT:
            return sys.stdin.buffer.read(MOST_BYTES + 1)
        with Path(path).open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}. A command is given after --, a script by its path."
        ) from None


def _decoded(content: bytes, name: str) -> str:
    """As UTF-8, without the mark that Windows puts before it."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(
            f"{name} is not a script in UTF-8. Submit a command that runs it: gtm submit -- ./{name}"
        ) from None


def _check_interpreter(first_line: str, name: str) -> None:
    """The service gives the text to bash, whatever its first line says; so that one has to agree."""
    if not first_line.startswith("#!"):
        return
    words = [word for word in first_line[2:].split() if not word.startswith("-")]
    interpreter = [Path(word).name for word in words if Path(word).name != "env"][:1]
    if not SHELLS.issuperset(interpreter):
        raise UsageError(
            f"{name} is for {interpreter[0]}, and scripts are run by bash. "
            f"Submit a command that runs it: gtm submit -- {interpreter[0]} {name}"
        )


def _first_command(lines: list[str]) -> int:
    """The index of the first line that is neither blank nor a comment; their number, if there is none."""
    for index, line in enumerate(lines):
        if line.strip() and not line.lstrip().startswith("#"):
            return index
    return len(lines)


def _marked(lines: list[str], *, start: int) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, start):
        if line.split(maxsplit=1)[:1] == [MARK] and line.startswith(MARK):
            yield number, line


def _words(text: str) -> Iterator[str]:
    """The words up to a remark: one that begins with #."""
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        yield from takewhile(lambda word: not word.startswith("#"), lexer)
    except ValueError:
        raise UsageError("the quotes do not match.") from None


def _pairs(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    """`--name value` and `--name=value` as pairs."""
    for word in words:
        option, equals, value = word.partition("=")
        name = option.removeprefix("--")
        if word in SWITCHES:
            yield "sensitive", SWITCHES[word]
        elif not option.startswith("--") or name not in WRITTEN_OPTIONS or name == "sensitive":
            known = ", ".join(f"--{known}" for known in WRITTEN_OPTIONS)
            raise UsageError(f"{word} is unknown here; known are {known}.")
        else:
            yield name, value if equals else _value(option, words)


def _value(option: str, words: Iterator[str]) -> str:
    value = next(words, None)
    if value is None or value.startswith("--"):
        raise UsageError(f"{option} has no value.")
    return value
