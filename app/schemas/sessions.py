"""Signed-in sessions on the wire."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from app.schemas.text import ResponseModel


class SessionRead(ResponseModel):
    """One sign-in of yours that has not ended. Where it was opened is as the browser and the network told it."""

    id: UUID
    created_at: datetime
    last_used_at: datetime = Field(description="When it was renewed last. One in use is, every few minutes.")
    expires_at: datetime
    address: str | None = Field(examples=["192.0.2.10"])
    user_agent: str | None = Field(examples=["Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"])
    current: bool = Field(description="Whether it is the one that asks.")
