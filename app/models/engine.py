"""What engines have told of themselves."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Integer
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class Engine(Base):
    """How exactly an engine keeps time limits: what is reserved for a job follows from it."""

    __tablename__ = "engines"
    __table_args__ = (CheckConstraint("limit_step_seconds >= 1 AND ending_seconds >= 0", name="keeps_time"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    limit_step_seconds: Mapped[int] = mapped_column(Integer)
    ending_seconds: Mapped[int] = mapped_column(Integer)
    seen_at: Mapped[datetime]
