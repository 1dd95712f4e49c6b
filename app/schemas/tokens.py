"""Personal access tokens on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.domain.identity import Scope
from app.schemas.text import Name, RequestModel, ResponseModel

LONGEST_DAYS = 365


class TokenCreate(RequestModel):
    name: Name = Field(min_length=1, max_length=100, description="What it is for.", examples=["nightly runs"])
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=10)] = Field(
        description="What it is good for; none includes another. `admin` is for admins, and means all that they may do."
    )
    expires_in_days: int = Field(default=30, ge=1, le=LONGEST_DAYS)


class PersonalTokenRead(ResponseModel):
    """One of your tokens that is neither revoked nor out of its time. Nobody can read its secret any more."""

    id: UUID
    name: str = Field(examples=["nightly runs"])
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="To the minute; null: never.")
    current: bool = Field(description="Whether it is the one that asks.")


class PersonalTokenCreated(PersonalTokenRead):
    """The new token, with its secret: it is shown this once."""

    token: str = Field(examples=["gtm_3v0gFh…"])
