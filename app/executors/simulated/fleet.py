"""The GPUs of a simulated fleet, read from the setting `SIMULATED_FLEET`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from app.core.config import ConfigurationError
from app.domain.execution import GpuInfo, GpuSlot

GIB = 2**30
MAXIMUM_GPUS_PER_NODE = 64

_ADVICE = "write nodes as node1=A100x8,node2=V100x4"
_NODE = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.-]{0,62})=(?P<gpu_type>[A-Za-z][A-Za-z0-9_.-]{0,30})x(?P<count>[0-9]{1,4})"
)
_UUID_NAMESPACE = UUID("6f1c8f4e-8c5e-5d0b-9c63-0b8f2f1d7a11")


@dataclass(frozen=True, slots=True)
class GpuModel:
    """What a data sheet says of a GPU type."""

    memory_bytes: int
    power_watts: int


_MODELS = {
    "P100": GpuModel(16 * GIB, 250),
    "V100": GpuModel(32 * GIB, 300),
    "T4": GpuModel(16 * GIB, 70),
    "RTX3090": GpuModel(24 * GIB, 350),
    "RTX4090": GpuModel(24 * GIB, 450),
    "RTX5090": GpuModel(32 * GIB, 575),
    "A10": GpuModel(24 * GIB, 150),
    "A30": GpuModel(24 * GIB, 165),
    "A40": GpuModel(48 * GIB, 300),
    "A100": GpuModel(80 * GIB, 400),
    "L4": GpuModel(24 * GIB, 72),
    "L40S": GpuModel(48 * GIB, 350),
    "H100": GpuModel(80 * GIB, 700),
    "H200": GpuModel(141 * GIB, 700),
    "B200": GpuModel(180 * GIB, 1000),
}
_UNKNOWN_MODEL = GpuModel(16 * GIB, 250)


def parse_fleet(text: str) -> tuple[GpuInfo, ...]:
    """The GPUs of `node1=A100x8,node2=V100x4`, in the order written. Spaces around the commas are allowed.

    Raises:
        ConfigurationError: the text has another form, names a node twice, or gives it less than 1 or more than 64 GPUs.
    """
    gpus: dict[str, Sequence[GpuInfo]] = {}
    for entry in text.split(","):
        name, gpu_type, count = _parse_node(entry.strip())
        if name in gpus:
            raise ConfigurationError(f"SIMULATED_FLEET: the node {name} is named twice; {_ADVICE}")
        gpus[name] = [
            GpuInfo(_slot(name, gpu_type, index), gpu_type, gpu_model(gpu_type).memory_bytes) for index in range(count)
        ]
    return tuple(gpu for node in gpus.values() for gpu in node)


def _parse_node(entry: str) -> tuple[str, str, int]:
    if not entry:
        raise ConfigurationError(f"SIMULATED_FLEET: a node is missing; {_ADVICE}")
    match = _NODE.fullmatch(entry)
    if match is None:
        raise ConfigurationError(f"SIMULATED_FLEET: cannot read {entry!r}; {_ADVICE}")
    count = int(match["count"])
    if not 1 <= count <= MAXIMUM_GPUS_PER_NODE:
        raise ConfigurationError(f"SIMULATED_FLEET: {entry!r} must have 1 to {MAXIMUM_GPUS_PER_NODE} GPUs; {_ADVICE}")
    return match["name"], match["gpu_type"], count


def _slot(node: str, gpu_type: str, index: int) -> GpuSlot:
    """The identifier is the same after every start, and another one when a GPU of another type takes the place."""
    return GpuSlot(node, index, f"GPU-{uuid5(_UUID_NAMESPACE, f'{node}/{gpu_type}/{index}')}")


def gpu_model(gpu_type: str) -> GpuModel:
    """The data sheet of a type; for an unknown one, that of a modest GPU."""
    return _MODELS.get(gpu_type.upper(), _UNKNOWN_MODEL)
