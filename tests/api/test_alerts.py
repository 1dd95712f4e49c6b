"""What goes on in the fleet against the rules, over HTTP."""

from typing import Any

import pytest

from app.api.state import AppState
from tests.factories import Person, approve_job, make_fleet, make_job, start_job
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio


async def test_alerts_tell_whose_job_goes_on_and_what_the_service_did_not_submit(
    state: AppState, as_admin: Any, admin: Person, user: Person
) -> None:
    await make_fleet(state)
    assert (await as_admin.get("/api/v1/admin/alerts")).json() == {"overstaying": [], "foreign_jobs": []}
    job = await make_job(state, user, name="goes-on")
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    desk = Desk(state)
    await desk.sql("UPDATE jobs SET launched_at = started_at, measured_seconds = 2 * reserved_seconds")
    await desk.sql(
        "INSERT INTO foreign_jobs (executor, engine_job_id, name, seen_at) VALUES ('slurm', '7', 'mine', now())"
    )
    alerts = (await as_admin.get("/api/v1/admin/alerts")).json()
    [overstaying], [foreign] = alerts["overstaying"], alerts["foreign_jobs"]
    assert (overstaying["id"], overstaying["name"], overstaying["owner"]["email"]) == (job.id, "goes-on", user.email)
    assert (foreign["engine_job_id"], foreign["name"], foreign["num_gpus"]) == ("7", "mine", None)
