"""Prometheus: what operators watch."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from app.api.state import AppState
from app.core.config import Settings
from tests.api.probes import add_failure
from tests.conftest import FakeClock, browser
from tests.factories import Person, approve_job, make_fleet, make_job, start_job

pytestmark = pytest.mark.anyio

StartService = Callable[[Settings], AbstractAsyncContextManager[FastAPI]]
Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(client: httpx2.AsyncClient) -> Samples:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_the_domain_is_measured_at_the_moment_of_the_scrape(
    client: httpx2.AsyncClient, state: AppState, clock: FakeClock, user: Person, admin: Person
) -> None:
    await make_fleet(state, "node1=A100x4")
    waiting = await make_job(state, user)
    clock.advance(minutes=10)
    approved = await make_job(state, user)
    running = await make_job(state, user, num_gpus=2)
    await approve_job(state, approved.id, admin)
    await approve_job(state, running.id, admin)
    await start_job(state, running.id, admin)
    clock.advance(minutes=5)
    samples = await scrape(client)
    assert waiting.status == "PENDING"
    assert samples["gtm_database_up", ()] == 1
    assert samples["gtm_jobs", (("status", "PENDING"),)] == 1
    assert samples["gtm_jobs", (("status", "APPROVED"),)] == 1
    assert samples["gtm_jobs", (("status", "RUNNING"),)] == 1
    assert samples["gtm_jobs", (("status", "FAILED"),)] == 0
    assert samples["gtm_oldest_job_seconds", (("status", "PENDING"),)] == 900
    assert samples["gtm_oldest_job_seconds", (("status", "APPROVED"),)] == 300
    assert samples["gtm_quota_gpu_seconds", (("side", "reserved"),)] == 4 * 3600
    assert samples["gtm_quota_gpu_seconds", (("side", "used"),)] == 0
    assert samples["gtm_gpus", (("gpu_type", "A100"), ("state", "free"))] == 2
    assert samples["gtm_gpus", (("gpu_type", "A100"), ("state", "allocated"))] == 2
    assert ("gtm_dispatcher_lease_age_seconds", ()) in samples
    assert ("gtm_dispatcher_tick_seconds_count", ()) in samples


async def test_requests_are_counted_by_route_and_not_by_address(
    client: httpx2.AsyncClient, as_user: httpx2.AsyncClient
) -> None:
    def count(samples: Samples, route: str, status: int, method: str = "GET") -> float:
        labels = (("method", method), ("route", route), ("status", str(status)))
        return samples.get(("gtm_http_requests_total", labels), 0)

    before = await scrape(client)
    for number in range(5):
        await as_user.get(f"/api/v1/jobs/{number + 1}")
        await client.get(f"/made-up-{number}")
        await client.request(f"MADEUP{number}", "/livez")
    after = await scrape(client)
    assert count(after, "/api/v1/jobs/{job_id}", 404) - count(before, "/api/v1/jobs/{job_id}", 404) == 5
    assert count(after, "(none)", 404) - count(before, "(none)", 404) == 5
    assert count(after, "/livez", 405, "OTHER") - count(before, "/livez", 405, "OTHER") == 5
    assert not any("made-up" in str(labels) or "MADEUP" in str(labels) for _, labels in after)


async def test_refusals_are_counted_by_code(client: httpx2.AsyncClient, probe: FastAPI) -> None:
    failed_logins = ("gtm_problems_total", (("code", "invalid-credentials"),))
    crashes = ("gtm_problems_total", (("code", "internal-error"),))
    before = await scrape(client)
    await client.post("/api/v1/auth/login", data={"username": "nobody@example.org", "password": "wrong-password"})
    async with browser(probe) as visitor:
        await visitor.get(add_failure(probe, RuntimeError("no")))
    after = await scrape(client)
    assert after[failed_logins] - before.get(failed_logins, 0) == 1
    assert after[crashes] - before.get(crashes, 0) == 1


async def test_where_a_token_is_set_nobody_else_reads_the_measures(
    settings: Settings, start_service: StartService, as_admin: httpx2.AsyncClient
) -> None:
    token = "quiet-River-71-metrics"
    async with start_service(settings.model_copy(update={"metrics_token": SecretStr(token)})) as app:
        for authorization in (
            None,
            "",
            token,
            f"Bearer {token}x",
            f"bearer {token}",
            as_admin.headers["Authorization"],
        ):
            headers = {} if authorization is None else {"Authorization": authorization}
            async with browser(app, **headers) as client:
                answer = await client.get("/metrics")
                assert (answer.status_code, answer.json()["code"]) == (401, "metrics-token-missing"), authorization
        async with browser(app, token=token) as client:
            assert "gtm_database_up 1.0" in (await client.get("/metrics")).text
