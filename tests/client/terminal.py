"""A pseudo-terminal with a program on it: what people see, and what they type."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.waiting import HANG_SECONDS

ROWS = 40


class Terminal:
    """`seen` is all that came so far, as it came: escape sequences, and what was echoed."""

    def __init__(
        self, command: Sequence[str], directory: Path, environment: Mapping[str, str], umask: int, *, columns: int
    ) -> None:
        self.seen = ""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            umask=umask,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_make_it_control,  # noqa: PLW1509 - no thread of these tests holds a lock that it needs
        )
        os.close(theirs)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def expect(self, text: str) -> str:
        """Wait until it has been seen; returns all that was seen until now."""
        deadline = time.monotonic() + HANG_SECONDS
        while text not in self.seen:
            assert self._read(deadline), f"{text!r} did not come, but:\n{self.seen}"
        return self.seen

    def type(self, text: str) -> None:
        """Keys, Enter (`\\n`) and Ctrl+C (`\\x03`) among them."""
        os.write(self._ours, text.encode())

    def wait(self) -> int:
        """Until it ends: the exit code."""
        deadline = time.monotonic() + HANG_SECONDS
        while self._read(deadline):
            pass
        assert time.monotonic() < deadline, f"it had not ended after {HANG_SECONDS:.0f} s, but:\n{self.seen}"
        return self.process.wait(HANG_SECONDS)

    def _read(self, deadline: float) -> bool:
        """Take what comes next; False when there will be nothing more, or not in time."""
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            received = os.read(self._ours, 65536)
        except OSError:  # Linux says so when nobody has the other side any more
            return False
        self.seen += received.decode(errors="replace")
        return bool(received)


def _make_it_control() -> None:
    """So that Ctrl+C becomes a signal, and /dev/tty is this terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
