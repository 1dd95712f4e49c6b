"""The whole service on this machine's own processes: a job's life, and what survives the death of whom."""

import os
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from app.core.config import Settings
from app.domain.execution import GpuSlot
from app.domain.quota import charge
from app.executors.local.job_uids import read_uids
from app.executors.local.run_directory import RunDirectory
from app.executors.local.samples import read as read_samples
from tests.e2e.crash_points import IS_LONG, crash_points_of
from tests.e2e.local_deployment import LocalDeployment, deployed_locally, pids_of
from tests.e2e.processes import wait_until
from tests.executors.local.nvml import FakeDriver, driver, fake_nvml
from tests.factories import Person
from tests.waiting import HANG_SECONDS, eventually

__all__ = ["driver", "fake_nvml"]

pytestmark = pytest.mark.anyio

UIDS = read_uids(Settings(_env_file=None).local_job_uids)
CRASH_POINTS = crash_points_of("executors/local")
OF_THE_ENGINE = [point for point in CRASH_POINTS if point.startswith("local.")]
OF_THE_WRAPPER = [point for point in CRASH_POINTS if point.startswith("wrapper.")]
OF_THE_DISPATCHER = crash_points_of("dispatcher") if IS_LONG else []
"""In the short form `test_crashes.py` has them, on one engine for all: nothing in the dispatcher depends on which."""
FINAL = {"COMPLETED", "FAILED", "CANCELLED"}


@pytest.fixture
async def deployment(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[LocalDeployment]:
    async with deployed_locally(fresh_database_url, tmp_path) as deployment:
        yield deployment


async def test_a_job_lives_through_the_death_of_the_service_and_is_charged_what_it_ran(
    deployment: LocalDeployment,
) -> None:
    service, address = deployment.start_service()
    door = deployment.counts / "door"
    command = deployment.counting(
        f"echo begun as $(id -u) on $GTM_GPUS; until [ -e {door} ]; do sleep 0.1; done; echo the door is open; exit 0"
    )
    wish = {"name": "a real one", "gpu_type": "CPU", "num_gpus": 2, "estimated_hours": 0.5, "command": command}
    async with httpx2.AsyncClient(base_url=f"{address}/api/v1", timeout=HANG_SECONDS) as client:
        owner, admin = await headers_of(deployment, deployment.owner), await headers_of(deployment, deployment.admin)
        submitted = await client.post("/jobs", json=wish, headers=owner)
        assert submitted.status_code == 201, submitted.text
        job_id = submitted.json()["id"]
        for verb in ("approve", "start"):
            decided = await client.post(f"/admin/jobs/{job_id}/{verb}", json={}, headers=admin)
            assert decided.status_code == 200, decided.text
        async with client.stream("GET", f"/jobs/{job_id}/log", params={"follow": True}, headers=owner) as stream:
            pieces = stream.aiter_bytes()
            first = b""
            while not first.endswith(b"on 2\n"):
                first += await anext(pieces)
        as_whom, has_own_user = int(first.split()[2]), os.geteuid() == 0
        assert as_whom in UIDS if has_own_user else as_whom == os.geteuid()
        assert first == f"begun as {as_whom} on 2\n".encode()
        running = (await client.get(f"/jobs/{job_id}", headers=owner)).json()
        assert (running["status"], running["executor"]) == ("RUNNING", "local")

    service.kill()
    await deployment.let_the_lease_run_out()
    before = pids_of(run_id := (await deployment.desk.job(job_id)).run_id)
    _, address = deployment.start_service()
    assert set(before) & set(pids_of(run_id))
    async with httpx2.AsyncClient(base_url=f"{address}/api/v1", timeout=HANG_SECONDS, headers=owner) as client:
        assert (await client.get(f"/jobs/{job_id}")).json()["status"] == "RUNNING"
        params = {"follow": True, "offset": len(first)}
        async with client.stream("GET", f"/jobs/{job_id}/log", params=params) as stream:
            door.touch()
            rest = b"".join([piece async for piece in stream.aiter_bytes()])
        assert rest == b"the door is open\n"
        ended = (await client.get(f"/jobs/{job_id}")).json()
    assert (ended["status"], ended["reason"], ended["exit_code"]) == ("COMPLETED", "EXITED", 0)
    await deployment.books_are_right(job_id)


async def test_a_cancelled_job_and_all_its_processes_end_though_they_ignore_sigterm(
    deployment: LocalDeployment,
) -> None:
    dispatcher = deployment.start_dispatcher()
    stubborn = await deployment.approved("trap '' TERM; setsid sleep 600 & sleep 600")
    obedient = await deployment.approved("sleep 600")
    await deployment.have_begun(stubborn, obedient)
    for job_id in (stubborn, obedient):
        await deployment.desk.cancel(deployment.owner, job_id)
    await deployment.come_to("CANCELLED", obedient)
    dispatcher.kill()
    await deployment.let_the_lease_run_out()
    deployment.start_dispatcher()
    await deployment.come_to("CANCELLED", stubborn)
    rows = [await deployment.desk.job(job_id) for job_id in (stubborn, obedient)]
    assert [(row.reason, row.exit_signal) for row in rows] == [("CANCELLED_BY_USER", 9), ("CANCELLED_BY_USER", 15)]
    await deployment.books_are_right(stubborn, obedient)


async def test_a_job_whose_wrapper_is_killed_is_lost_and_nothing_of_it_lives_on(deployment: LocalDeployment) -> None:
    deployment.start_dispatcher()
    job_id = await deployment.approved("setsid sleep 600 & sleep 600")
    await deployment.have_begun(job_id)
    await deployment.come_to("RUNNING", job_id)
    run_id = (await deployment.desk.job(job_id)).run_id
    wrapper = RunDirectory(deployment.runs / str(run_id)).started()
    assert wrapper is not None
    os.kill(wrapper.pid, signal.SIGKILL)
    await deployment.come_to("FAILED", job_id)
    row = await deployment.desk.job(job_id)
    directory = RunDirectory(deployment.runs / str(run_id))
    verdict, started = directory.verdict(), directory.started()
    assert verdict is not None
    assert started is not None
    held = timedelta(seconds=verdict["at"] - started.at.timestamp())
    assert (row.reason, row.charged_seconds) == ("LOST", charge(row.reserved_seconds, row.num_gpus, held))

    async def its_gpus_are_back() -> bool:
        [row] = await deployment.desk.sql("SELECT count(*) FROM gpus WHERE is_quarantined")
        return bool(row[0] == 0)

    await eventually(its_gpus_are_back)
    await deployment.books_are_right(job_id)


async def test_jobs_on_gpus_of_the_driver_get_one_each_or_wait_for_one(
    driver: FakeDriver, fake_nvml: Path, fresh_database_url: str, tmp_path: Path
) -> None:
    """The driver is a stand-in that tells of two GPUs, one of them busy with somebody else's work at first."""
    driver.set(0, utilisation=93, milliwatts=300_000, used_mib=4096)
    driver.set(1, pid=1)
    settings = {
        "LOCAL_GPUS": "",
        "LD_LIBRARY_PATH": str(fake_nvml.parent),
        "FAKE_NVML_STATE": str(driver.state),
        "FAKE_NVML_HANG": str(driver.hang),
    }
    async with deployed_locally(fresh_database_url, tmp_path, **settings) as deployment:
        door = deployment.counts / "door"
        command = f"echo $CUDA_VISIBLE_DEVICES; until [ -e {door} ]; do sleep 0.1; done"
        deployment.start_dispatcher()
        first, second = [await deployment.approved(command, gpu_type="A100") for _ in range(2)]
        await deployment.have_begun(first)
        assert (await deployment.desk.job(second)).status == "APPROVED"

        driver.set(1, pid=0)
        await deployment.come_to("RUNNING", second)
        await deployment.have_begun(second)
        rows = [await deployment.desk.job(job_id) for job_id in (first, second)]
        samples = RunDirectory(deployment.runs / str(rows[0].run_id)).samples
        wait_until(samples.exists, "the GPU of the first job was measured")
        door.touch()
        await deployment.come_to("COMPLETED", first, second)

        told = [(deployment.runs / str(row.run_id) / f"log.{0:020}").read_text().strip() for row in rows]
        assert told == [f"GPU-00000000-0000-0000-0000-{index:012}" for index in (0, 1)]
        [sample] = read_samples(samples, [GpuSlot("here", 0, told[0])], limit=1)
        assert (sample.power_watts, sample.memory_used_bytes) == (300, 2**32)
        assert round(sample.utilisation, 2) == 0.93
        await deployment.books_are_right(first, second)


def test_there_is_a_crash_point_on_both_sides_of_whatever_lasts() -> None:
    assert {"local.before-spawn", "local.after-spawn"} <= set(OF_THE_ENGINE)
    assert {"wrapper.before-started", "wrapper.after-started", "wrapper.after-rename"} <= set(OF_THE_WRAPPER)


@pytest.mark.parametrize("point", [*OF_THE_ENGINE, *OF_THE_DISPATCHER])
async def test_a_dispatcher_that_dies_at_this_point_runs_nothing_twice(deployment: LocalDeployment, point: str) -> None:
    finishing = [await deployment.approved("sleep 0.2", num_gpus=2) for _ in range(2)]
    cancelled = await deployment.approved("sleep 600")
    await deployment.desk.start(deployment.admin, cancelled)
    await deployment.desk.cancel(deployment.owner, cancelled)

    doomed = deployment.start_dispatcher(CRASH_AT=point)
    wait_until(doomed.died_by_itself, f"the dispatcher reaches {point}")
    assert doomed.exit_code == -signal.SIGKILL, doomed.output.read_text()
    await deployment.let_the_lease_run_out()
    deployment.start_dispatcher()

    await deployment.come_to("COMPLETED", *finishing)
    await deployment.come_to("CANCELLED", cancelled)
    await deployment.books_are_right(*finishing, cancelled)


@pytest.mark.parametrize("point", OF_THE_WRAPPER)
async def test_a_wrapper_that_dies_at_this_point_runs_nothing_twice_and_leaves_nothing(
    deployment: LocalDeployment, point: str
) -> None:
    jobs = [await deployment.approved("sleep 0.2", num_gpus=2) for _ in range(2)]
    doomed = deployment.start_dispatcher(CRASH_AT=point)
    if point == "wrapper.before-started":

        async def is_postponed() -> bool:
            return any([(await deployment.desk.job(job_id)).queue_reason for job_id in jobs])

        await eventually(is_postponed)
        doomed.kill()
        await deployment.let_the_lease_run_out()
        deployment.start_dispatcher()

    await deployment.come_to(FINAL, *jobs)

    rows = [await deployment.desk.job(job_id) for job_id in jobs]
    expected = "EXITED" if point in {"wrapper.before-started", "wrapper.after-rename"} else "LOST"
    assert {row.reason for row in rows} == {expected}
    await deployment.books_are_right(*jobs)


async def headers_of(deployment: LocalDeployment, person: Person) -> dict[str, str]:
    return {"Authorization": f"Bearer {await deployment.token_of(person)}"}
