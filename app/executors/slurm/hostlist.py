"""Slurm's short form of node names, as in `n[1-4,7],rack[01-02]gpu3`."""

import re
from collections.abc import Iterator
from itertools import product

_PART = re.compile(r"\[([^\]]*)\]")
_OUTSIDE_COMMA = re.compile(r",(?![^\[]*\])")
LONGEST_RANGE = 65_536


def expand(hostlist: str) -> list[str]:
    """The names one by one, in the order in which they are written.

    Raises:
        ValueError: a range is no range.
    """
    return [name for part in _OUTSIDE_COMMA.split(hostlist.strip()) if part for name in _expand_part(part)]


def _expand_part(part: str) -> Iterator[str]:
    texts = _PART.split(part)
    choices = [[text] if position % 2 == 0 else list(_numbers(text)) for position, text in enumerate(texts)]
    return ("".join(chosen) for chosen in product(*choices))


def _numbers(ranges: str) -> Iterator[str]:
    for text in ranges.split(","):
        first, _, last = text.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= high - low < LONGEST_RANGE:
            raise ValueError(f"no range of nodes: {text!r}")
        yield from (str(number).zfill(len(first)) for number in range(low, high + 1))
