"""Reports over HTTP."""

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from app.api.state import AppState
from app.core.config import Settings
from app.db.queries import reports
from app.db.queries.jobs import Move
from app.domain.execution import EndReason
from app.domain.identity import Actor
from app.domain.job_state import JobStatus
from app.services import transitions
from tests.conftest import FakeClock, browser
from tests.factories import Person, approve_job, make_fleet, make_job, make_user, reject_job, sign_in, start_job

pytestmark = pytest.mark.anyio

USAGE = "/api/v1/admin/reports/usage"
WAITING = "/api/v1/admin/reports/waiting"

YEARS_OF_LEDGER = """
WITH months AS (
    INSERT INTO user_quotas (user_id, starts_at, ends_at, limit_seconds)
    SELECT person, month, month + interval '1 month', 3600
    FROM unnest(CAST(:people AS bigint[])) person,
         generate_series(timestamptz '2025-04-01', timestamptz '2026-03-01', interval '1 month') month
    RETURNING id, user_id
)
INSERT INTO quota_entries (quota_id, user_id, kind, actor_process)
SELECT id, user_id, 'GRANT', 'test' FROM months, generate_series(1, 100)
"""
SCANS_OF_LEDGER = "SELECT seq_scan + idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'quota_entries'"
NO_WAITS = dict.fromkeys(
    f"{what}_{share}_seconds" for what in ("decision", "start", "total") for share in ("p50", "p95")
)


@pytest.mark.parametrize("path", [USAGE, WAITING])
async def test_reports_are_for_admins(client: Any, as_user: Any, path: str) -> None:
    assert (await client.get(path)).status_code == 401
    assert (await as_user.get(path)).status_code == 403


async def test_usage_is_told_by_user_and_month(state: AppState, as_admin: Any) -> None:
    await make_fleet(state)
    person = await make_user(state)
    await make_job(state, person, num_gpus=3)
    rows = (await as_admin.get(f"{USAGE}?user={person.id}")).json()
    assert rows == [
        {
            "user": {"id": person.id, "full_name": person.full_name, "email": person.email},
            "period_start": "2026-03-01T00:00:00Z",
            "period_end": "2026-04-01T00:00:00Z",
            "jalali_month": "1404-12",
            "limit_hours": 100,
            "used_hours": 0,
            "reserved_hours": 3,
            "finished_jobs": 0,
        }
    ]
    assert (await as_admin.get(f"{USAGE}?user={person.id}&from=2026-04-01&to=2026-05-01")).json() == []


async def test_only_jobs_that_ran_and_ended_are_counted_as_finished(
    state: AppState, user: Person, admin: Person, as_admin: Any, clock: FakeClock
) -> None:
    await make_fleet(state)
    jobs = [await make_job(state, user) for _ in range(3)]
    for job in jobs[:2]:
        await approve_job(state, job.id, admin)
        await start_job(state, job.id, admin)
    await reject_job(state, jobs[2].id, admin)
    ends = Move(jobs[0].id, JobStatus.RUNNING, JobStatus.COMPLETED, reason=EndReason.EXITED, charged_seconds=1800)
    async with state.database.transaction() as connection:
        await transitions.apply(connection, [ends], actor=Actor(process="test"), now=clock())
    for query in (USAGE, f"{USAGE}?user={user.id}"):
        (row,) = (await as_admin.get(query)).json()
        assert (row["finished_jobs"], row["used_hours"], row["reserved_hours"]) == (1, 0.5, 1.0)


async def test_the_csv_opens_in_a_spreadsheet_and_runs_nothing_there(state: AppState, as_admin: Any) -> None:
    await make_fleet(state)
    person = await make_user(state, full_name="=HYPERLINK(1)")
    await make_job(state, person)
    answer = await as_admin.get(f"{USAGE}?format=csv&user={person.id}")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert answer.content.startswith(b"\xef\xbb\xbf")
    (row,) = csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))
    assert (row["period_start"], row["jalali_month"]) == ("2026-03-01", "1404-12")
    assert (row["full_name"], row["reserved_hours"]) == ("'=HYPERLINK(1)", "1.0000")


@pytest.mark.parametrize("path", [USAGE, WAITING])
@pytest.mark.parametrize("query", ["from=1", "to=9999-12-31", "from=0001-01-01", "format=xls"])
async def test_an_impossible_span_is_refused(as_admin: Any, path: str, query: str) -> None:
    assert (await as_admin.get(f"{path}?{query}")).status_code == 422


@pytest.fixture
async def waits(state: AppState, user: Person, admin: Person, clock: FakeClock) -> None:
    """Ten A100 jobs on 10 March, decided after 1 … 10 minutes (the last rejected), started half an hour later.

    A V100 job of the same day that nobody decides on, and one of 2 April that is approved after a minute.
    """
    await make_fleet(state, "node1=A100x16,node2=V100x4")
    jobs = [await make_job(state, user, time_limit=timedelta(minutes=1)) for _ in range(10)]
    await make_job(state, user, gpu_type="V100", time_limit=timedelta(minutes=1))
    submitted = clock.now
    for minutes, job in enumerate(jobs, 1):
        clock.now = submitted + timedelta(minutes=minutes)
        await (approve_job if job is not jobs[-1] else reject_job)(state, job.id, admin)
    for minutes, job in enumerate(jobs[:-1], 1):
        clock.now = submitted + timedelta(minutes=minutes + 30)
        await start_job(state, job.id, admin)
    clock.now = submitted + timedelta(days=23)
    late = await make_job(state, user, gpu_type="V100", time_limit=timedelta(minutes=1))
    clock.advance(minutes=1)
    await approve_job(state, late.id, admin)
    clock.now = submitted


@pytest.mark.usefixtures("waits")
async def test_waiting_is_told_by_the_month_of_submission_newest_first(as_admin: Any) -> None:
    april, march = (await as_admin.get(f"{WAITING}?to=2026-04-30")).json()
    assert april == {
        "period_start": "2026-04-01T00:00:00Z",
        "period_end": "2026-05-01T00:00:00Z",
        "jalali_month": "1405-01",
        "jobs": 1,
        "approved": 1,
        "rejected": 0,
        "started": 0,
        **NO_WAITS,
        "decision_p50_seconds": 60,
        "decision_p95_seconds": 60,
    }
    assert march == {
        "period_start": "2026-03-01T00:00:00Z",
        "period_end": "2026-04-01T00:00:00Z",
        "jalali_month": "1404-12",
        "jobs": 11,
        "approved": 9,
        "rejected": 1,
        "started": 9,
        "decision_p50_seconds": 330,
        "decision_p95_seconds": 573,
        "start_p50_seconds": 1800,
        "start_p95_seconds": 1800,
        "total_p50_seconds": 2100,
        "total_p95_seconds": 2316,
    }


@pytest.mark.usefixtures("waits")
async def test_waiting_is_told_by_gpu_type(as_admin: Any) -> None:
    a100, v100 = (await as_admin.get(f"{WAITING}?group=gpu_type&to=2026-04-30")).json()
    assert (a100["gpu_type"], a100["jobs"], a100["decision_p50_seconds"]) == ("A100", 10, 330)
    assert (v100["gpu_type"], v100["jobs"], v100["approved"], v100["decision_p50_seconds"]) == ("V100", 2, 1, 60)
    assert "period_start" not in v100


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ("", [11]),
        ("from=2026-03-10&to=2026-03-10", [11]),
        ("from=2026-03-11&to=2026-04-01", []),
        ("from=2026-04-02&to=2026-04-02", [1]),
        ("from=2026-04-03&to=2026-04-02", []),
        ("from=2000-01-01&to=2200-01-01", [1, 11]),
    ],
)
async def test_waiting_counts_the_jobs_submitted_on_these_days(as_admin: Any, query: str, jobs: list[int]) -> None:
    rows = (await as_admin.get(f"{WAITING}?{query}")).json()
    assert [row["jobs"] for row in rows] == jobs


@pytest.mark.usefixtures("waits")
async def test_waiting_opens_in_a_spreadsheet(as_admin: Any) -> None:
    for query, first in (("", ("period_start", "2026-03-01")), ("group=gpu_type", ("gpu_type", "A100"))):
        answer = await as_admin.get(f"{WAITING}?format=csv&{query}")
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert "attachment" in answer.headers["Content-Disposition"]
        assert answer.content.startswith(b"\xef\xbb\xbf")
        row = next(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert next(iter(row.items())) == first
        assert (row["started"], row["decision_p95_seconds"]) == ("9", "573.0")
    assert row.keys() == {"gpu_type", "jobs", "approved", "rejected", "started", *NO_WAITS}


@pytest.mark.usefixtures("waits")
async def test_the_months_of_waiting_are_those_of_the_quota(
    settings: Settings, start_service: Any, admin: Person
) -> None:
    """In Tehran the tenth of March is in Esfand, and the second of April in Farvardin."""
    changes = {"time_zone": "Asia/Tehran", "quota_calendar": "jalali"}
    async with start_service(Settings(_env_file=None, **{**settings.model_dump(), **changes})) as app:
        token = (await sign_in(app.state.gtm, admin)).access_token
        async with browser(app, token=token) as client:
            rows = (await client.get(f"{WAITING}?to=2026-04-30")).json()
    assert [(row["jalali_month"], row["period_start"], row["jobs"]) for row in rows] == [
        ("1405-01", "2026-03-20T20:30:00Z", 1),
        ("1404-12", "2026-02-19T20:30:00Z", 11),
    ]


async def test_the_ledger_is_read_once_for_all_months(state: AppState, clock: FakeClock) -> None:
    """Read for each month, it would take minutes once there are a million jobs."""
    people = [(await make_user(state)).id for _ in range(3)]
    async with state.database.transaction() as connection:
        await connection.execute(text(YEARS_OF_LEDGER), {"people": people})
        before = (await connection.execute(text(SCANS_OF_LEDGER))).scalar_one()
        rows = await reports.usage(
            connection, since=clock() - timedelta(days=366), until=clock() + timedelta(days=31), user_id=None
        )
        assert len(rows) == 36
        assert (await connection.execute(text(SCANS_OF_LEDGER))).scalar_one() == before + 1
