import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from app.core.clock import system_clock
from app.core.config import ConfigurationError
from app.executors.local import executor as local_executor
from app.executors.local.executor import DRIVER_IS_SILENT, LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.nvidia import MIG_IS_ON, NvidiaGpus
from app.executors.local.run_directory import RunDirectory
from app.executors.local.spec import LocalOptions
from tests.e2e.processes import PROJECT
from tests.executors.local.nvml import FakeDriver, FakeGpu, driver, fake_nvml
from tests.waiting import HANG_SECONDS, eventually

__all__ = ["driver", "fake_nvml"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def executor(driver: FakeDriver, tmp_path: Path) -> LocalExecutor:  # noqa: ARG001 - the driver has to be there
    return LocalExecutor(NvidiaGpus("here"), LocalOptions(tmp_path), system_clock)


async def test_the_driver_tells_which_gpus_there_are(driver: FakeDriver, executor: LocalExecutor) -> None:
    driver.gpus[1] = FakeGpu(name="NVIDIA GeForce RTX 4090")
    driver.write()

    first, second = await executor.inventory()

    assert (first.gpu_type, first.slot.node, first.slot.index, first.memory_bytes) == ("A100", "here", 0, 80 * 2**30)
    assert (second.gpu_type, second.slot.uuid) == ("RTX4090", "GPU-00000000-0000-0000-0000-000000000001")
    assert not any(gpu.contended or gpu.busy or gpu.offline_reason for gpu in (first, second))


async def test_a_gpu_on_which_somebody_else_computes_is_contended(driver: FakeDriver, executor: LocalExecutor) -> None:
    driver.set(0, pid=os.getpid())

    first, second = await executor.inventory()

    assert (first.contended, second.contended) == (True, False)


async def test_a_process_that_nobody_sees_here_is_somebody_elses(driver: FakeDriver, executor: LocalExecutor) -> None:
    driver.set(1, pid=2**22 - 1)

    assert [gpu.contended for gpu in await executor.inventory()] == [False, True]


async def test_a_run_does_not_contend_for_its_own_gpu_but_for_any_other(
    driver: FakeDriver, executor: LocalExecutor, tmp_path: Path
) -> None:
    run_id = uuid4()
    own, _ = [gpu.slot for gpu in await executor.inventory()]
    directory = RunDirectory(tmp_path / str(run_id))
    directory.make()
    directory.write_spec({"slots": [[own.node, own.index, own.uuid]]})
    environment = {"PATH": os.environ["PATH"], "GTM_RUN_ID": str(run_id)}
    process = await asyncio.create_subprocess_exec("sleep", "600", env=environment)
    try:
        for index in (0, 1):
            driver.set(index, pid=process.pid)
        assert [gpu.contended for gpu in await executor.inventory()] == [False, True]

        directory.write_verdict({"gone": False, "at": 0})
        assert [gpu.contended for gpu in await executor.inventory()] == [True, True]
    finally:
        process.kill()
        await process.wait()


async def test_a_lost_run_is_not_proved_gone_while_its_gpu_is_in_use_or_out_of_reach(
    driver: FakeDriver, executor: LocalExecutor, tmp_path: Path
) -> None:
    run_id = uuid4()
    own, _ = [gpu.slot for gpu in await executor.inventory()]
    directory = RunDirectory(tmp_path / str(run_id))
    directory.make()
    directory.write_spec({"slots": [[own.node, own.index, own.uuid]]})
    directory.write_verdict({"gone": True, "at": 0})

    for trouble in ({"pid": os.getpid()}, {"fault": 15}):
        driver.set(0, **trouble)
        assert list(await executor.proved_gone([run_id])) == []
        driver.gpus[0] = FakeGpu()

    driver.set(1, pid=os.getpid())
    assert list(await executor.proved_gone([run_id])) == [run_id]


async def test_a_gpu_that_falls_off_the_bus_is_offline_until_it_is_back(
    driver: FakeDriver, executor: LocalExecutor
) -> None:
    before = await executor.inventory()

    driver.set(1, fault=15)
    first, second = await executor.inventory()
    assert first == before[0]
    assert second.slot == before[1].slot
    assert second.offline_reason == "The driver does not reach this GPU: GPU is lost."

    driver.set(1, fault=0)
    assert await executor.inventory() == before


async def test_a_gpu_with_mig_is_not_given_out(driver: FakeDriver, executor: LocalExecutor) -> None:
    driver.set(0, mig=1)

    assert [gpu.offline_reason for gpu in await executor.inventory()] == [MIG_IS_ON, None]


async def test_a_driver_that_hangs_takes_its_gpus_out_of_reach_and_holds_up_nothing(
    driver: FakeDriver, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_executor, "DRIVER_PATIENCE_SECONDS", 0.2)
    before = await executor.inventory()
    driver.hang.touch()
    assert {gpu.offline_reason for gpu in await executor.inventory()} == {DRIVER_IS_SILENT}

    monkeypatch.setattr(local_executor, "DRIVER_PATIENCE_SECONDS", 4 * HANG_SECONDS)
    for _ in range(3):
        async with asyncio.timeout(HANG_SECONDS):  # whoever asks now does not wait for it
            assert {gpu.offline_reason for gpu in await executor.inventory()} == {DRIVER_IS_SILENT}
            assert await executor.poll([uuid4()]) == {}

    driver.hang.unlink()

    async def is_back() -> bool:
        return await executor.inventory() == before

    await eventually(is_back)


ASKS_ONCE_AND_ENDS = """
import asyncio, sys
from pathlib import Path
from app.core.clock import system_clock
from app.executors.local import executor
from app.executors.local.nvidia import NvidiaGpus
from app.executors.local.spec import LocalOptions

executor.DRIVER_PATIENCE_SECONDS = 0.2
local = executor.LocalExecutor(NvidiaGpus("here"), LocalOptions(Path(sys.argv[1])), system_clock)
Path(sys.argv[2]).touch()
print([gpu.offline_reason for gpu in asyncio.run(local.inventory())])
"""


def test_a_driver_that_hangs_does_not_keep_the_service_from_ending(
    driver: FakeDriver, fake_nvml: Path, tmp_path: Path
) -> None:
    process = subprocess.run(
        [sys.executable, "-c", ASKS_ONCE_AND_ENDS, str(tmp_path), str(driver.hang)],
        cwd=PROJECT,
        env=os.environ | {"LD_LIBRARY_PATH": str(fake_nvml.parent)},
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=True,
    )

    assert DRIVER_IS_SILENT in process.stdout


def test_what_the_gpus_of_a_run_do_is_measured(driver: FakeDriver) -> None:
    driver.gpus = [
        FakeGpu(used_mib=1024, utilisation=87, celsius=61, milliwatts=250_500),
        FakeGpu(used_mib=5, utilisation=3, celsius=0, milliwatts=0),
        FakeGpu(utilisation=-1),
    ]
    driver.write()
    gpus = NvidiaGpus("here")
    first, second, silent = [device.info.slot for device in gpus.list()]
    run_id = uuid4()

    measured = gpus.measure({run_id: (first, second, silent)})[run_id]

    assert set(measured) == {first, second}
    assert (measured[first].utilisation, measured[first].memory_used_bytes) == (0.87, 2**30)
    assert (measured[first].power_watts, measured[first].temperature_celsius) == (250.5, 61)
    assert (measured[second].power_watts, measured[second].temperature_celsius) == (None, None)


@pytest.mark.usefixtures("driver")
def test_a_run_sees_its_own_gpus_alone() -> None:
    gpus = NvidiaGpus("here")

    assert gpus.visible_as([device.info.slot for device in gpus.list()][1:]) == (
        "GPU-00000000-0000-0000-0000-000000000001"
    )


@pytest.mark.parametrize(("environment", "gpus"), [("9", 2), ("0", 0)])
def test_a_driver_that_is_of_no_use_is_refused_with_advice(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch, environment: str, gpus: int
) -> None:
    del driver.gpus[gpus:]
    driver.write()
    monkeypatch.setenv("FAKE_NVML_INIT", environment)

    with pytest.raises(ConfigurationError, match=r"^LOCAL_GPUS: NVIDIA's driver .*set LOCAL_GPUS=2xCPU"):
        open_devices("")


def test_without_a_driver_the_way_out_is_told() -> None:
    """In a process that has loaded no stand-in."""
    program = (
        "from app.core.config import ConfigurationError\n"
        "from app.executors.local.inventory import open_devices\n"
        "try: open_devices('')\n"
        "except ConfigurationError as problem: print(problem)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True, check=True)
    if not told.stdout:
        pytest.skip("this machine has a driver and GPUs")
    assert told.stdout.startswith("LOCAL_GPUS: NVIDIA's driver does not answer (")
    assert "set LOCAL_GPUS=2xCPU" in told.stdout


def test_stand_ins_share_the_memory_of_the_machine() -> None:
    devices = [device.info for device in open_devices("2xCPU").list()]

    assert [(info.gpu_type, info.slot.index) for info in devices] == [("CPU", 0), ("CPU", 1)]
    assert len({info.slot.uuid for info in devices}) == 2
    assert sum(info.memory_bytes for info in devices) <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_stand_ins_tell_how_much_cpu_their_run_uses() -> None:
    devices = open_devices("1xCPU")
    busy, idle = uuid4(), uuid4()
    slots = [device.info.slot for device in devices.list()]
    spin = [sys.executable, "-c", "while True: pass"]
    environment = {"PATH": os.environ["PATH"]}
    with (
        subprocess.Popen(spin, env={**environment, "GTM_RUN_ID": str(busy)}) as spinning,
        subprocess.Popen(["sleep", "600"], env={**environment, "GTM_RUN_ID": str(idle)}) as sleeping,
    ):
        try:
            assert devices.measure({busy: slots, idle: slots}) == {}
            used = 0.0
            while used == 0.0:
                measured = devices.measure({busy: slots, idle: slots})
                used = measured[busy][slots[0]].utilisation
        finally:
            spinning.kill()
            sleeping.kill()
    assert 0 < used <= 1
    assert measured[idle][slots[0]].utilisation == 0
    assert measured[busy][slots[0]].memory_used_bytes > 0


@pytest.mark.parametrize("setting", ["2", "0xCPU", "2xGPU", "cpu", "1000xCPU", "2xCPU,"])
def test_a_setting_that_cannot_be_read_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^LOCAL_GPUS: leave it empty"):
        open_devices(setting)
