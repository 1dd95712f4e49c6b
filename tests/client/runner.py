"""Calls of `gtm` as people make them: a process of its own, with a home of its own and nothing from outside."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.client.terminal import Terminal
from tests.e2e.processes import PROJECT

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-W", "error", "-m", "gtm"]
"""A warning ends it, as it ends a test."""


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
        """Wait until it ends. `code` is the exit code that the test expects, None for any."""
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=self.directory,
            env=self.variables(environment),
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        outcome = Outcome(done.returncode, done.stdout, done.stderr)
        assert code is None or outcome.code == code, outcome
        return outcome

    def start(self, *arguments: object, **environment: str) -> "subprocess.Popen[str]":
        """One that goes on, with pipes for all three of its streams; use it as a context manager, and end it."""
        return self._popen([*COMMAND, *map(str, arguments)], environment)

    def start_script(self, script: str) -> "subprocess.Popen[str]":
        """A shell that goes on, and in which `$GTM` is the program."""
        return self._popen(["/bin/sh", "-c", script], {"GTM": shlex.join(COMMAND)})

    def on_terminal(self, *arguments: object, columns: int = 120, **environment: str) -> Terminal:
        """At a (pseudo-)terminal; a context manager."""
        return Terminal([*COMMAND, *map(str, arguments)], self.directory, self.variables(environment), columns=columns)

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

    def _popen(self, command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.variables(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )


def new_gtm(directory: Path, **environment: str) -> Gtm:
    """With an empty home and an empty working directory below `directory`."""
    (directory / "home").mkdir(parents=True)
    (directory / "work").mkdir()
    return Gtm(directory / "work", environment)
