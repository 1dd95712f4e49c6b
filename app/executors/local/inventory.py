"""Which GPUs there are to give out: those of the driver, or stand-ins that the setting asks for."""

import re
import socket

from app.core.config import ConfigurationError
from app.executors.local.devices import Devices
from app.executors.local.nvidia import NvidiaGpus
from app.executors.local.stand_ins import CpuStandIns

STAND_INS = re.compile(r"([1-9]\d{0,2})xCPU")


def open_devices(setting: str) -> Devices:
    """What `LOCAL_GPUS` chooses.

    Raises:
        ConfigurationError: it cannot be read, or the driver is missing.
    """
    node = socket.gethostname()
    if not setting:
        return NvidiaGpus(node)
    if chosen := STAND_INS.fullmatch(setting):
        return CpuStandIns(int(chosen[1]), node)
    raise ConfigurationError(
        "LOCAL_GPUS: leave it empty for the GPUs that the driver tells of, or write a number of stand-ins, as in 2xCPU"
    )
