"""The lists that are exported for spreadsheets: their columns, and the cells of their rows."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import Row

from app.domain.periods import jalali_month
from app.domain.quota import hours_from_seconds
from app.schemas.spreadsheet import Cell, day, moment, number

HOUR_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class Sheet:
    """What a row of a list looks like in a spreadsheet: the names of its columns, and its cells in their order."""

    name: str
    columns: Sequence[str]
    cells: Callable[[Row[Any], tzinfo], Sequence[Cell]]


def _job_cells(row: Row[Any], zone: tzinfo) -> Sequence[Cell]:
    return (
        row.id,
        row.name,
        row.owner_email,
        row.owner_full_name,
        row.status,
        row.reason,
        row.gpu_type,
        row.num_gpus,
        _hours(row.time_limit_seconds),
        _hours(row.reserved_seconds),
        _hours(row.charged_seconds),
        *moment(row.created_at, zone),
        *moment(row.decided_at, zone),
        *moment(row.started_at, zone),
        *moment(row.finished_at, zone),
        row.decider_email,
        row.decision_note,
    )


def _audit_cells(row: Row[Any], zone: tzinfo) -> Sequence[Cell]:
    return (
        row.id,
        *moment(row.created_at, zone),
        row.action,
        row.actor_email,
        row.actor_full_name,
        row.actor_process,
        row.target_type,
        row.target_id,
        json.dumps(row.details, ensure_ascii=False),
        row.request_id,
        row.address,
    )


def _quota_entry_cells(row: Row[Any], zone: tzinfo) -> Sequence[Cell]:
    return (
        row.id,
        *moment(row.created_at, zone),
        row.kind,
        day(row.period_start, zone),
        jalali_month(row.period_start, zone),
        row.job_id,
        row.job_name,
        _hours(row.limit_delta),
        _hours(row.reserved_delta),
        _hours(row.used_delta),
        row.note,
        row.actor_email,
        row.actor_full_name,
        row.actor_process,
    )


def _hours(seconds: int) -> Cell:
    return number(hours_from_seconds(seconds), HOUR_DECIMALS)


JOBS = Sheet(
    name="jobs",
    columns=(
        "id", "name", "owner_email", "owner_name", "status", "reason", "gpu_type", "num_gpus", "estimated_hours",
        "reserved_gpu_hours", "charged_gpu_hours", "submitted_at", "submitted_jalali", "decided_at", "decided_jalali",
        "started_at", "started_jalali", "finished_at", "finished_jalali", "decided_by", "decision_note",
    ),
    cells=_job_cells,
)  # fmt: skip
AUDIT_ENTRIES = Sheet(
    name="audit",
    columns=(
        "id", "at", "at_jalali", "action", "actor_email", "actor_name", "actor_process", "target_type", "target_id",
        "details", "request_id", "address",
    ),
    cells=_audit_cells,
)  # fmt: skip
QUOTA_ENTRIES = Sheet(
    name="quota-entries",
    columns=(
        "id", "at", "at_jalali", "kind", "period_start", "jalali_month", "job_id", "job_name", "limit_hours",
        "reserved_hours", "used_hours", "note", "actor_email", "actor_name", "actor_process",
    ),
    cells=_quota_entry_cells,
)  # fmt: skip
