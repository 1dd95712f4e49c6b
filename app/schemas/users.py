"""Accounts on the wire."""

from datetime import datetime

from pydantic import Field

from app.schemas.jobs import JobCounts
from app.schemas.messages import Language
from app.schemas.people import FullName
from app.schemas.quotas import QuotaRead
from app.schemas.text import RequestModel, ResponseModel


class UserRead(ResponseModel):
    """An account, as its owner and the admins see it."""

    id: int = Field(examples=[7])
    email: str = Field(examples=["sara@example.com"])
    full_name: str | None = Field(examples=["سارا محمدی"])
    is_admin: bool
    is_active: bool
    locale: Language | None
    created_at: datetime
    updated_at: datetime


class StandingRead(ResponseModel):
    """What an approver wants to know of a person: what is left of the month, and the jobs so far by status."""

    user_id: int = Field(examples=[7])
    quota: QuotaRead
    counts: JobCounts


class UserUpdate(RequestModel):
    """What admins may change. A field that is left out stays as it is; a `full_name` of null is cleared."""

    is_admin: bool | None = Field(default=None, examples=[True])
    is_active: bool | None = Field(default=None, examples=[True])
    full_name: FullName | None = None
