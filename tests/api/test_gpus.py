"""The fleet over HTTP."""

from typing import Any

import pytest

from app.api.state import AppState
from tests.factories import Person, approve_job, make_fleet, make_job, start_job

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def _fleet(state: AppState) -> None:
    await make_fleet(state, "node1=A100x2,node2=T4x1")


async def test_a_stranger_and_a_user_do_not_see_the_fleet(client: Any, as_user: Any) -> None:
    assert (await client.get("/api/v1/gpu-types")).status_code == 401
    assert (await as_user.get("/api/v1/admin/gpus")).status_code == 403


async def test_types_tell_how_many_exist_and_how_many_are_free(
    state: AppState, as_user: Any, user: Person, admin: Person
) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    types = {row["name"]: (row["total"], row["free"]) for row in (await as_user.get("/api/v1/gpu-types")).json()}
    assert types == {"A100": (2, 1), "T4": (1, 1)}


async def test_a_drained_gpu_takes_no_job_until_it_is_resumed(as_admin: Any, as_user: Any) -> None:
    gpu = (await as_admin.get("/api/v1/admin/gpus")).json()[0]
    drained = (await as_admin.post(f"/api/v1/admin/gpus/{gpu['id']}/drain", json={"reason": "Fan"})).json()
    assert (drained["state"], drained["drain_reason"]) == ("DRAINED", "Fan")
    free = {row["name"]: row["free"] for row in (await as_user.get("/api/v1/gpu-types")).json()}
    assert free == {"A100": 1, "T4": 1}
    resumed = (await as_admin.post(f"/api/v1/admin/gpus/{gpu['id']}/resume")).json()
    assert (resumed["state"], resumed["drain_reason"]) == ("FREE", None)


async def test_the_job_on_a_drained_gpu_runs_on(state: AppState, as_admin: Any, user: Person, admin: Person) -> None:
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    busy = next(gpu for gpu in (await as_admin.get("/api/v1/admin/gpus")).json() if gpu["state"] == "BUSY")
    assert busy["job"]["id"] == job.id
    draining = (await as_admin.post(f"/api/v1/admin/gpus/{busy['id']}/drain", json={"reason": "Fan"})).json()
    assert (draining["state"], draining["job"]["id"]) == ("DRAINING", job.id)


async def test_draining_needs_a_reason_and_a_gpu(as_admin: Any) -> None:
    gpu = (await as_admin.get("/api/v1/admin/gpus")).json()[0]
    assert (await as_admin.post(f"/api/v1/admin/gpus/{gpu['id']}/drain", json={})).status_code == 422
    assert (await as_admin.post("/api/v1/admin/gpus/999999/drain", json={"reason": "Fan"})).status_code == 404
    assert (await as_admin.post("/api/v1/admin/gpus/999999/resume")).status_code == 404


async def test_a_gpu_that_the_engine_no_longer_offers_is_retired(state: AppState, as_admin: Any) -> None:
    await make_fleet(state, "node1=A100x1")
    places = [(gpu["node"], gpu["index"]) for gpu in (await as_admin.get("/api/v1/admin/gpus")).json()]
    assert places == [("node1", 0)]
