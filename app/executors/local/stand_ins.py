"""Stand-ins for GPUs on a machine without: runs queue for them, are charged for them, and compute on the CPU."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from app.domain.execution import GpuInfo, GpuSlot
from app.executors.local.devices import Device, Reading
from app.executors.local.processes import pids_of

TYPE = "CPU"
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SHORTEST_SPAN_SECONDS = 0.001

# Fields of /proc/PID/stat behind the program's name, from `state` on: utime, stime, cutime, cstime, rss.
_CPU_TICKS = slice(11, 15)
_RESIDENT_PAGES = 21


class CpuStandIns:
    """`number` of them share the machine. What they do is what their run's processes do with the CPU.

    Their utilisation is the share of the whole machine's CPU time, their memory the resident memory.
    """

    def __init__(self, number: int, node: str) -> None:
        self._cpu_seconds: dict[UUID, tuple[float, float]] = {}
        memory = os.sysconf("SC_PHYS_PAGES") * PAGE_BYTES // number
        slots = [GpuSlot(node, index, f"CPU-{node}-{index}") for index in range(number)]
        self._devices = [Device(GpuInfo(slot, TYPE, memory)) for slot in slots]

    def list(self) -> Sequence[Device]:
        return self._devices

    def measure(self, runs: Mapping[UUID, Collection[GpuSlot]]) -> Mapping[UUID, Mapping[GpuSlot, Reading]]:
        """Nothing of a run that is seen for the first time: there is no moment before to compare with."""
        now = time.monotonic()
        pids = pids_of(runs)
        before, self._cpu_seconds = self._cpu_seconds, {}
        measured = {}
        for run_id, slots in runs.items():
            used, resident = _usage(pids[run_id])
            self._cpu_seconds[run_id] = (now, used)
            if run_id in before:
                share = _share(before[run_id], now, used)
                measured[run_id] = {slot: Reading(share, resident // len(slots)) for slot in slots}
        return measured

    def files_of(self, slots: Collection[GpuSlot]) -> Sequence[str]:  # noqa: ARG002 - the protocol's name
        return ()

    def visible_as(self, slots: Collection[GpuSlot]) -> str:  # noqa: ARG002 - the protocol's name
        """Nothing: where somebody tries stand-ins beside real GPUs, no run touches these."""
        return ""


def _share(before: tuple[float, float], now: float, used: float) -> float:
    """Of the whole machine. Time of processes that ended unseen is missing, so it can seem to run backwards."""
    rate = (used - before[1]) / max(now - before[0], SHORTEST_SPAN_SECONDS)
    return min(1.0, max(0.0, rate / (os.cpu_count() or 1)))


def _usage(pids: Collection[int]) -> tuple[float, int]:
    """CPU seconds of these processes and of their ended children, and the bytes that they hold in memory."""
    ticks = pages = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        fields = stat.rpartition(")")[2].split()
        ticks += sum(map(int, fields[_CPU_TICKS]))
        pages += int(fields[_RESIDENT_PAGES])
    return ticks / TICKS_PER_SECOND, pages * PAGE_BYTES
