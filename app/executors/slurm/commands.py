"""Runs Slurm's commands: no shell, no environment of the service, an end in any case."""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LD_LIBRARY_PATH", "SLURM_CONF", "TZ")
"""All that a command sees of the service's environment; what an admin sets for `sbatch` (SBATCH_…) stays out."""
FIXED = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "%s"}
"""Messages that can be recognised, and times in seconds since 1970, which no time zone can turn."""
WITH_UMASK = ("/bin/sh", "-c", 'umask 027 && exec "$@"', "sh")
"""Slurm gives it to the job: its files can be read by their group, and its log by the service (see `run_files`).

A prefix, because uvloop starts no process with a `umask`.
"""
LONGEST_OUTPUT_BYTES = 64 * 2**20


class CommandTrouble(Exception):
    """A command failed, or did not answer. Whatever it was to do may or may not have happened."""


class CommandFailed(CommandTrouble):
    """A command answered that it failed."""


@dataclass(frozen=True, slots=True)
class Output:
    text: str
    error_text: str
    exit_code: int


class CommandRunner:
    """Each command gets at most `timeout`, then its process group is killed; also when the caller is cancelled."""

    def __init__(self, timeout: timedelta, environment: Mapping[str, str] = os.environ) -> None:
        self.timeout = timeout
        self._environment = {name: environment[name] for name in PASSED_ON if name in environment} | FIXED
        self._end_with_us = end_with_us(timeout)

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"") -> Output:
        """The output of a command, whatever its exit code is.

        The whole input is in a file before the command begins: should this process be killed meanwhile, no command
        reads the half of it. Files in memory cannot meet a full disk, which would make a list of jobs a shorter one.

        Raises:
            CommandTrouble: it could not be begun, took too long, or wrote more than anybody could want.
        """
        with _file("input") as given, _file("output") as out, _file("errors") as errors:
            given.write(stdin)
            given.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=given,
                    stdout=out,
                    stderr=errors,
                    env=self._environment,
                    start_new_session=True,
                    cwd="/",
                )
            except OSError as error:
                raise CommandTrouble(f"{argv[0]}: {error.strerror}") from error
            try:
                async with asyncio.timeout(self.timeout.total_seconds()):
                    exit_code = await process.wait()
            except TimeoutError as error:
                raise CommandTrouble(f"{argv[0]} did not answer within {self.timeout.total_seconds():g} s") from error
            finally:
                await _end(process)
            if os.fstat(out.fileno()).st_size > LONGEST_OUTPUT_BYTES:
                raise CommandTrouble(f"{argv[0]} wrote more than {LONGEST_OUTPUT_BYTES} bytes")
            return Output(_read(out), _read(errors), exit_code)

    async def run_once(self, argv: Sequence[str], *, stdin: bytes) -> Output:
        """As `run`, for `sbatch`, which must not be on its way any more when somebody asks what became of it.

        It ends soon after this process does, even by SIGKILL, and in any case after the timeout.
        """
        return await self.run([*self._end_with_us, *WITH_UMASK, *argv], stdin=stdin)

    async def ask(self, argv: Sequence[str]) -> str:
        """The output of a command that only asks.

        Raises:
            CommandFailed: it failed.
            CommandTrouble: see `run`.
        """
        output = await self.run(argv)
        if output.exit_code != 0:
            raise failure(argv[0], output)
        return output.text


def failure(command: str, output: Output) -> CommandFailed:
    words = next((line.strip() for line in output.error_text.splitlines() if line.strip()), None)
    return CommandFailed(f"{command}: {words or f'exit code {output.exit_code}'}")


def end_with_us(timeout: timedelta) -> list[str]:
    """A prefix for a command that must not outlive this process for long.

    `timeout` ends it after its time, whoever else is gone; `setpriv` has the kernel tell it when this process dies.
    """
    kill_in_time = ["timeout", "--signal=KILL", f"{timeout.total_seconds():g}"] if shutil.which("timeout") else []
    with_us = ["setpriv", "--pdeathsig", "TERM", "--"] if kill_in_time and shutil.which("setpriv") else []
    return with_us + kill_in_time


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), timeout=5)


def _file(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(name), "w+b")


def _read(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
