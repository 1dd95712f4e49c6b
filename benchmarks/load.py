"""Requests as fast as one process can send them: by wrk, or by our own generator where wrk is not installed."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.service import HOST

CONNECTIONS = 32
SEPARATOR = b"\0"
WRK = shutil.which("wrk")
NAME = "wrk" if WRK else "own generator (install wrk for better figures)"


@dataclass(frozen=True, slots=True)
class Load:
    """Requests to send in turn, again and again."""

    requests: Sequence[bytes]

    def rate(self, port: int, seconds: float) -> float:
        """How many of them per second are answered well.

        Raises:
            SystemExit: one was not.
        """
        with TemporaryDirectory() as directory:
            path = Path(directory, "requests")
            path.write_bytes(SEPARATOR.join(self.requests))
            done = subprocess.run(
                _command(path, port, seconds), check=True, capture_output=True, encoding="utf-8", timeout=seconds + 60
            )
        seen = json.loads(done.stdout.splitlines()[-1])
        if seen["failed"] or not seen["answered"]:
            raise SystemExit(f"{seen['failed']} of {seen['answered']} requests failed:\n{done.stderr}{done.stdout}")
        return float(seen["answered"] / seen["seconds"])


def request(method: str, path: str, token: str | None = None, body: Mapping[str, Any] | None = None) -> bytes:
    """An HTTP/1.1 request as it goes over the wire."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


def _command(path: Path, port: int, seconds: float) -> list[str]:
    if WRK is None:
        return [sys.executable, "-m", "benchmarks.generator", str(path), str(port), str(CONNECTIONS), str(seconds)]
    script = Path(__file__).with_name("wrk.lua")
    options = ["--threads=1", f"--connections={CONNECTIONS}", f"--duration={max(1, round(seconds))}s"]
    return [WRK, *options, f"--script={script}", f"http://{HOST}:{port}", "--", str(path)]
