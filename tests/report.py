"""What a test run says before and after: what it leaves out and why, and where its time went."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.surroundings import WORKER_VARIABLE

SLOWEST_FILES = 20


class Report:
    """Of the process that prints: the one that runs the tests, or that distributes them."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    def pytest_report_header(self) -> list[str]:
        is_long = os.environ.get("TEST_DEPTH") == "long"
        depth = "the long form" if is_long else "the short form; TEST_DEPTH=long runs more cases of the same kinds"
        return [f"depth: {depth}", *(f"left out: {what}" for what in _left_out())]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.location[0]] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        folders: Counter[str] = Counter()
        for file, seconds in self._seconds.items():
            folders[str(Path(file).parent)] += seconds
        terminalreporter.section("where the time went, in seconds of one worker")
        for file, seconds in self._seconds.most_common(SLOWEST_FILES):
            terminalreporter.line(f"{seconds:7.1f}  {file}")
        terminalreporter.line("")
        for folder, seconds in folders.most_common():
            terminalreporter.line(f"{seconds:7.1f}  {folder}/ in all")


def install(config: pytest.Config) -> None:
    if WORKER_VARIABLE not in os.environ:
        config.pluginmanager.register(Report(), "gtm-report")


def _left_out() -> Iterator[str]:
    """What cannot be tested on this machine, and how to get what it needs. Where CI is set, most of it fails."""
    from tests.browser.chromium import ADVICE, find_chromium
    from tests.slurm.cluster import what_is_missing
    from tests.slurm.fixtures import SHARED

    if find_chromium() is None:
        yield f"pages in a browser. {ADVICE}"
    if shutil.which("node") is None:
        yield "the scripts of the pages. Node is not installed: get it (Debian: apt-get install nodejs npm)"
    if missing := what_is_missing(SHARED):
        yield f"the Slurm engine. {missing}"
    if os.geteuid() != 0:
        yield "what only root can do: jobs of other users, small disks, control groups"
    if shutil.which("bwrap") is None:
        yield "jobs in a sandbox. bubblewrap is not installed: get it (Debian: apt-get install bubblewrap)"
    if not Path("/dev/nvidiactl").exists():
        yield "real GPUs. There is none here; tests/gpu/run tests them on a machine that has some"
