"""Reports over HTTP."""

import csv
import io
from typing import Any

import pytest

from app.api.state import AppState
from tests.factories import make_fleet, make_job, make_user

pytestmark = pytest.mark.anyio

USAGE = "/api/v1/admin/reports/usage"


async def test_reports_are_for_admins(client: Any, as_user: Any) -> None:
    assert (await client.get(USAGE)).status_code == 401
    assert (await as_user.get(USAGE)).status_code == 403


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


@pytest.mark.parametrize("query", ["from=1", "to=9999-12-31", "from=0001-01-01", "format=xls"])
async def test_an_impossible_span_is_refused(as_admin: Any, query: str) -> None:
    assert (await as_admin.get(f"{USAGE}?{query}")).status_code == 422
