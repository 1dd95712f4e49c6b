"""The database is stopped under a running service, and started again. Runs know nothing of it, and go on."""

import asyncio
import os
import signal
import time

import httpx2
import pytest

from app.db.embedded import EmbeddedPostgres
from tests.e2e.deployment import Deployment, postmaster_of
from tests.waiting import HANG_SECONDS, eventually

pytestmark = pytest.mark.anyio

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
AWAY_SECONDS = [1, 30] if IS_LONG else [1, 5]
JOB = {"name": "later", "gpu_type": "A100", "estimated_hours": 0.01, "command": "sleep 1"}


@pytest.mark.parametrize("seconds", AWAY_SECONDS)
async def test_requests_are_put_off_and_runs_are_settled_once_when_it_is_back(
    own_server: EmbeddedPostgres, deployment_on_own_server: Deployment, seconds: float
) -> None:
    deployment = deployment_on_own_server
    ending_meanwhile = await deployment.approve(4, seconds=seconds, num_gpus=2)
    going_on = await deployment.approve(4, seconds=seconds + 3)
    deployment.start_dispatcher()
    api, address = deployment.start_api()
    headers = {"Authorization": f"Bearer {await deployment.token()}"}
    async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=HANG_SECONDS) as client:
        await eventually(lambda: all_run(deployment, ending_meanwhile + going_on))
        os.kill(postmaster_of(own_server), signal.SIGINT)  # as `pg_ctl stop` does
        came_back_at = time.monotonic() + seconds
        await eventually(lambda: is_away(own_server))
        while time.monotonic() < came_back_at:
            await everything_is_put_off(client)
        await asyncio.to_thread(own_server.start)
        await eventually(lambda: works(client))

    await deployment.all_have_ended(ending_meanwhile + going_on)
    await deployment.nothing_was_lost_or_done_twice(ending_meanwhile + going_on)
    assert not api.died_by_itself()


async def all_run(deployment: Deployment, jobs: list[int]) -> bool:
    rows = await deployment.desk.sql("SELECT id FROM jobs WHERE launched_at IS NOT NULL")
    return {row.id for row in rows} == set(jobs)


async def is_away(server: EmbeddedPostgres) -> bool:
    return not (server.data_dir / "postgres/postmaster.pid").exists()


async def everything_is_put_off(client: httpx2.AsyncClient) -> None:
    """Soon, with the time to come back, and in the form of every refusal. The process itself is well."""
    asked_at = time.monotonic()
    answers = await asyncio.gather(
        client.get("/api/v1/jobs"),
        client.post("/api/v1/jobs", json=JOB),
        client.get("/readyz"),
        client.post("/api/v1/auth/login", data={"username": "sara@example.org", "password": "quiet-River-71-lantern"}),
    )
    assert time.monotonic() - asked_at < 6
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await client.get("/livez")).status_code == 200


async def works(client: httpx2.AsyncClient) -> bool:
    return (await client.get("/api/v1/jobs")).status_code == 200 and (await client.get("/readyz")).status_code == 200
