"""The local engine on real GPUs; left out where there are none. `tests/gpu/run` runs this and nothing else."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest

from app.core.config import ConfigurationError
from app.domain.execution import GpuInfo
from app.executors.local import samples
from app.executors.local.run_directory import RunDirectory
from app.executors.local.spec import slots_in
from tests.e2e.local_deployment import LocalDeployment, deployed_locally
from tests.gpu import burn
from tests.gpu.present import free_gpus
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

BURN = Path(burn.__file__).read_text(encoding="utf-8")
PYTHON = shutil.which("python3", path=os.defpath) or sys.executable
MEBIBYTES = 2048
SLACK_MEBIBYTES = 64
SLACK_UTILISATION = 0.25


@pytest.fixture(scope="module")
def gpus() -> list[GpuInfo]:
    try:
        found = free_gpus()
    except ConfigurationError as problem:
        pytest.skip(f"there is no GPU on this machine: {problem}")
    if not found:
        pytest.skip("all GPUs of this machine are in use or out of reach")
    return found


@pytest.fixture
async def deployment(
    gpus: list[GpuInfo],  # noqa: ARG001 - without them there is nothing to deploy on
    fresh_database_url: str,
    tmp_path: Path,
) -> AsyncIterator[LocalDeployment]:
    async with deployed_locally(fresh_database_url, tmp_path, LOCAL_GPUS="") as deployment:
        deployment.start_dispatcher()
        yield deployment


async def test_two_jobs_share_the_machine_on_different_gpus_or_one_after_the_other(
    deployment: LocalDeployment, gpus: list[GpuInfo]
) -> None:
    """And each sees its own GPU and no other."""
    gpu_type = gpus[0].gpu_type
    jobs = [await burning(deployment, gpu_type, seconds=3) for _ in range(2)]
    await deployment.come_to("COMPLETED", *jobs)

    rows = [await deployment.desk.job(job_id) for job_id in jobs]
    held = [await uuids_of(deployment, row.run_id) for row in rows]
    assert [seen_by(deployment, row.run_id) for row in rows] == held
    assert all(len(uuids) == 1 for uuids in held)
    first, second = sorted(rows, key=lambda row: row.started_at)
    assert held[0] != held[1] or first.finished_at <= second.started_at
    await deployment.books_are_right(*jobs)


async def test_after_sigkill_the_memory_of_a_gpu_is_back_to_what_it_was(
    deployment: LocalDeployment, gpus: list[GpuInfo]
) -> None:
    before = {gpu.slot.uuid: smi(gpu.slot.uuid)[0] for gpu in gpus}
    job_id = await burning(deployment, gpus[0].gpu_type, seconds=600)
    await computes(deployment, job_id)
    run_id = (await deployment.desk.job(job_id)).run_id
    [uuid] = await uuids_of(deployment, run_id)
    assert smi(uuid)[0] >= before[uuid] + MEBIBYTES

    wrapper = RunDirectory(deployment.runs / str(run_id)).started()
    assert wrapper is not None
    os.kill(wrapper.pid, signal.SIGKILL)

    async def memory_is_back() -> bool:
        return smi(uuid)[0] <= before[uuid] + SLACK_MEBIBYTES

    await eventually(memory_is_back)
    await deployment.come_to("FAILED", job_id)
    assert (await deployment.desk.job(job_id)).reason == "LOST"


async def test_samples_agree_with_nvidia_smi(deployment: LocalDeployment, gpus: list[GpuInfo]) -> None:
    job_id = await burning(deployment, gpus[0].gpu_type, seconds=16)
    await computes(deployment, job_id)
    run_id = (await deployment.desk.job(job_id)).run_id
    [uuid] = await uuids_of(deployment, run_id)
    await asyncio.sleep(8)  # long enough for a sample, and for the driver's average
    memory, utilisation = smi(uuid)
    await deployment.come_to("COMPLETED", job_id)

    directory = RunDirectory(deployment.runs / str(run_id))
    taken = samples.read(directory.samples, slots_in(directory.spec() or {}), limit=100)
    assert min(abs(sample.utilisation - utilisation) for sample in taken) <= SLACK_UTILISATION, taken
    assert min(abs(sample.memory_used_bytes / 2**20 - memory) for sample in taken) <= SLACK_MEBIBYTES, taken
    assert max(sample.utilisation for sample in taken) > 0.5
    assert all(sample.power_watts and sample.temperature_celsius for sample in taken)


async def burning(deployment: LocalDeployment, gpu_type: str, seconds: float) -> int:
    """A job that keeps one GPU busy. Its program comes with the command, for the job's user sees no file of ours."""
    program = f"{PYTHON} - {seconds} {MEBIBYTES} <<'END'\n{BURN}\nEND"
    return await deployment.approved(program, gpu_type=gpu_type, num_gpus=1)


async def computes(deployment: LocalDeployment, job_id: int) -> None:
    async def is_computing() -> bool:
        row = await deployment.desk.job(job_id)
        return row.run_id is not None and "computes\n" in log_of(deployment, row.run_id)

    await eventually(is_computing)


async def uuids_of(deployment: LocalDeployment, run_id: UUID) -> list[str]:
    rows = await deployment.desk.sql(
        "SELECT g.uuid FROM gpu_allocations a JOIN gpus g ON g.id = a.gpu_id WHERE a.run_id = :run_id", run_id=run_id
    )
    return sorted(row.uuid for row in rows)


def seen_by(deployment: LocalDeployment, run_id: UUID) -> list[str]:
    return sorted(re.findall(r"^sees (GPU-\S+)$", log_of(deployment, run_id), re.MULTILINE))


def log_of(deployment: LocalDeployment, run_id: UUID) -> str:
    parts = sorted((deployment.runs / str(run_id)).glob("log.*"))
    return "".join(part.read_text(encoding="utf-8") for part in parts)


def smi(uuid: str) -> tuple[float, float]:
    """Memory in MiB and utilisation (0-1) of a GPU, as `nvidia-smi` tells them now."""
    query = ["--query-gpu=memory.used,utilization.gpu", "--format=csv,noheader,nounits"]
    told = subprocess.run(["nvidia-smi", f"--id={uuid}", *query], capture_output=True, text=True, check=True)
    memory, utilisation = told.stdout.split(",")
    return float(memory), float(utilisation) / 100
