"""Who is asking, and who an act is written down to."""

from dataclasses import dataclass
from typing import Self
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Either a person or a process of ours, such as `dispatcher:7` or `cli:root`. Every event names exactly one."""

    user_id: int | None = None
    process: str | None = None

    def __post_init__(self) -> None:
        if (self.user_id is None) == (self.process is None):
            raise ValueError("an actor is a user or a process, not both and not neither")

    @classmethod
    def dispatcher(cls, term: int) -> Self:
        return cls(process=f"dispatcher:{term}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The signed-in person behind a request, as the database knew them when the request came in."""

    user_id: int
    email: str
    full_name: str | None
    is_admin: bool
    locale: str | None
    session_id: UUID
    token_version: int

    @property
    def actor(self) -> Actor:
        return Actor(user_id=self.user_id)
