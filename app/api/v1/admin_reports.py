"""Reports for those who answer for the hours."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response

from app.api.deps import AdminUser, AppSettings, Autocommit, Now
from app.api.errors import problems
from app.domain.quota import hours_from_seconds
from app.schemas.people import Person
from app.schemas.reports import UsageRow
from app.schemas.text import RowId
from app.services import reports

router = APIRouter(prefix="/admin/reports", tags=["admin"])

A_YEAR = timedelta(days=366)
EARLIEST, LATEST = date(2000, 1, 1), date(2200, 1, 1)
First = Annotated[
    date | None, Query(alias="from", ge=EARLIEST, le=LATEST, description="The first day; a year ago by default.")
]
Last = Annotated[date | None, Query(alias="to", ge=EARLIEST, le=LATEST, description="The last day; today by default.")]
CSV_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}, "application/json": {}}}}


@router.get("/usage", response_model=list[UsageRow], responses=problems(401, 403, 422, 503) | CSV_ANSWER)
async def report_usage(
    _admin: AdminUser,
    connection: Autocommit,
    settings: AppSettings,
    now: Now,
    first: First = None,
    last: Last = None,
    user: Annotated[RowId | None, Query(description="Only this user.")] = None,
    form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
) -> list[UsageRow] | Response:
    """GPU-hours by user and month: granted, used, and reserved by jobs that have not ended."""
    since = datetime.combine(first, time(), settings.zone) if first else now - A_YEAR
    until = datetime.combine(last, time(), settings.zone) + timedelta(days=1) if last else now
    rows = await reports.usage(connection, since=since, until=until, user_id=user)
    if form == "csv":
        disposition = {"Content-Disposition": 'attachment; filename="gpu-usage.csv"'}
        content = reports.usage_csv(rows, settings.zone)
        return Response(content, media_type="text/csv; charset=utf-8", headers=disposition)
    return [
        UsageRow(
            user=Person(id=row.user_id, full_name=row.full_name, email=row.email),
            period_start=row.starts_at,
            period_end=row.ends_at,
            jalali_month=reports.jalali_month(row.starts_at, settings.zone),
            limit_hours=hours_from_seconds(row.limit_seconds),
            used_hours=hours_from_seconds(row.used_seconds),
            reserved_hours=hours_from_seconds(row.reserved_seconds),
            finished_jobs=row.finished_jobs,
        )
        for row in rows
    ]
