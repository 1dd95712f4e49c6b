"""What engines have told of themselves."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, Integer, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntId


class Engine(Base):
    """How exactly an engine keeps time limits: what is reserved for a job follows from it."""

    __tablename__ = "engines"
    __table_args__ = (CheckConstraint("limit_step_seconds >= 1 AND ending_seconds >= 0", name="keeps_time"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    limit_step_seconds: Mapped[int] = mapped_column(Integer)
    ending_seconds: Mapped[int] = mapped_column(Integer)
    seen_at: Mapped[datetime]


class ForeignJob(Base):
    """A job that an engine ran or queued in the service's name, and that the service did not submit."""

    __tablename__ = "foreign_jobs"
    __table_args__ = (
        Index(
            "uq_foreign_jobs_present",
            "executor",
            "engine_job_id",
            unique=True,
            postgresql_where=text("gone_at IS NULL"),
        ),
    )

    id: Mapped[BigIntId]
    executor: Mapped[str]
    engine_job_id: Mapped[str]
    name: Mapped[str]
    num_gpus: Mapped[int | None] = mapped_column(Integer)
    seen_at: Mapped[datetime]
    cancelled_at: Mapped[datetime | None]
    gone_at: Mapped[datetime | None]
