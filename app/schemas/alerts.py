"""Alerts on the wire."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Self

from pydantic import Field
from sqlalchemy import Row

from app.schemas.gpus import GpuHolder
from app.schemas.people import Person
from app.schemas.text import ResponseModel


class ForeignJobRead(ResponseModel):
    """A job in the engine that runs or waits in the service's name, and that the service did not submit."""

    id: int
    executor: str
    engine_job_id: str
    name: str
    num_gpus: int | None = Field(description="How many GPUs it holds; null: none, or the engine does not tell.")
    seen_at: datetime
    cancelled_at: datetime | None = Field(description="When the service cancelled it (`SLURM_FOREIGN_JOBS=cancel`).")


class AlertsRead(ResponseModel):
    """What goes on in the fleet against the rules."""

    overstaying: list[GpuHolder] = Field(
        description="Jobs that should have ended five minutes ago, by what was reserved or because they were cancelled."
    )
    foreign_jobs: list[ForeignJobRead]

    @classmethod
    def of(cls, *, overstaying: Sequence[Row[Any]], foreign_jobs: Sequence[Row[Any]]) -> Self:
        """Build from rows of the two queries."""
        return cls(
            overstaying=[
                GpuHolder(
                    id=row.id,
                    name=row.name,
                    owner=Person(id=row.user_id, full_name=row.owner_full_name, email=row.owner_email),
                )
                for row in overstaying
            ],
            foreign_jobs=[ForeignJobRead.model_validate(row, from_attributes=True) for row in foreign_jobs],
        )
