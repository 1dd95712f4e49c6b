"""Personal access tokens."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Text

from app.domain.identity import Scope
from app.models.base import Base, CreatedAt

KNOWN_SCOPES = ", ".join(f"'{scope}'" for scope in Scope)


class PersonalAccessToken(Base):
    """What a person's program shows instead of a password. Only the SHA-256 digest is stored.

    A trigger revokes all tokens of a person who is disabled, loses admin rights, or gets another password.
    """

    __tablename__ = "personal_access_tokens"
    __table_args__ = (
        CheckConstraint("char_length(name) BETWEEN 1 AND 100", name="name_length"),
        CheckConstraint(
            f"cardinality(scopes) > 0 AND scopes <@ ARRAY[{KNOWN_SCOPES}]::text[]",
            name="scopes_known",
        ),
        CheckConstraint("expires_at <= created_at + interval '366 days'", name="a_year_at_most"),
        Index("uq_personal_access_tokens_token_sha256", "token_sha256", unique=True),
        Index("ix_personal_access_tokens_user_id", "user_id", postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str]
    token_sha256: Mapped[bytes]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
