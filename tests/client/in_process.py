"""`gtm` called inside the process of the tests, by the function that the console script calls.

It finds what a process of its own would find: its working directory, variables, arguments, streams and file mode mask.
What the end of a process clears away is put back, and a call that leaves anything else behind fails.
"""

import atexit
import contextvars
import gc
import io
import locale
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from gtm.errors import ExitCode
from gtm.main import main
from tests.waiting import HANG_SECONDS


class Hang(BaseException):
    """Past `except Exception` of the program, which must not take it for a mistake of its own."""


def call(
    arguments: Sequence[str], directory: Path, variables: Mapping[str, str], umask: int, stdin: str
) -> tuple[int, str, str]:
    """The exit code, and what was written to stdout and to stderr.

    Raises KeyboardInterrupt if the call was interrupted: no test does that here, so it was the person who runs them.
    """
    streams = Streams(stdin)
    try:
        with surroundings(arguments, directory, variables, umask, streams), deadline():
            before = left_behind()
            code = contextvars.Context().run(exit_code)
            streams.flush()
            after = left_behind()
    except Hang:
        streams.flush()
        raise AssertionError(
            f"gtm {arguments} had not ended after {HANG_SECONDS:.0f} s.\nOut: {streams.out}\nErr: {streams.err}"
        ) from None
    if code == ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert not changed, f"gtm {arguments} left behind: {changed}"
    return code, streams.out, streams.err


class Streams:
    """Standard streams that are pipes, with the encodings of `LANG=C.UTF-8`."""

    def __init__(self, stdin: str) -> None:
        self._out, self._err = io.BytesIO(), io.BytesIO()
        self.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), "utf-8", "surrogateescape")
        self.stdout = io.TextIOWrapper(self._out, "utf-8", "surrogateescape")
        self.stderr = io.TextIOWrapper(self._err, "utf-8", "backslashreplace", line_buffering=True)

    def flush(self) -> None:
        self.stdout.flush()
        self.stderr.flush()

    @property
    def out(self) -> str:
        return read_as_text(self._out)

    @property
    def err(self) -> str:
        return read_as_text(self._err)


def read_as_text(written: io.BytesIO) -> str:
    """With `\\n` for every line end, as `subprocess` reads pipes as text."""
    return io.TextIOWrapper(io.BytesIO(written.getvalue()), "utf-8").read()


def exit_code() -> int:
    """What the interpreter would end with."""
    try:
        main()
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return (ended.code or 0) & 0xFF
        sys.stderr.write(f"{ended.code}\n")
        return 1
    except Exception:
        traceback.print_exc()
        return 1
    return 0


@contextmanager
def surroundings(
    arguments: Sequence[str], directory: Path, variables: Mapping[str, str], umask: int, streams: Streams
) -> Iterator[None]:
    """Warnings are errors, as with `python -W error`."""
    with ExitStack() as stack:
        stack.enter_context(chdir(directory))
        stack.callback(os.umask, os.umask(umask))
        stack.callback(gc.set_threshold, *gc.get_threshold())
        stack.enter_context(variables_of_a_process(variables))
        stack.enter_context(character_set_of_the_variables())
        for name, stream in vars(streams).items():
            if name.startswith("std"):
                stack.enter_context(replaced(sys, name, stream))
                stack.enter_context(replaced(sys, f"__{name}__", stream))
        stack.enter_context(replaced(sys, "argv", ["gtm", *arguments]))
        stack.enter_context(replaced(logging.root, "handlers", []))
        stack.callback(logging.root.setLevel, logging.root.level)
        logging.root.setLevel(logging.WARNING)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("error")
        yield


@contextmanager
def variables_of_a_process(variables: Mapping[str, str]) -> Iterator[None]:
    """These and no others; the time zone follows them."""
    outside = dict(os.environ)
    try:
        put_variables(variables)
        yield
    finally:
        put_variables(outside)


def put_variables(variables: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()


@contextmanager
def character_set_of_the_variables() -> Iterator[None]:
    """As Python sets it when it starts; a locale that is not installed changes nothing."""
    outside = locale.setlocale(locale.LC_CTYPE)
    with suppress(locale.Error):
        locale.setlocale(locale.LC_CTYPE, "")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_CTYPE, outside)


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    former = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, former)


@contextmanager
def deadline() -> Iterator[None]:
    """Raises Hang where the call hangs."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise Hang

    former = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def left_behind() -> Mapping[str, object]:
    """What one call of the program could leave to the next one, or to the tests."""
    return {
        **{f"handler of signal {number:d}": signal.getsignal(number) for number in signal.valid_signals()},
        "functions at exit": atexit._ncallbacks(),  # type: ignore[attr-defined]
        "log handlers": [*logging.root.handlers],
        "locale": locale.setlocale(locale.LC_ALL),
        "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook),
    }
