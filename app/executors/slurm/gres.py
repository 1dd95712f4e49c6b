"""Slurm's generic resources: `gpu:a100:4(S:0-1)`, `gpu:a100:2(IDX:0,2)`, `gpu:8`, `gpu:a100:1,gpu:v100:2,nic:1`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

UNTYPED = "gpu"
"""What GPUs are called that Slurm tells no type of."""
_ITEM_BORDER = re.compile(r",(?![^(]*\))")
_GPU = re.compile(r"^(?:gres[:/])?gpu(?::([^:()]+))?:(\d+)(?:\(([^)]*)\))?$")
_IDX = re.compile(r"IDX:([\d,-]+)")


@dataclass(frozen=True, slots=True)
class Gpus:
    """Some GPUs of one type on one node; `indexes` is empty where Slurm does not tell which."""

    gpu_type: str
    count: int
    indexes: frozenset[int]


def parse_gpus(gres: str) -> list[Gpus]:
    """The GPUs in a list of resources, in its order; whatever else stands there is passed over."""
    return list(_gpus(gres))


def _gpus(gres: str) -> Iterator[Gpus]:
    for item in _ITEM_BORDER.split(gres):
        found = _GPU.match(item.strip())
        if found:
            yield Gpus(found[1] or UNTYPED, int(found[2]), frozenset(_indexes(found[3] or "")))


def _indexes(details: str) -> Iterator[int]:
    found = _IDX.search(details)
    for text in found[1].split(",") if found else ():
        first, _, last = text.partition("-")
        if first.isdecimal():
            yield from range(int(first), int(last or first) + 1)


def parse_indexes(gres: str) -> set[int]:
    """The indexes of all GPUs in a list of resources."""
    return {index for gpus in parse_gpus(gres) for index in gpus.indexes}
