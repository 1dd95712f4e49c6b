"""Recorded and written samples of what Slurm's commands say; `samples/README.md` tells which is which."""

from pathlib import Path
from uuid import UUID

SAMPLES = Path(__file__).parent / "samples"

EXITS_WELL, EXITS_7, SEGFAULT, IGNORES_SIGTERM, CANCELLED, WAITS, TWO_NODES, NO_LOG, RUNS, CANCELLED_EARLY = (
    UUID(f"00000000-0000-4000-8000-{number:012d}") for number in range(1, 11)
)
TIMED_OUT = UUID("00000000-0000-4000-8000-000000000012")


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")
