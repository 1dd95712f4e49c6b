"""Who did what to whom: the record for people who have to answer for it."""

from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import ONE_ACTOR, Base, BigIntId, CreatedAt


class AuditEntry(Base):
    """One administrative or security act. Never changed or deleted; triggers refuse it, TRUNCATE included."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        CheckConstraint(ONE_ACTOR, name="one_actor"),
        Index("ix_audit_entries_created_at_id", "created_at", "id"),
        Index("ix_audit_entries_action_created_at_id", "action", "created_at", "id"),
        Index("ix_audit_entries_actor_user_id_created_at_id", "actor_user_id", "created_at", "id"),
        Index("ix_audit_entries_target_type_created_at_id", "target_type", "created_at", "id"),
        Index("ix_audit_entries_target", "target_id", "target_type", "created_at", "id"),
    )

    id: Mapped[BigIntId]
    actor_user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    actor_process: Mapped[str | None]
    action: Mapped[str]
    target_type: Mapped[str]
    target_id: Mapped[int | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    request_id: Mapped[str | None]
    address: Mapped[str | None] = mapped_column(INET)
    created_at: Mapped[CreatedAt]
