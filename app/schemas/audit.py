"""The audit log on the wire."""

from datetime import datetime
from typing import Any, Self

from pydantic import Field
from sqlalchemy import Row

from app.schemas.people import Person
from app.schemas.text import ResponseModel


class AuditRead(ResponseModel):
    """One act: who, what, to whom, from where. Either `actor` or `actor_process` is there, never both."""

    id: int
    at: datetime
    action: str = Field(examples=["user.promoted"])
    actor: Person | None
    actor_process: str | None = Field(description="A program, such as `cli:root` or `dispatcher:7`.")
    target_type: str = Field(examples=["user"])
    target_id: int | None = Field(examples=[7])
    target_name: str | None = Field(description="The person's e-mail address, the job's name or the GPU's place, now.")
    details: dict[str, Any] = Field(examples=[{"email": "sara@example.com"}])
    request_id: str | None = Field(description="Names the request in the service's logs.")
    address: str | None = Field(examples=["192.0.2.10"])

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        return cls(
            id=row.id,
            at=row.created_at,
            action=row.action,
            actor=Person.of_actor(row),
            actor_process=row.actor_process,
            target_type=row.target_type,
            target_id=row.target_id,
            target_name=row.target_name,
            details=row.details,
            request_id=row.request_id,
            address=row.address,
        )
