"""Jobs, what happened to them, and the counts that lists show."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.execution import EndReason
from app.domain.job_state import FINAL, JobStatus
from app.models.base import (
    ONE_ACTOR,
    Base,
    BigIntId,
    CreatedAt,
    EventId,
    WrittenBy,
    one_of,
    sql_list,
)

FINAL_LIST = sql_list(sorted(FINAL))
NAME_WORDS = "to_tsvector('simple', translate(name, '._-/,@+=#~', '          '))"
"""The words of a name. Without the `translate`, PostgreSQL takes `train.py` and `exp/7/run` for one word each."""
EVENT_KINDS = ("TRANSITION", "DISPATCHED", "CANCEL_REQUESTED")


class Job(Base):
    """A request to run a command on GPUs, and the single run that it may become.

    `status` is assigned by one function only, `services/transitions.py`; a trigger refuses any pair that the state
    machine does not know. Times only ever grow: created, decided, started, finished.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        one_of("status", JobStatus),
        one_of("reason", EndReason),
        CheckConstraint("char_length(name) BETWEEN 1 AND 255", name="name_length"),
        CheckConstraint("char_length(command) BETWEEN 1 AND 16384", name="command_length"),
        CheckConstraint("num_gpus BETWEEN 1 AND 64", name="num_gpus_range"),
        CheckConstraint("time_limit_seconds BETWEEN 1 AND 2592000", name="time_limit_range"),
        CheckConstraint("reserved_seconds >= num_gpus::bigint * time_limit_seconds", name="reserves_its_size"),
        CheckConstraint("charged_seconds BETWEEN 0 AND reserved_seconds", name="charge_within_reservation"),
        CheckConstraint("charged_seconds = 0 OR started_at IS NOT NULL", name="charged_only_if_it_ran"),
        CheckConstraint("measured_seconds >= 0", name="measured_not_negative"),
        CheckConstraint(f"(status IN {FINAL_LIST}) = (finished_at IS NOT NULL)", name="finished_iff_final"),
        CheckConstraint(f"(status IN {FINAL_LIST}) = (reason IS NOT NULL)", name="reason_iff_final"),
        CheckConstraint(
            "status NOT IN ('RUNNING', 'COMPLETED', 'FAILED') OR started_at IS NOT NULL", name="started_if_it_ran"
        ),
        CheckConstraint("status NOT IN ('PENDING', 'REJECTED') OR started_at IS NULL", name="not_started_undecided"),
        CheckConstraint("status = 'PENDING' OR status = 'CANCELLED' OR decided_at IS NOT NULL", name="decided"),
        CheckConstraint("started_at IS NULL OR run_id IS NOT NULL", name="run_id_if_started"),
        CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name="decided_by_somebody"),
        CheckConstraint("decided_at >= created_at", name="decided_after_created"),
        CheckConstraint("started_at >= decided_at", name="started_after_decided"),
        CheckConstraint("finished_at >= coalesce(started_at, decided_at, created_at)", name="finished_last"),
        CheckConstraint("progress BETWEEN 0 AND 1", name="progress_range"),
        Index("ix_jobs_user_id_id", "user_id", "id"),
        Index("ix_jobs_user_id_status_id", "user_id", "status", "id"),
        Index("ix_jobs_status_id", "status", "id"),
        Index("ix_jobs_gpu_type_status_id", "gpu_type", "status", "id"),
        Index("ix_jobs_created_at", "created_at", postgresql_using="brin", postgresql_with={"autosummarize": True}),
        Index("ix_jobs_name_words", text(NAME_WORDS), postgresql_using="gin"),
        Index(
            "ix_jobs_to_launch",
            "id",
            postgresql_where=text("run_id IS NOT NULL AND launched_at IS NULL AND finished_at IS NULL"),
        ),
        Index(
            "ix_jobs_to_stop", "id", postgresql_where=text("cancel_requested_at IS NOT NULL AND finished_at IS NULL")
        ),
        Index(
            "ix_jobs_queue",
            "gpu_type",
            "decided_at",
            "id",
            "num_gpus",
            postgresql_where=text("status = 'APPROVED' AND run_id IS NULL"),
        ),
        Index("ix_jobs_lost", "id", postgresql_where=text("reason = 'LOST'")),
        UniqueConstraint("run_id"),
    )

    id: Mapped[BigIntId]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    quota_id: Mapped[int] = mapped_column(ForeignKey("user_quotas.id"))
    name: Mapped[str]
    gpu_type: Mapped[str]
    num_gpus: Mapped[int] = mapped_column(Integer)
    time_limit_seconds: Mapped[int] = mapped_column(Integer)
    command: Mapped[str]
    data_location: Mapped[str | None]
    is_sensitive: Mapped[bool]
    justification: Mapped[str | None]

    status: Mapped[str] = mapped_column(server_default=text("'PENDING'"))
    reason: Mapped[str | None]
    wait_reason: Mapped[str | None]
    queue_reason: Mapped[str | None]
    error_message: Mapped[str | None]
    exit_code: Mapped[int | None] = mapped_column(Integer)
    exit_signal: Mapped[int | None] = mapped_column(Integer)
    progress: Mapped[float | None]

    reserved_seconds: Mapped[int]
    charged_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    measured_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    event_seq: Mapped[int] = mapped_column(Integer, server_default=text("1"))

    decided_at: Mapped[datetime | None]
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    decision_note: Mapped[str | None]
    approved_digest: Mapped[bytes | None]
    """SHA-256 of the request that was approved. Nothing else is launched."""

    run_id: Mapped[UUID | None]
    executor: Mapped[str | None]
    engine_job_id: Mapped[str | None]
    placement: Mapped[str | None]
    expected_start_at: Mapped[datetime | None]
    dispatched_at: Mapped[datetime | None]
    launched_at: Mapped[datetime | None]
    unknown_since: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    cancel_requested_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    cancel_reason: Mapped[str | None]

    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobEvent(Base):
    """One step in a job's life, numbered 1..n without a gap and written in the transaction that made the step.

    Events that are no transition (a cancel request, a hand-over to an engine's queue) have equal `from` and `to`.
    """

    __tablename__ = "job_events"
    __table_args__ = (
        one_of("kind", EVENT_KINDS),
        one_of("to_status", JobStatus),
        CheckConstraint(ONE_ACTOR, name="one_actor"),
        CheckConstraint("(from_status IS NULL) = (seq = 1)", name="first_has_no_from"),
        UniqueConstraint("job_id", "seq"),
        Index(
            "uq_job_events_one_end",
            "job_id",
            unique=True,
            postgresql_where=text(f"kind = 'TRANSITION' AND to_status IN {FINAL_LIST}"),
        ),
        Index("ix_job_events_stream", "xid", "id"),
    )

    id: Mapped[EventId]
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    user_id: Mapped[int]
    seq: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(server_default=text("'TRANSITION'"))
    from_status: Mapped[str | None]
    to_status: Mapped[str]
    reason: Mapped[str | None]
    note: Mapped[str | None]
    actor_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    actor_process: Mapped[str | None]
    xid: Mapped[WrittenBy]
    created_at: Mapped[CreatedAt]


class JobCount(Base):
    """How many jobs a user has in a status. Kept, because counting a million rows takes a third of a second."""

    __tablename__ = "job_counts"
    __table_args__ = (one_of("status", JobStatus), CheckConstraint("jobs >= 0", name="jobs_not_negative"))

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    status: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int]


class IdempotencyKey(Base):
    """A client's own name for one submission, kept for 24 hours, so that a retry cannot make a second job."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("char_length(key) BETWEEN 1 AND 255", name="key_length"),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[bytes]
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    created_at: Mapped[CreatedAt]
