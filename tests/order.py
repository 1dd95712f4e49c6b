"""In which order the tests of a run stand, so that all of its workers are done at about the same time.

Each worker begins with a stretch of the list, all of them equally many tests, and takes over from the end of another's
when it is done with its own. So each stretch begins with its share of the slow files and ends with quick tests.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SECONDS_OF_A_TEST = {"slurm": 15, "upgrade": 10, "e2e": 4, "browser": 1.3, "executors": 0.4, "client": 0.2}
"""About how long one takes, in the folders whose tests are slow."""


def in_order(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The same for all workers of a run: they must agree on it."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    stretches = _share_out([item for item in items if _seconds(item)], workers)
    quick = [item for item in items if not _seconds(item)]
    ordered: list[pytest.Item] = []
    for number, stretch in enumerate(stretches):
        end = len(items) * (number + 1) // workers
        missing = max(0, end - len(ordered) - len(stretch))
        ordered += [*stretch, *quick[:missing]]
        quick = quick[missing:]
    return ordered + quick


def _share_out(slow: Sequence[pytest.Item], workers: int) -> list[list[pytest.Item]]:
    """The longest file first, each to the worker that has least to do. Files stay whole, and in order of folders."""
    files: dict[Path, list[pytest.Item]] = defaultdict(list)
    for item in slow:
        files[item.path].append(item)
    shares: list[list[list[pytest.Item]]] = [[] for _ in range(workers)]
    seconds = [0.0] * workers
    for file in sorted(files.values(), key=_all_seconds, reverse=True):
        least = seconds.index(min(seconds))
        shares[least].append(file)
        seconds[least] += _all_seconds(file)
    folders = list(SECONDS_OF_A_TEST)
    return [
        [item for file in sorted(share, key=lambda file: folders.index(_folder(file[0]))) for item in file]
        for share in shares
    ]


def _all_seconds(file: Sequence[pytest.Item]) -> float:
    return sum(map(_seconds, file))


def _seconds(item: pytest.Item) -> float:
    return SECONDS_OF_A_TEST.get(_folder(item), 0)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]
