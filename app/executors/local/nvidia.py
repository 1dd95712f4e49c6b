"""The GPUs of this machine, as NVIDIA's driver tells of them through NVML."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from app.core.config import ConfigurationError
from app.domain.execution import GpuInfo, GpuSlot
from app.executors.local.devices import Device, Reading
from app.executors.local.gpu_names import short_gpu_type

MIG_IS_ON = "MIG is on; this version gives out whole GPUs."
SHARED_DEVICE_FILES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")


class NvidiaGpus:
    """Asks the driver at every call; what a GPU is called is remembered for the day on which it is lost.

    Raises:
        ConfigurationError: there is no driver, or it does not work.
    """

    def __init__(self, node: str) -> None:
        import pynvml  # noqa: PLC0415 - only who has GPUs needs it

        self._nvml: Any = pynvml
        self._node = node
        self._known: dict[int, GpuInfo] = {}
        self._handles: dict[str, Any] = {}
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise ConfigurationError(
                f"LOCAL_GPUS: NVIDIA's driver does not answer ({error}): install it until `nvidia-smi` lists the GPUs, "
                "or set LOCAL_GPUS=2xCPU to run commands on this machine without GPUs"
            ) from None
        if not self.list():
            raise ConfigurationError(
                "LOCAL_GPUS: NVIDIA's driver knows no GPU: see that `nvidia-smi` lists them, "
                "or set LOCAL_GPUS=2xCPU to run commands on this machine without GPUs"
            )

    def list(self) -> Sequence[Device]:
        nvml = self._nvml
        try:
            indexes: Sequence[int] = range(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            return [self._out_of_reach(index, error) for index in self._known]
        devices = []
        for index in sorted({*indexes, *self._known}):
            try:
                devices.append(self._look_at(index))
            except nvml.NVMLError as error:
                if index in self._known:
                    devices.append(self._out_of_reach(index, error))
        return devices

    def _look_at(self, index: int) -> Device:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid = nvml.nvmlDeviceGetUUID(handle)
        info = GpuInfo(
            slot=GpuSlot(self._node, index, uuid),
            gpu_type=short_gpu_type(nvml.nvmlDeviceGetName(handle)),
            memory_bytes=nvml.nvmlDeviceGetMemoryInfo(handle).total,
        )
        self._known[index] = info
        self._handles[uuid] = handle
        if self._has_mig(handle):
            return Device(replace(info, offline_reason=MIG_IS_ON))
        pids = self._told(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
        return Device(info, frozenset(process.pid for process in pids))

    def _has_mig(self, handle: Any) -> bool:
        modes = self._told(lambda: self._nvml.nvmlDeviceGetMigMode(handle))
        return modes is not None and bool(modes[0])

    def _out_of_reach(self, index: int, error: Exception) -> Device:
        return Device(replace(self._known[index], offline_reason=f"The driver does not reach this GPU: {error}."))

    def measure(self, runs: Mapping[UUID, Collection[GpuSlot]]) -> Mapping[UUID, Mapping[GpuSlot, Reading]]:
        measured = {}
        for run_id, slots in runs.items():
            readings = {slot: self._read(slot) for slot in slots}
            measured[run_id] = {slot: reading for slot, reading in readings.items() if reading is not None}
        return measured

    def _read(self, slot: GpuSlot) -> Reading | None:
        nvml, handle = self._nvml, self._handles.get(slot.uuid)
        if handle is None:
            return None
        try:
            rates = nvml.nvmlDeviceGetUtilizationRates(handle)
            used = nvml.nvmlDeviceGetMemoryInfo(handle).used
            milliwatts = self._told(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
            celsius = self._told(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        except nvml.NVMLError:
            return None
        watts = None if milliwatts is None else milliwatts / 1000
        return Reading(rates.gpu / 100, used, watts, None if celsius is None else float(celsius))

    def _told(self, ask: Callable[[], Any]) -> Any:
        """The answer; None where this GPU does not know such a thing."""
        try:
            return ask()
        except (self._nvml.NVMLError_NotSupported, self._nvml.NVMLError_FunctionNotFound):
            return None

    def files_of(self, slots: Collection[GpuSlot]) -> Sequence[str]:
        own = [f"/dev/nvidia{minor}" for slot in slots if (minor := self._minor_of(slot)) is not None]
        return [path for path in (*own, *SHARED_DEVICE_FILES) if Path(path).exists()]

    def _minor_of(self, slot: GpuSlot) -> int | None:
        handle = self._handles.get(slot.uuid)
        if handle is None:
            return None
        try:
            return int(self._nvml.nvmlDeviceGetMinorNumber(handle))
        except self._nvml.NVMLError:
            return None

    def visible_as(self, slots: Collection[GpuSlot]) -> str:
        return ",".join(slot.uuid for slot in slots)
