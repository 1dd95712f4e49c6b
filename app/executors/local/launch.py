"""Starting a run's wrapper, which then lives on its own."""

import os
import py_compile
import subprocess
import sys
from functools import cache
from pathlib import Path

from app.executors.local import wrapper
from app.executors.local.run_directory import RunDirectory

PATIENCE_SECONDS = 15
"""It takes a tenth of a second, and a few on a machine that is overloaded."""


class WrapperBroken(Exception):
    """The wrapper could not take the run. The message says why, in its words."""


def launch_wrapper(directory: RunDirectory) -> None:
    """Have a wrapper take this run, unless another one has. When this returns, one has.

    Raises:
        WrapperBroken: none has, and the one that was started is gone.
        TimeoutError: it is not known.
    """
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    if crash_at := os.environ.get("CRASH_AT"):
        environment["CRASH_AT"] = crash_at
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-S", "-E", _program(), str(directory.path.absolute())],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError("the run wrapper did not answer") from None
    except OSError as error:
        raise WrapperBroken(error.strerror or str(error)) from error
    if ended.returncode == wrapper.TAKEN or directory.has_begun():
        return
    if ended.returncode == wrapper.NOT_OURS:
        raise TimeoutError("another wrapper holds the run and has not begun it")
    lines = ended.stderr.decode(errors="replace").strip().splitlines() or directory.complaints()
    raise WrapperBroken(lines[-1] if lines else f"exit code {ended.returncode}")


def _program() -> str:
    """The wrapper, compiled where that can be kept: to read its source costs each run 2 MiB as long as it lasts."""
    compiled = _compiled()
    return wrapper.__file__ if compiled is None or not Path(compiled).exists() else compiled


@cache
def _compiled() -> str | None:
    """Compiled by us, for what lies there can be of an earlier version."""
    try:
        return py_compile.compile(wrapper.__file__, doraise=True)
    except OSError:
        return None
