"""Which GPUs there are to try: `python -m tests.gpu.present` lists them; without any it says so and exits with 77."""

import sys

from app.core.config import ConfigurationError
from app.domain.execution import GpuInfo
from app.executors.local.nvidia import NvidiaGpus

NO_GPU = 77


def free_gpus() -> list[GpuInfo]:
    """Those that could be given to a job now.

    Raises:
        ConfigurationError: there is no driver, or it knows no GPU.
    """
    devices = NvidiaGpus("here").list()
    return [device.info for device in devices if not device.compute_pids and device.info.offline_reason is None]


def main() -> int:
    try:
        gpus = free_gpus()
    except ConfigurationError as problem:
        sys.stdout.write(f"There is no GPU on this machine, so nothing was tried. {problem}\n")
        return NO_GPU
    for gpu in gpus:
        sys.stdout.write(f"{gpu.slot.index}: {gpu.gpu_type}, {gpu.memory_bytes / 2**30:.0f} GiB, {gpu.slot.uuid}\n")
    if not gpus:
        sys.stdout.write("All GPUs of this machine are in use or out of reach, so nothing was tried.\n")
        return NO_GPU
    return 0


if __name__ == "__main__":
    sys.exit(main())
