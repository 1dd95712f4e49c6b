"""Reports on the wire, and as tables for spreadsheets."""

from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import Any, Self

from sqlalchemy import Row

from app.domain.periods import Period, jalali_month
from app.domain.quota import hours_from_seconds
from app.schemas import spreadsheet
from app.schemas.people import Person
from app.schemas.spreadsheet import Cell, day, number
from app.schemas.text import ResponseModel

USAGE_COLUMNS = (
    "period_start", "period_end", "jalali_month", "user_id", "email", "full_name",
    "limit_hours", "used_hours", "reserved_hours", "finished_jobs",
)  # fmt: skip
WAITING_COLUMNS = (
    "jobs", "approved", "rejected", "started",
    "decision_p50_seconds", "decision_p95_seconds", "start_p50_seconds", "start_p95_seconds",
    "total_p50_seconds", "total_p95_seconds",
)  # fmt: skip
HOUR_DECIMALS, SECOND_DECIMALS = 4, 1


class UsageRow(ResponseModel):
    """One user's month: granted, used and reserved GPU-hours, and how many of its jobs have ended."""

    user: Person
    period_start: datetime
    period_end: datetime
    jalali_month: str
    limit_hours: float
    used_hours: float
    reserved_hours: float
    finished_jobs: int

    @classmethod
    def of(cls, row: Row[Any], zone: tzinfo) -> Self:
        return cls(
            user=Person(id=row.user_id, full_name=row.full_name, email=row.email),
            period_start=row.starts_at,
            period_end=row.ends_at,
            jalali_month=jalali_month(row.starts_at, zone),
            limit_hours=hours_from_seconds(row.limit_seconds),
            used_hours=hours_from_seconds(row.used_seconds),
            reserved_hours=hours_from_seconds(row.reserved_seconds),
            finished_jobs=row.finished_jobs,
        )


class Waits(ResponseModel):
    """How long the jobs submitted in a span waited, in seconds: half of them at most the p50, 95 % at most the p95.

    For the decision: those that were approved or rejected. For the start, from the approval on, and in total: those
    that have started. Null where there are none; jobs that still wait have no time yet.
    """

    jobs: int
    approved: int
    rejected: int
    started: int
    decision_p50_seconds: float | None
    decision_p95_seconds: float | None
    start_p50_seconds: float | None
    start_p95_seconds: float | None
    total_p50_seconds: float | None
    total_p95_seconds: float | None


class MonthOfWaits(Waits):
    """The waits of the jobs that were submitted in a month."""

    period_start: datetime
    period_end: datetime
    jalali_month: str

    @classmethod
    def of(cls, month: Period, row: Row[Any], zone: tzinfo) -> Self:
        return cls(
            period_start=month.starts_at,
            period_end=month.ends_at,
            jalali_month=jalali_month(month.starts_at, zone),
            **_waits(row),
        )


class GpuTypeOfWaits(Waits):
    """The waits of the jobs that asked for a GPU type."""

    gpu_type: str

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        return cls(gpu_type=row.gpu_type, **_waits(row))


def usage_table(rows: Iterable[UsageRow], zone: tzinfo) -> str:
    return spreadsheet.table(
        USAGE_COLUMNS,
        (
            (
                day(row.period_start, zone),
                day(row.period_end, zone),
                row.jalali_month,
                row.user.id,
                row.user.email,
                row.user.full_name,
                number(row.limit_hours, HOUR_DECIMALS),
                number(row.used_hours, HOUR_DECIMALS),
                number(row.reserved_hours, HOUR_DECIMALS),
                row.finished_jobs,
            )
            for row in rows
        ),
    )


def waiting_by_month_table(rows: Iterable[MonthOfWaits], zone: tzinfo) -> str:
    return spreadsheet.table(
        ("period_start", "period_end", "jalali_month", *WAITING_COLUMNS),
        ((day(row.period_start, zone), day(row.period_end, zone), row.jalali_month, *_cells(row)) for row in rows),
    )


def waiting_by_gpu_type_table(rows: Iterable[GpuTypeOfWaits]) -> str:
    return spreadsheet.table(("gpu_type", *WAITING_COLUMNS), ((row.gpu_type, *_cells(row)) for row in rows))


def _waits(row: Row[Any]) -> dict[str, Any]:
    seconds = {"decision": row.decision_seconds, "start": row.start_seconds, "total": row.total_seconds}
    return {
        "jobs": row.jobs,
        "approved": row.approved,
        "rejected": row.rejected,
        "started": row.started,
        **{f"{wait}_p50_seconds": round(both[0], 3) if both else None for wait, both in seconds.items()},
        **{f"{wait}_p95_seconds": round(both[1], 3) if both else None for wait, both in seconds.items()},
    }


def _cells(waits: Waits) -> list[Cell]:
    return [
        number(value, SECOND_DECIMALS) if column.endswith("_seconds") else value
        for column in WAITING_COLUMNS
        for value in (getattr(waits, column),)
    ]
