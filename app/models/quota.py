"""The quota ledger: a row per user and month, and an append-only entry for every move of its numbers."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.quota import EntryKind
from app.models.base import ONE_ACTOR, Base, BigIntId, CreatedAt, EventId, WrittenBy, one_of


class UserQuota(Base):
    """One user's month `[starts_at, ends_at)`, in GPU-seconds."""

    __tablename__ = "user_quotas"
    __table_args__ = (
        UniqueConstraint("user_id", "starts_at"),
        CheckConstraint("starts_at < ends_at", name="begins_before_it_ends"),
        CheckConstraint("reserved_seconds >= 0", name="reserved_not_negative"),
        CheckConstraint("used_seconds >= 0", name="used_not_negative"),
        CheckConstraint("reserved_seconds + used_seconds <= limit_seconds", name="within_limit"),
        ExcludeConstraint(
            (text("int8range(user_id, user_id, '[]')"), "&&"),
            (text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_user_quotas_no_overlap",
        ),
    )

    id: Mapped[BigIntId]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    limit_seconds: Mapped[int]
    reserved_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    used_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class QuotaEntry(Base):
    """Why the numbers of a month moved. The deltas of a month's entries add up to its row. Never changed or deleted."""

    __tablename__ = "quota_entries"
    __table_args__ = (
        one_of("kind", EntryKind),
        CheckConstraint(ONE_ACTOR, name="one_actor"),
        CheckConstraint("(job_id IS NULL) = (kind IN ('GRANT', 'LIMIT', 'ADJUST'))", name="job_where_one_is_due"),
        Index("uq_quota_entries_one_reserve", "job_id", unique=True, postgresql_where=text("kind = 'RESERVE'")),
        Index(
            "uq_quota_entries_one_settlement",
            "job_id",
            unique=True,
            postgresql_where=text("kind IN ('SETTLE', 'RELEASE')"),
        ),
        Index("ix_quota_entries_user_id_id", "user_id", "id"),
        CheckConstraint("kind <> 'REFUND' OR used_delta < 0", name="refund_gives_back"),
        Index("ix_quota_entries_stream", "xid", "id", postgresql_where=text("kind IN ('LIMIT', 'ADJUST', 'REFUND')")),
        Index("ix_quota_entries_refunds", "job_id", postgresql_where=text("kind = 'REFUND'")),
    )

    id: Mapped[EventId]
    quota_id: Mapped[int] = mapped_column(ForeignKey("user_quotas.id"))
    user_id: Mapped[int]
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    kind: Mapped[str]
    limit_delta: Mapped[int] = mapped_column(server_default=text("0"))
    reserved_delta: Mapped[int] = mapped_column(server_default=text("0"))
    used_delta: Mapped[int] = mapped_column(server_default=text("0"))
    note: Mapped[str | None]
    actor_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    actor_process: Mapped[str | None]
    xid: Mapped[WrittenBy]
    created_at: Mapped[CreatedAt]
