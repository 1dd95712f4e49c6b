"""Calls of `gtm` as people make them, with a home of their own and nothing from outside.

A call runs inside the process of the tests, which costs a fiftieth of a process of its own. What needs one says so:
signals, pipes that break, terminals, shells, and how Python starts the program.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import SIGKILL
from threading import Timer
from typing import Any

from tests.client import in_process
from tests.client.terminal import Terminal
from tests.e2e.processes import PROJECT
from tests.waiting import HANG_SECONDS

COMMAND = [sys.executable, "-W", "error", "-m", "gtm"]
"""A warning ends it, as it ends a test."""

UMASK = 0o022


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended, and what it printed for programs (`out`) and for people (`err`)."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def jsonl(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass(frozen=True)
class Gtm:
    """A person's `gtm`: `gtm("ps", "-o", "json").json`. It starts in `directory`, which has nothing in it."""

    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: object, stdin: str = "", code: int | None = 0, **environment: str) -> Outcome:
        """Inside this process, until it ends. `code` is the exit code that the test expects, None for any."""
        words = [str(argument) for argument in arguments]
        outcome = Outcome(*in_process.call(words, self.directory, self.variables(environment), UMASK, stdin))
        assert code is None or outcome.code == code, outcome
        return outcome

    def as_process(self, *arguments: object, stdin: str = "", code: int | None = 0, **environment: str) -> Outcome:
        """The same as a process of its own: `python -m gtm`."""
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(stdin)
        outcome = Outcome(process.returncode, out, err)
        assert code is None or outcome.code == code, outcome
        return outcome

    @contextmanager
    def start(self, *arguments: object, **environment: str) -> Iterator["subprocess.Popen[str]"]:
        """One that goes on, with pipes for all three of its streams, until it ends by itself or the test fails."""
        with self._started([*COMMAND, *map(str, arguments)], environment) as process:
            yield process

    @contextmanager
    def start_script(self, script: str) -> Iterator["subprocess.Popen[str]"]:
        """A shell that goes on, and in which `$GTM` is the program."""
        with self._started(["/bin/sh", "-c", script], {"GTM": shlex.join(COMMAND)}) as process:
            yield process

    def on_terminal(self, *arguments: object, columns: int = 120, **environment: str) -> Terminal:
        """At a (pseudo-)terminal; a context manager."""
        return Terminal(
            [*COMMAND, *map(str, arguments)], self.directory, self.variables(environment), UMASK, columns=columns
        )

    def having(self, **environment: str) -> "Gtm":
        """The same person with further variables; an empty one is unset."""
        return replace(self, environment={**self.environment, **environment})

    @property
    def configuration(self) -> Path:
        return self.directory.parent / "home" / ".config" / "gtm"

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        chosen = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory.parent / "home"),
            "PYTHONPATH": str(PROJECT / "client" / "src"),
            "PYTHONDONTWRITEBYTECODE": "",
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            **self.environment,
            **more,
        }
        return {name: value for name, value in chosen.items() if value}

    @contextmanager
    def _started(self, command: Sequence[str], environment: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
        """Killed, with what it started, at the deadline (who reads from it then reads its end) or if the test fails."""
        with subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.variables(environment),
            umask=UMASK,
            process_group=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process:
            watchdog = Timer(HANG_SECONDS, kill_group, [process])
            watchdog.daemon = True
            watchdog.start()
            try:
                yield process
            except BaseException:
                kill_group(process)
                raise
            finally:
                in_time = watchdog.is_alive()
                watchdog.cancel()
        assert in_time, f"{shlex.join(command)} had not ended after {HANG_SECONDS:.0f} s"


def kill_group(process: "subprocess.Popen[str]") -> None:
    """The process and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, SIGKILL)


def new_gtm(directory: Path, **environment: str) -> Gtm:
    """With an empty home and an empty working directory below `directory`."""
    (directory / "home").mkdir(parents=True)
    (directory / "work").mkdir()
    return Gtm(directory / "work", environment)
