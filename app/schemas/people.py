"""A person, as other people see one."""

from typing import Annotated, Any, Self

from pydantic import Field
from sqlalchemy import Row

from app.schemas.text import Name, ResponseModel

FullName = Annotated[Name, Field(min_length=1, max_length=200, examples=["سارا محمدی"])]


class Person(ResponseModel):
    id: int
    full_name: str | None
    email: str

    @classmethod
    def of_actor(cls, row: Row[Any]) -> Self | None:
        """From a row with `actor_id`, `actor_full_name` and `actor_email`; None where a process acted."""
        if row.actor_id is None:
            return None
        return cls(id=row.actor_id, full_name=row.actor_full_name, email=row.actor_email)
