"""How to compare two rates on a machine that does other things meanwhile.

What is compared takes turns in one run, so that a slow minute hits both sides, and only the ratio of neighbours counts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure. The quick one is for trying the benchmarks out; its figures are rough."""

    rounds: int
    seconds: float
    large_table_rows: int
    runs: int
    streams: int
    idle_seconds: float


FULL = Effort(rounds=5, seconds=5.0, large_table_rows=1_000_000, runs=10_000, streams=1000, idle_seconds=30.0)
QUICK = Effort(rounds=3, seconds=1.0, large_table_rows=50_000, runs=2000, streams=200, idle_seconds=5.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two rates, measured in turns."""

    ours: Sequence[float]
    theirs: Sequence[float]

    @property
    def ratio(self) -> float:
        return median(self._ratios())

    def __str__(self) -> str:
        ratios = self._ratios()
        return (
            f"{median(self.ours):,.0f} of {median(self.theirs):,.0f} per second; "
            f"rounds from {min(ratios):.0%} to {max(ratios):.0%}"
        )

    def _ratios(self) -> list[float]:
        return [ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def in_turns(rounds: int, ours: Callable[[], float], theirs: Callable[[], float]) -> Comparison:
    """Measure both, `rounds` times, after one round that only warms up."""
    theirs(), ours()
    pairs = [(theirs(), ours()) for _ in range(rounds)]
    return Comparison(ours=[pair[1] for pair in pairs], theirs=[pair[0] for pair in pairs])


def calibration() -> Iterator[float]:
    """How many million steps of a plain loop this machine does per second now: another value, another machine."""
    while True:
        began = perf_counter()
        for _ in range(2_000_000):
            pass
        yield 2 / (perf_counter() - began)
