"""A machine with GPUs of NVIDIA's, as far as the driver's library tells: built from `tests/fakenvml.c`."""

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "fakenvml.c"
LIBRARY = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class FakeGpu:
    name: str = "NVIDIA A100-SXM4-80GB"
    fault: int = 0
    mig: int = -1
    used_mib: int = 0
    utilisation: int = 0
    celsius: int = 35
    milliwatts: int = 60_000
    pid: int = 0


@dataclass
class FakeDriver:
    """What the stand-in tells follows from files, which a test may change at any time."""

    directory: Path
    gpus: list[FakeGpu] = field(default_factory=lambda: [FakeGpu(), FakeGpu()])

    @property
    def state(self) -> Path:
        return self.directory / "gpus"

    @property
    def hang(self) -> Path:
        return self.directory / "hang"

    def set(self, index: int, **facts: object) -> None:
        self.gpus[index] = replace(self.gpus[index], **facts)  # type: ignore[arg-type]
        self.write()

    def write(self) -> None:
        self.state.write_text(
            "".join(
                f"{index} {gpu.fault} {gpu.mig} {gpu.used_mib} {gpu.utilisation} {gpu.celsius} {gpu.milliwatts} "
                f"{gpu.pid} {gpu.name}\n"
                for index, gpu in enumerate(self.gpus)
            ),
            encoding="ascii",
        )


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, for this process and for those that have its directory in LD_LIBRARY_PATH."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler to build the stand-in for NVIDIA's library with (Debian: gcc)")
    library = tmp_path_factory.mktemp("nvml") / LIBRARY
    command = [compiler, "-Wall", "-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


@pytest.fixture
def driver(fake_nvml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDriver]:
    """A library that is loaded already is found by its name, wherever it lies."""
    ctypes.CDLL(str(fake_nvml))
    driver = FakeDriver(tmp_path)
    driver.write()
    monkeypatch.setenv("FAKE_NVML_STATE", str(driver.state))
    monkeypatch.setenv("FAKE_NVML_HANG", str(driver.hang))
    yield driver
    driver.hang.unlink(missing_ok=True)
