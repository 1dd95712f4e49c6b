"""The monthly quota on the wire, in GPU-hours."""

from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import Field
from sqlalchemy import Row

from app.domain.quota import EntryKind, QuotaBalance, hours_from_seconds
from app.schemas.people import Person
from app.schemas.text import Reason, RequestModel, ResponseModel

ChangeReason = Annotated[Reason, Field(examples=["Thesis deadline"])]


class QuotaRead(ResponseModel):
    """One user's present month. `available_hours` is what a new job may still reserve."""

    period_start: datetime
    period_end: datetime
    limit_hours: float
    reserved_hours: float
    used_hours: float
    available_hours: float

    @classmethod
    def of(cls, balance: QuotaBalance) -> Self:
        return cls(
            period_start=balance.starts_at,
            period_end=balance.ends_at,
            limit_hours=hours_from_seconds(balance.limit_seconds),
            reserved_hours=hours_from_seconds(balance.reserved_seconds),
            used_hours=hours_from_seconds(balance.used_seconds),
            available_hours=hours_from_seconds(balance.available_seconds),
        )


class QuotaEntryRead(ResponseModel):
    """Why the numbers of a month moved. Hours may be negative."""

    id: int
    kind: EntryKind
    period_start: datetime
    job_id: int | None
    job_name: str | None
    limit_hours: float
    reserved_hours: float
    used_hours: float
    note: str | None
    at: datetime
    actor: Person | None
    actor_process: str | None

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        return cls(
            id=row.id,
            kind=EntryKind(row.kind),
            period_start=row.period_start,
            job_id=row.job_id,
            job_name=row.job_name,
            limit_hours=hours_from_seconds(row.limit_delta),
            reserved_hours=hours_from_seconds(row.reserved_delta),
            used_hours=hours_from_seconds(row.used_delta),
            note=row.note,
            at=row.created_at,
            actor=Person.of_actor(row),
            actor_process=row.actor_process,
        )


class QuotaUpdate(RequestModel):
    """A new limit for the present month and the months after it."""

    limit_hours: Annotated[float, Field(ge=0, le=1_000_000)]
    reason: ChangeReason


class QuotaAdjustment(RequestModel):
    """A correction of the hours used in the present month: positive charges, negative gives back."""

    hours: Annotated[float, Field(ge=-1_000_000, le=1_000_000)]
    reason: ChangeReason
