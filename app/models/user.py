"""People, and how often they failed to sign in."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, BigIntId, CreatedAt, one_of

LOCALES = ("fa", "en")


class User(Base):
    """A person. Never deleted, only deactivated. A trigger raises `token_version` when rights or password change."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_lower_email", text("lower(email)"), unique=True),
        Index("ix_users_active_admins", "id", postgresql_where=text("is_admin AND is_active")),
        CheckConstraint("char_length(email) BETWEEN 3 AND 254", name="email_length"),
        CheckConstraint("char_length(full_name) BETWEEN 1 AND 200", name="full_name_length"),
        one_of("locale", LOCALES),
    )

    id: Mapped[BigIntId]
    email: Mapped[str]
    full_name: Mapped[str | None]
    password_hash: Mapped[str]
    is_admin: Mapped[bool] = mapped_column(server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    token_version: Mapped[int] = mapped_column(server_default=text("1"))
    locale: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LoginFailure(Base):
    """A failed sign-in, counted per account and per address. `subject` is `account:…` or `address:…`."""

    __tablename__ = "login_failures"
    __table_args__ = (Index("ix_login_failures_subject_failed_at", "subject", "failed_at"),)

    id: Mapped[BigIntId]
    subject: Mapped[str]
    failed_at: Mapped[datetime]
