"""What the local engine gives to its runs: GPUs that a driver tells of, or stand-ins for them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from app.domain.execution import GpuInfo, GpuSlot


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU with the processes that compute on it, whoever they belong to."""

    info: GpuInfo
    compute_pids: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Reading:
    """What one GPU does now: share of time computing (0-1), and the rest where it tells."""

    utilisation: float
    memory_used_bytes: int
    power_watts: float | None = None
    temperature_celsius: float | None = None


class Devices(Protocol):
    """All calls may block: on a driver, or on reading `/proc`."""

    def list(self) -> Sequence[Device]: ...

    def measure(self, runs: Mapping[UUID, Collection[GpuSlot]]) -> Mapping[UUID, Mapping[GpuSlot, Reading]]:
        """What the GPUs of these runs do. One that tells nothing is left out."""
        ...

    def files_of(self, slots: Collection[GpuSlot]) -> Sequence[str]:
        """The device files through which a process gets at these GPUs."""
        ...

    def visible_as(self, slots: Collection[GpuSlot]) -> str:
        """What `CUDA_VISIBLE_DEVICES` says to a run that holds these, and no others."""
        ...
