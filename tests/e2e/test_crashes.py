"""`kill -9` where it hurts most, with runs that outlast the dispatcher and so can tell what was started how often."""

import asyncio
import os
import random
import signal
from functools import partial
from uuid import uuid4

import httpx2
import pytest

from app.db.embedded import EmbeddedPostgres
from app.dispatcher.lease import LEASE_TTL
from tests.e2e.crash_points import IS_LONG, crash_points_of
from tests.e2e.deployment import Deployment, postmaster_of
from tests.e2e.processes import wait_until
from tests.waiting import HANG_SECONDS, eventually

pytestmark = pytest.mark.anyio

POSTGRES_KILLS = 30 if IS_LONG else 3
CRASH_POINTS = crash_points_of("dispatcher")
JOB = {"name": "killed", "gpu_type": "A100", "estimated_hours": 0.01, "command": "sleep 1"}


def test_there_is_a_crash_point_on_both_sides_of_whatever_lasts() -> None:
    """Of each commit and of each word with the engine, by the names of the points."""
    for step in ("adopt", "launch", "stop", "settle"):
        assert {f"dispatcher.before-{step}", f"dispatcher.after-{step}"} <= set(CRASH_POINTS)
    assert {"dispatcher.before-start-commit", "dispatcher.after-start-commit"} <= set(CRASH_POINTS)
    assert {"dispatcher.before-settle-commit", "dispatcher.after-note"} <= set(CRASH_POINTS)


@pytest.mark.parametrize("point", CRASH_POINTS)
async def test_a_dispatcher_that_dies_at_this_point_starts_nothing_twice(deployment: Deployment, point: str) -> None:
    desk = deployment.desk
    finishing = await deployment.approve(3, seconds=0.2, num_gpus=2)
    [cancelled] = await deployment.approve(1, seconds=600)
    await desk.start(deployment.admin, cancelled)
    await desk.cancel(deployment.owner, cancelled)

    doomed = deployment.start_dispatcher(CRASH_AT=point)
    wait_until(doomed.died_by_itself, f"the dispatcher reaches {point}")
    assert doomed.exit_code == -signal.SIGKILL, doomed.output.read_text()
    await deployment.let_the_lease_run_out()
    deployment.start_dispatcher()

    await deployment.all_have_ended([*finishing, cancelled])
    await deployment.nothing_was_lost_or_done_twice(finishing)
    assert (await desk.job(cancelled)).status == "CANCELLED"


async def test_when_its_lease_has_run_out_another_dispatcher_takes_over(deployment: Deployment) -> None:
    """I19: the lease of the dead one has to run out by itself. The usual one does so when there is time."""
    lease = LEASE_TTL.total_seconds() if IS_LONG else 2
    running = await deployment.approve(4, seconds=1)
    doomed = deployment.start_dispatcher(LEASE_SECONDS=str(lease))
    await eventually(partial(have_begun, deployment, running))
    doomed.kill()
    waiting = await deployment.approve(2, seconds=0.1)
    deployment.start_dispatcher(LEASE_SECONDS=str(lease))
    await deployment.all_have_ended(running + waiting)
    await deployment.nothing_was_lost_or_done_twice(running + waiting)


async def test_a_killed_postgresql_loses_nothing_that_was_acknowledged_and_no_run(
    own_server: EmbeddedPostgres, deployment_on_own_server: Deployment
) -> None:
    """While jobs run and are submitted. The API and the dispatcher live on and find it again."""
    deployment, chance = deployment_on_own_server, random.Random(4761)
    running = await deployment.approve(12, seconds=4)
    deployment.start_dispatcher()
    _, address = deployment.start_api()
    submitters = [Submitter(address, await deployment.token()) for _ in range(3)]
    tasks = [asyncio.create_task(submitter.submit_until_stopped()) for submitter in submitters]
    await eventually(partial(have_begun, deployment, running))
    for _ in range(POSTGRES_KILLS):
        await eventually(partial(each_has_more, submitters, than=[len(each.acknowledged) for each in submitters]))
        await asyncio.sleep(chance.uniform(0, 0.1))  # a random moment of their work, not a wait for it
        os.kill(postmaster_of(own_server), signal.SIGKILL)
        await asyncio.to_thread(own_server.start)
    await eventually(partial(each_has_more, submitters, than=[len(each.acknowledged) for each in submitters]))
    for submitter in submitters:
        submitter.is_stopped = True
    await asyncio.gather(*tasks)

    await deployment.all_have_ended(running)
    await deployment.nothing_was_lost_or_done_twice(running)
    acknowledged = {job_id for submitter in submitters for job_id in submitter.acknowledged.values()}
    keys = await deployment.desk.sql("SELECT key, job_id FROM idempotency_keys")
    assert {row.job_id for row in keys} == acknowledged
    assert len(keys) == sum(len(submitter.acknowledged) for submitter in submitters)
    assert sum(submitter.turned_away for submitter in submitters) > 0, "nobody noticed"


async def have_begun(deployment: Deployment, jobs: list[int]) -> bool:
    """Not that all run at one time: on a busy machine the first may have ended when the last begins."""
    [row] = await deployment.desk.sql("SELECT count(*) FROM jobs WHERE launched_at IS NOT NULL")
    return bool(row[0] == len(jobs))


async def each_has_more(submitters: "list[Submitter]", *, than: list[int]) -> bool:
    pairs = zip(submitters, than, strict=True)
    return all(len(submitter.acknowledged) >= before + 10 for submitter, before in pairs)


class Submitter:
    """A client that submits one job after the other, each until it is acknowledged, under a key of its own."""

    def __init__(self, address: str, token: str) -> None:
        self.address = address
        self.headers = {"Authorization": f"Bearer {token}"}
        self.acknowledged: dict[str, int] = {}
        self.turned_away = 0
        self.is_stopped = False

    async def submit_until_stopped(self) -> None:
        async with httpx2.AsyncClient(base_url=self.address, headers=self.headers, timeout=HANG_SECONDS) as client:
            while not self.is_stopped:
                key = uuid4().hex
                self.acknowledged[key] = await self.submit(client, key)

    async def submit(self, client: httpx2.AsyncClient, key: str) -> int:
        """The API lives, so it always answers: with the job, or that and when to come again."""
        headers = {"Idempotency-Key": key}
        while (answer := await client.post("/api/v1/jobs", json=JOB, headers=headers)).status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
            assert answer.headers["Content-Type"] == "application/problem+json"
            self.turned_away += 1
            await asyncio.sleep(0.1)
        assert answer.status_code == 201, answer.text
        job_id: int = answer.json()["id"]
        return job_id
