"""The whole service on a real Slurm: a job's life, its end by request, and what survives the death of a dispatcher."""

import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from shlex import quote

import pytest

from tests.e2e.crash_points import IS_LONG, crash_points_of
from tests.e2e.processes import wait_until
from tests.e2e.slurm_deployment import SlurmDeployment, deployed_on
from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixtures import announce, need_slurm, slurm_cluster
from tests.slurm.layout import Options
from tests.streams import open_stream
from tests.waiting import eventually

__all__ = ["slurm_cluster"]

pytestmark = pytest.mark.anyio

SMALL = Options(nodes=1, gpus=2)
OF_THE_ENGINE = crash_points_of("executors/slurm")
OF_THE_DISPATCHER = crash_points_of("dispatcher") if IS_LONG else []
"""In the short form `test_crashes.py` has them, on one engine for all: nothing in the dispatcher depends on which."""


@pytest.fixture
async def deployment(
    slurm_cluster: SlurmCluster, fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SlurmDeployment]:
    announce(slurm_cluster, monkeypatch)
    async with deployed_on(slurm_cluster, fresh_database_url, tmp_path) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[SlurmCluster]:
    """Of two GPUs, which one job can fill."""
    need_slurm(SMALL)
    with SlurmCluster.start(SMALL) as cluster:
        yield cluster


@pytest.fixture
async def small_deployment(
    small_cluster: SlurmCluster, fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SlurmDeployment]:
    announce(small_cluster, monkeypatch)
    async with deployed_on(small_cluster, fresh_database_url, tmp_path) as deployment:
        yield deployment


async def test_a_job_waits_in_slurms_queue_and_runs_and_is_charged_what_slurm_measured(
    small_deployment: SlurmDeployment,
) -> None:
    deployment, cluster = small_deployment, small_deployment.cluster
    [somebody_elses] = cluster.run("sbatch", "--parsable", "--gres=gpu:2", "-o/dev/null", "--wrap=sleep 600").split()
    deployment.start_dispatcher()
    wish = {"name": "train", "gpu_type": "a100", "num_gpus": 2, "estimated_hours": 0.1}
    command = "echo on $CUDA_VISIBLE_DEVICES; for i in 1 2 3 4; do echo line $i; sleep 2; done"
    token = await deployment.token_of(deployment.owner)
    async with deployment.browser(token) as owner:
        submitted = await owner.post("/api/v1/jobs", json=wish | {"command": command})
        assert submitted.status_code == 201, submitted.text
        job_id = submitted.json()["id"]
        async with deployment.browser(await deployment.token_of(deployment.admin)) as admin:
            for verb in ("approve", "start"):
                decided = await admin.post(f"/api/v1/admin/jobs/{job_id}/{verb}", json={})
                assert decided.status_code == 200, decided.text

        await eventually(partial(deployment.queue_reason, job_id))
        waiting = (await owner.get(f"/api/v1/jobs/{job_id}")).json()
        assert (waiting["status"], waiting["wait_reason"]) == ("APPROVED", "IN_ENGINE_QUEUE")
        assert waiting["queue_reason"] in {"Resources", "Priority"}
        assert (waiting["executor"], waiting["started_at"], waiting["placement"]) == ("slurm", None, None)
        assert waiting["engine_job_id"] in cluster.run("squeue", "--noheader", "--format=%A").split()

        cluster.run("scancel", somebody_elses)
        await deployment.come_to("RUNNING", job_id)
        running = (await owner.get(f"/api/v1/jobs/{job_id}")).json()
        assert (running["placement"], running["queue_reason"]) == ("n1:0,1", None)
        async with open_stream(deployment.app, f"/api/v1/jobs/{job_id}/log?follow=true", token=token) as stream:
            assert (await stream.read_until(b"line 1\n")).startswith(b"on 0,1\n")
            assert (await deployment.desk.job(job_id)).status == "RUNNING"
            assert (await stream.read_to_end()).endswith(b"line 2\nline 3\nline 4\n")
        await deployment.come_to("COMPLETED", job_id)
        completed = (await owner.get(f"/api/v1/jobs/{job_id}")).json()

    assert (completed["reason"], completed["exit_code"]) == ("EXITED", 0)
    assert (completed["placement"], completed["engine_job_id"]) == ("n1:0,1", waiting["engine_job_id"])
    assert completed["charged_gpu_hours"] >= 2 * 2 / 3600
    await deployment.cost_what_slurm_measured(job_id)


async def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(small_deployment: SlurmDeployment) -> None:
    deployment = small_deployment
    deployment.start_dispatcher()
    running = await deployment.started("sleep 600", num_gpus=2)
    await deployment.come_to("RUNNING", running)
    waiting = await deployment.started("sleep 600", num_gpus=1)
    await eventually(partial(deployment.queue_reason, waiting))

    await deployment.desk.cancel(deployment.owner, waiting)
    await deployment.come_to("CANCELLED", waiting)
    assert (await deployment.desk.job(waiting)).charged_seconds == 0
    assert (await deployment.desk.job(running)).status == "RUNNING"
    await deployment.desk.cancel(deployment.admin, running)
    await deployment.come_to("CANCELLED", running)

    rows = [await deployment.desk.job(job_id) for job_id in (waiting, running)]
    assert [row.reason for row in rows] == ["CANCELLED_BY_USER", "CANCELLED_BY_ADMIN"]
    assert rows[1].charged_seconds > 0
    await deployment.cost_what_slurm_measured(waiting, running)
    assert deployment.cluster.run("squeue", "--noheader") == ""


async def test_a_job_that_slurm_refuses_ends_with_its_words(deployment: SlurmDeployment) -> None:
    deployment.start_dispatcher(SLURM_PARTITION="nowhere")
    job = await deployment.started("true")
    await deployment.come_to("FAILED", job)
    row = await deployment.desk.job(job)
    assert (row.reason, row.charged_seconds) == ("LAUNCH_FAILURE", 0)
    assert "partition" in row.error_message
    assert await deployment.desk.broken_rules() == []


async def test_a_job_outlives_the_service_that_is_one_process(deployment: SlurmDeployment) -> None:
    service = deployment.start_service()
    job = await deployment.started("sleep 8; exit 3")
    await deployment.come_to("RUNNING", job)
    service.kill()
    await deployment.let_the_lease_run_out()
    deployment.start_service()

    await deployment.come_to("FAILED", job)
    assert (await deployment.desk.job(job)).exit_code == 3
    await deployment.cost_what_slurm_measured(job)


def test_slurm_has_crash_points_on_both_sides_of_what_lasts() -> None:
    """A dispatcher may die before and after each word that changes something in Slurm."""
    assert any(point.startswith("slurm.before") for point in OF_THE_ENGINE)
    assert any(point.startswith("slurm.after") for point in OF_THE_ENGINE)


@pytest.mark.parametrize("point", [*OF_THE_ENGINE, *OF_THE_DISPATCHER])
async def test_a_dispatcher_that_dies_at_this_point_runs_nothing_twice(
    deployment: SlurmDeployment, tmp_path: Path, point: str
) -> None:
    desk, counts = deployment.desk, tmp_path / "counts"
    counts.mkdir()
    cancelled = await deployment.started("sleep 600")
    first = deployment.start_dispatcher()
    await deployment.come_to("RUNNING", cancelled)
    first.kill()
    await deployment.let_the_lease_run_out()
    finishing = [
        await deployment.approved(f"echo begun >>{quote(str(counts / str(number)))}; sleep 1", num_gpus=2)
        for number in range(2)
    ]
    await desk.cancel(deployment.owner, cancelled)

    doomed = deployment.start_dispatcher(CRASH_AT=point, DISPATCH_MODE="automatic")
    wait_until(doomed.died_by_itself, f"the dispatcher reaches {point}")
    assert doomed.exit_code == -signal.SIGKILL, doomed.output.read_text()
    await deployment.let_the_lease_run_out()
    deployment.start_dispatcher(DISPATCH_MODE="automatic")

    await deployment.come_to("COMPLETED", *finishing)
    await deployment.come_to("CANCELLED", cancelled)
    assert {path.name: path.read_text() for path in counts.iterdir()} == {"0": "begun\n", "1": "begun\n"}
    await deployment.cost_what_slurm_measured(*finishing, cancelled)
