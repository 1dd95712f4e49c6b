"""GPUs as people ask for them: `2`, `A100:2`, or `A100` for one of them."""

from dataclasses import dataclass

from gtm.digits import fold_digits
from gtm.errors import UsageError

MOST = 64
LONGEST_TYPE = 64


@dataclass(frozen=True)
class GpuWish:
    """How many, and of which type; `gpu_type` is None where any will do, `num_gpus` where the number was left out."""

    gpu_type: str | None
    num_gpus: int | None


def parse_gpus(text: str) -> GpuWish:
    """`[TYPE:]N`, or a TYPE alone.

    Raises:
        UsageError: no number from 1 to 64, or no possible type.
    """
    gpu_type, colon, count = text.strip().rpartition(":")
    if not colon and not fold_digits(count).lstrip("+-").isdigit():
        return GpuWish(_type(count, written=text), None)
    return GpuWish(_type(gpu_type, written=text) if colon else None, _count(count, written=text))


def _type(name: str, *, written: str) -> str:
    name = name.strip()
    if not name or len(name) > LONGEST_TYPE or not name.isprintable():
        raise UsageError(
            f"{written!r} names no GPU type. Write --gpus A100:2 for two A100; `gtm gpus` lists the types."
        )
    return name


def _count(text: str, *, written: str) -> int:
    folded = fold_digits(text)
    if not (folded.isdecimal() and len(folded) <= 3 and 1 <= int(folded) <= MOST):
        raise UsageError(f"{written!r} asks for no possible number of GPUs: from 1 to {MOST} are, as in --gpus A100:2.")
    return int(folded)
