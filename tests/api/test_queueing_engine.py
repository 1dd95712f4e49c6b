"""What the API tells where the engine has a queue of its own, gives out its GPUs itself and may hide its logs."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.state import AppState
from app.db.queries import gpus
from app.domain.execution import GpuInfo, GpuSlot, JobSpec, LogChunk, LogUnavailable, UtilisationSample
from tests.conftest import FakeClock
from tests.factories import Person, approve_job, make_job, sign_in, start_job
from tests.streams import open_stream

pytestmark = pytest.mark.anyio

FLEET = [
    GpuInfo(GpuSlot("n1", 0, "n1:0"), "a100", memory_bytes=0, busy=True),
    GpuInfo(GpuSlot("n1", 1, "n1:1"), "a100", memory_bytes=0, busy=True),
    GpuInfo(GpuSlot("n1", 2, "n1:2"), "a100", memory_bytes=0),
    GpuInfo(GpuSlot("n2", 0, "n2:0"), "a100", memory_bytes=0, offline_reason="drained: fan [root]"),
    GpuInfo(GpuSlot("n2", 1, "n2:1"), "a100", memory_bytes=0, busy=True, offline_reason="draining: fan [root]"),
]
WHERE = "/shared/logs/7.log"


@dataclass
class Cluster:
    """Its logs are read as far as `log` goes; without one they lie where nobody here can read."""

    name = "slurm"
    places_gpus = False
    log: bytes | None = None

    async def read_log(
        self,
        spec: JobSpec,  # noqa: ARG002
        *,
        ended_at: datetime | None,  # noqa: ARG002
        progress: float | None = None,  # noqa: ARG002
        offset: int,
        limit: int,
    ) -> LogChunk:
        if self.log is None:
            raise LogUnavailable(WHERE)
        return LogChunk(offset, self.log[offset : offset + limit], len(self.log), complete=False)

    async def read_utilisation(
        self,
        spec: JobSpec,  # noqa: ARG002
        *,
        ended_at: datetime | None,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> Sequence[UtilisationSample]:
        return []


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture(autouse=True)
async def state(app: FastAPI, cluster: Cluster) -> AsyncIterator[AppState]:
    """The service with that engine in place of its own."""
    own: AppState = app.state.gtm
    state = replace(own, engine=cluster, settings=own.settings.model_copy(update={"executor": "slurm"}))
    app.state.gtm = state
    async with state.database.transaction() as connection:
        await gpus.sync_inventory(connection, executor=cluster.name, gpus=FLEET, now=state.clock())
    yield state
    app.state.gtm = own


@pytest.fixture
async def queued(state: AppState, user: Person, admin: Person, clock: FakeClock) -> str:
    """The address of a job that was handed to the cluster a minute after it was approved."""
    job = await make_job(state, user, gpu_type="a100", num_gpus=2)
    await approve_job(state, job.id, admin)
    clock.advance(minutes=1)
    await start_job(state, job.id, admin)
    return f"/api/v1/jobs/{job.id}"


async def note(state: AppState, assignments: str, **values: Any) -> None:
    """As the dispatcher would."""
    async with state.database.transaction() as connection:
        await connection.execute(text(f"UPDATE jobs SET {assignments}"), values)  # noqa: S608


async def begin(state: AppState) -> None:
    """The cluster runs the job now."""
    await note(
        state,
        "status = 'RUNNING', started_at = :now, launched_at = :now, placement = 'n1:0,1', engine_job_id = '4711'",
        now=state.clock(),
    )


async def test_pages_are_told_of_the_engine_with_the_token_and_by_itself(client: Any, user: Person) -> None:
    form = {"username": user.email, "password": user.password}
    signed_in = (await client.post("/api/v1/auth/login", data=form)).json()
    headers = {"Authorization": f"Bearer {signed_in['access_token']}"}
    about = (await client.get("/api/v1/about", headers=headers)).json()
    told = {
        "executor": "slurm",
        "places_gpus": False,
        "jobs_run_as_service": True,
        "jobs_share_a_user": False,
        "clock_rate": 1.0,
    }
    assert signed_in.items() >= told.items()
    assert about.items() >= told.items()


@pytest.mark.parametrize(
    ("reason", "english", "persian"),
    [
        (None, "In the cluster's queue.", "در صف کلاستر."),
        ("None", "In the cluster's queue.", "در صف کلاستر."),
        (
            "(Resources)",
            "In the cluster's queue. The GPUs it asks for are in use (Resources).",
            "در صف کلاستر. GPUهایی که می‌خواهد اکنون مشغول‌اند (\u2068Resources\u2069).",
        ),
        (
            "ReqNodeNotAvail, UnavailableNodes:n[1-2]",
            "In the cluster's queue. A node that it needs is down, drained or reserved "
            "(ReqNodeNotAvail, UnavailableNodes:n[1-2]).",
            "در صف کلاستر. گرهی که لازم دارد خاموش، تخلیه‌شده یا رزرو است "
            "(\u2068ReqNodeNotAvail, UnavailableNodes:n[1-2]\u2069).",
        ),
        (
            "launch failed requeued held",
            "In the cluster's queue. Its launch failed, and the cluster holds it (launch failed requeued held); "
            "ask the cluster's administrator.",
            "در صف کلاستر. راه‌اندازی آن شکست خورده و کلاستر آن را نگه داشته است "
            "(\u2068launch failed requeued held\u2069)؛ از مدیر کلاستر بپرسید.",
        ),
        (
            "QOSMaxCpuPerUserLimit",
            "In the cluster's queue. A limit of its QOS on the cluster is reached (QOSMaxCpuPerUserLimit).",
            "در صف کلاستر. به یکی از سقف‌های QOS آن در کلاستر رسیده است (\u2068QOSMaxCpuPerUserLimit\u2069).",
        ),
        (
            "SomethingNew",
            "In the cluster's queue. The cluster says: SomethingNew.",
            "در صف کلاستر. کلاستر می‌گوید: \u2068SomethingNew\u2069.",
        ),
    ],
)
async def test_a_queued_job_tells_the_engines_reason_in_words_where_they_are_known(
    as_user: Any, state: AppState, queued: str, reason: str | None, english: str, persian: str
) -> None:
    await note(state, "queue_reason = :reason", reason=reason)
    for language, sentence in (("en", english), ("fa", persian)):
        headers = {"Accept-Language": language}
        job = (await as_user.get(queued, headers=headers)).json()
        waiting = (await as_user.get(f"{queued}/waiting", headers=headers)).json()
        assert (job["status"], job["wait_reason"]) == ("APPROVED", "IN_ENGINE_QUEUE")
        assert (job["reason_text"], waiting["text"]) == (sentence, sentence)


async def test_a_queued_job_tells_since_when_and_when_the_engine_expects_it_to_begin(
    as_user: Any, state: AppState, queued: str, clock: FakeClock
) -> None:
    expected = clock() + timedelta(hours=3)
    await note(state, "queue_reason = 'Priority', expected_start_at = :expected", expected=expected)
    waiting = (await as_user.get(f"{queued}/waiting")).json()
    assert (waiting["since"], waiting["expected_start_at"]) == ("2026-03-10T12:01:00Z", "2026-03-10T15:01:00Z")
    assert waiting["queue_reason"] == "Priority"
    await begin(state)
    waiting = (await as_user.get(f"{queued}/waiting")).json()
    assert (waiting["queue_reason"], waiting["expected_start_at"], waiting["text"]) == (None, None, None)


async def test_the_fleet_tells_what_the_engine_knows_and_where_our_job_runs(
    as_admin: Any, state: AppState, queued: str
) -> None:
    await begin(state)
    fleet = (await as_admin.get("/api/v1/admin/gpus")).json()
    job_id = int(queued.rpartition("/")[2])
    assert [(gpu["node"], gpu["index"], gpu["state"], gpu["job"] and gpu["job"]["id"]) for gpu in fleet] == [
        ("n1", 0, "BUSY", job_id),
        ("n1", 1, "BUSY", job_id),
        ("n1", 2, "FREE", None),
        ("n2", 0, "OFFLINE", None),
        ("n2", 1, "DRAINING", None),
    ]
    assert fleet[3]["offline_reason"] == "drained: fan [root]"
    assert all(gpu["actions"] == [] for gpu in fleet)
    await note(state, "placement = 'n1 n2:x,2-3'")
    fleet = (await as_admin.get("/api/v1/admin/gpus")).json()
    assert [(gpu["state"], gpu["job"]) for gpu in fleet] == [
        ("BUSY", None),
        ("BUSY", None),
        ("FREE", None),
        ("OFFLINE", None),
        ("DRAINING", None),
    ]


@pytest.mark.parametrize("action", ["drain", "resume"])
async def test_its_gpus_are_drained_in_the_engine_and_not_here(as_admin: Any, action: str) -> None:
    before = (await as_admin.get("/api/v1/admin/gpus")).json()
    body = {"json": {"reason": "Fan"}} if action == "drain" else {}
    answer = await as_admin.post(f"/api/v1/admin/gpus/{before[3]['id']}/{action}", **body)
    assert (answer.status_code, answer.json()["code"]) == (409, "engine-gives-out-gpus")
    assert "scontrol update NodeName=n2 State=DRAIN" in answer.json()["detail"]
    assert (await as_admin.get("/api/v1/admin/gpus")).json() == before
    assert (await as_admin.post(f"/api/v1/admin/gpus/999999/{action}", **body)).status_code == 404


@pytest.mark.parametrize("query", ["", "?tail=100", "?follow=true", "?follow=true&tail=100", "?download=true"])
@pytest.mark.parametrize("language", ["en", "fa"])
async def test_a_log_out_of_reach_is_a_problem_before_anything_is_sent(
    as_user: Any, queued: str, query: str, language: str
) -> None:
    answer = await as_user.get(f"{queued}/log{query}", headers={"Accept-Language": language})
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["where"]) == (404, "log-unavailable", WHERE)
    assert WHERE in problem["detail"]


async def test_a_log_that_goes_out_of_reach_while_it_is_followed_ends(
    app: FastAPI, state: AppState, user: Person, queued: str, cluster: Cluster
) -> None:
    cluster.log = b"epoch 1\n"
    token = (await sign_in(state, user)).access_token
    async with open_stream(app, f"{queued}/log?follow=true", token=token) as stream:
        assert await stream.read_until(b"\n") == b"epoch 1\n"
        cluster.log = None
        assert await stream.read_to_end() == b""
