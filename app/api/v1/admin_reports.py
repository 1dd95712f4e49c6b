"""Reports for those who answer for the hours."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response

from app.api.days import DaySpan, beginning_of
from app.api.deps import AdminUser, AppSettings, Autocommit, Now, Transaction
from app.api.errors import problems
from app.api.policy import Policy
from app.schemas.reports import (
    GpuTypeOfWaits,
    MonthOfWaits,
    UsageRow,
    usage_table,
    waiting_by_gpu_type_table,
    waiting_by_month_table,
)
from app.schemas.text import RowId
from app.services import reports

router = APIRouter(prefix="/admin/reports", tags=["admin"])

A_YEAR = timedelta(days=366)
CSV_ANSWER: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}, "application/json": {}}}}
Form = Annotated[Literal["json", "csv"], Query(alias="format")]


@dataclass(frozen=True, slots=True)
class Span:
    """The instants `[since, until)` that a report is about: by default the year that ends today."""

    since: datetime
    until: datetime


async def get_span(days: DaySpan, settings: AppSettings, now: Now) -> Span:
    tomorrow = now.astimezone(settings.zone).date() + timedelta(days=1)
    return Span(since=days.since or now - A_YEAR, until=days.until or beginning_of(tomorrow, settings.zone))


ReportSpan = Annotated[Span, Depends(get_span)]


@router.get("/usage", response_model=list[UsageRow], responses=problems(401, 403, 422, 503) | CSV_ANSWER)
async def report_usage(
    _admin: AdminUser,
    connection: Autocommit,
    settings: AppSettings,
    span: ReportSpan,
    user: Annotated[RowId | None, Query(description="Only this user.")] = None,
    form: Form = "json",
) -> list[UsageRow] | Response:
    """GPU-hours by user and month: granted, used, and reserved by jobs that have not ended.

    Of the months that the days from `from` (a year ago by default) to `to` (today) touch.
    """
    found = await reports.usage(connection, since=span.since, until=span.until, user_id=user)
    rows = [UsageRow.of(row, settings.zone) for row in found]
    return _csv("gpu-usage", usage_table(rows, settings.zone)) if form == "csv" else rows


@router.get(
    "/waiting",
    response_model=list[MonthOfWaits] | list[GpuTypeOfWaits],
    responses=problems(401, 403, 422, 503) | CSV_ANSWER,
)
async def report_waiting(
    _admin: AdminUser,
    connection: Transaction,
    settings: AppSettings,
    policy: Policy,
    span: ReportSpan,
    group: Annotated[Literal["month", "gpu_type"], Query(description="A row for each of these.")] = "month",
    form: Form = "json",
) -> list[MonthOfWaits] | list[GpuTypeOfWaits] | Response:
    """How long jobs waited for their decision and for their start, and how many were approved and rejected.

    Of the jobs submitted on the days from `from` (a year ago by default) to `to` (today).
    """
    if group == "gpu_type":
        found = await reports.waiting_by_gpu_type(connection, since=span.since, until=span.until)
        types = [GpuTypeOfWaits.of(row) for row in found]
        return _csv("waiting-by-gpu-type", waiting_by_gpu_type_table(types)) if form == "csv" else types
    by_month = await reports.waiting_by_month(connection, since=span.since, until=span.until, rule=policy.months)
    months = [MonthOfWaits.of(month, row, settings.zone) for month, row in by_month]
    return _csv("waiting-by-month", waiting_by_month_table(months, settings.zone)) if form == "csv" else months


def _csv(name: str, content: str) -> Response:
    disposition = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=disposition)
