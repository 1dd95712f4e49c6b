"""Prometheus metrics: what this process measured of itself, and what the database knows at the moment of the scrape."""

from collections.abc import Iterable, Sequence
from secrets import compare_digest
from typing import Annotated

import structlog
from fastapi import APIRouter, Header, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from app.api.deps import Now, State
from app.api.errors import problems
from app.db.queries import metrics as queries
from app.db.queries.metrics import Measure
from app.domain.errors import MetricsTokenMissing
from app.domain.job_state import JobStatus

router = APIRouter(tags=["operations"])
Authorization = Annotated[str | None, Header(include_in_schema=False)]
log = structlog.get_logger("api")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": 'gtm_jobs{status="RUNNING"} 3.0\n'}}}, **problems(401)},
)
async def metrics(state: State, now: Now, authorization: Authorization = None) -> Response:
    """Prometheus text, for whoever knows `METRICS_TOKEN` where one is set.

    With the database away, `gtm_database_up` is 0 and only this process's own numbers follow.
    """
    expected = state.settings.metrics_token
    if expected is not None and not _is_bearer_of(expected.get_secret_value(), authorization):
        raise MetricsTokenMissing
    measures: Sequence[Measure] | None = None
    try:
        async with state.database.autocommit() as connection:
            measures = await queries.snapshot(connection, now=now)
    except (SQLAlchemyError, OSError) as error:
        log.warning("metrics without the database", error=type(error).__name__)
    of_database = CollectorRegistry()
    of_database.register(DatabaseMetrics(measures))
    return Response(generate_latest(of_database) + generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


def _is_bearer_of(token: str, authorization: str | None) -> bool:
    return compare_digest((authorization or "").encode(), f"Bearer {token}".encode())


SINGLE_NUMBERS = (
    ("overstaying", "gtm_overstaying_jobs", "Jobs that hold GPUs though they should have ended"),
    ("foreign", "gtm_foreign_jobs", "Jobs in the engine's queue that the service did not submit"),
    ("lease", "gtm_dispatcher_lease_age_seconds", "Since the dispatcher last renewed its lease"),
)
"""The name of the measure, and of the metric with what it means."""


class DatabaseMetrics(Collector):
    def __init__(self, measures: Sequence[Measure] | None) -> None:
        self._measures = measures

    def collect(self) -> Iterable[GaugeMetricFamily]:
        yield GaugeMetricFamily("gtm_database_up", "Whether the database answered", int(self._measures is not None))
        if self._measures is None:
            return
        counted = {measure.label: measure.value for measure in self._named("jobs")}
        jobs = GaugeMetricFamily("gtm_jobs", "Jobs by status", labels=("status",))
        for status in JobStatus:
            jobs.add_metric((status,), counted.get(status, 0))
        waited = {measure.label: measure.value for measure in self._named("oldest")}
        oldest = GaugeMetricFamily("gtm_oldest_job_seconds", "How long the oldest job has waited", labels=("status",))
        for status in (JobStatus.PENDING, JobStatus.APPROVED):
            oldest.add_metric((status,), waited.get(status, 0))
        quota = GaugeMetricFamily("gtm_quota_gpu_seconds", "GPU-seconds of this month, all users", labels=("side",))
        for measure in self._named("quota"):
            quota.add_metric((measure.label or "",), measure.value)
        gpus = GaugeMetricFamily("gtm_gpus", "GPUs by type and state", labels=("gpu_type", "state"))
        for measure in self._named("gpus"):
            gpus.add_metric((measure.label or "", measure.state or ""), measure.value)
        yield from (jobs, oldest, quota, gpus)
        for name, metric, meaning in SINGLE_NUMBERS:
            family = GaugeMetricFamily(metric, meaning)
            for measure in self._named(name):
                family.add_metric((), measure.value)
            yield family

    def _named(self, name: str) -> list[Measure]:
        return [measure for measure in self._measures or () if measure.name == name]
