"""What runs in a forked process. It imports nothing that would take surroundings for a test run of its own."""

import ctypes
import os
import runpy
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


class Files(NamedTuple):
    stdin: Path
    stdout: Path
    stderr: Path


def become_module(arguments: Sequence[str], environment: Mapping[str, str], directory: Path, files: Files) -> None:
    """Become what `python -m` makes of the arguments."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    for standard, (path, flags) in enumerate(
        [(files.stdin, os.O_RDONLY), (files.stdout, APPEND), (files.stderr, APPEND)]
    ):
        opened = os.open(path, flags, 0o666)
        os.dup2(opened, standard)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(standard, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process
        for standard, mode in enumerate("rww")
    )
    sys.argv = list(arguments)
    sys.modules.pop(f"{arguments[0]}.__main__", None)  # it was imported for the sake of what it imports
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
