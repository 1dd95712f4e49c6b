"""The fleet: GPUs, who holds them, and the lease of the one process that may hand them out."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntId, CreatedAt


class Gpu(Base):
    """A GPU that an engine knows. It takes jobs unless drained, quarantined, contended, busy, offline or retired.

    `is_busy` and `offline_reason` are the engine's words: it gave the GPU to somebody itself, or to nobody for now.
    """

    __tablename__ = "gpus"
    __table_args__ = (
        UniqueConstraint("executor", "node", "gpu_index"),
        CheckConstraint("(drained_at IS NULL) = (drain_reason IS NULL)", name="drained_with_a_reason"),
        Index("ix_gpus_gpu_type", "gpu_type", postgresql_where=text("retired_at IS NULL")),
    )

    id: Mapped[BigIntId]
    executor: Mapped[str]
    node: Mapped[str]
    gpu_index: Mapped[int] = mapped_column(Integer)
    gpu_type: Mapped[str]
    uuid: Mapped[str]
    memory_bytes: Mapped[int]
    is_contended: Mapped[bool] = mapped_column(server_default=text("false"))
    is_busy: Mapped[bool] = mapped_column(server_default=text("false"))
    offline_reason: Mapped[str | None]
    is_quarantined: Mapped[bool] = mapped_column(server_default=text("false"))
    drained_at: Mapped[datetime | None]
    drain_reason: Mapped[str | None]
    drained_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    last_seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
    retired_at: Mapped[datetime | None]


class GpuAllocation(Base):
    """One GPU held by one run. At most one allocation of a GPU is open."""

    __tablename__ = "gpu_allocations"
    __table_args__ = (
        Index("uq_gpu_allocations_one_open", "gpu_id", unique=True, postgresql_where=text("released_at IS NULL")),
        Index("ix_gpu_allocations_job_id", "job_id"),
        CheckConstraint("released_at >= allocated_at", name="released_after_allocated"),
    )

    id: Mapped[BigIntId]
    gpu_id: Mapped[int] = mapped_column(ForeignKey("gpus.id"))
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    run_id: Mapped[UUID]
    allocated_at: Mapped[CreatedAt]
    released_at: Mapped[datetime | None]


class DispatcherLease(Base):
    """The single row that says which dispatcher may write. `term` grows with every new holder and fences old ones."""

    __tablename__ = "dispatcher_lease"
    __table_args__ = (CheckConstraint("singleton", name="one_row"),)

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    holder: Mapped[str | None]
    term: Mapped[int] = mapped_column(server_default=text("0"))
    expires_at: Mapped[datetime] = mapped_column(server_default=text("'-infinity'"))
    renewed_at: Mapped[datetime] = mapped_column(server_default=func.now())
