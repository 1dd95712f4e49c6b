"""Who is asking, with which rights, and who an act is written down to."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self
from uuid import UUID


class Scope(StrEnum):
    """What a personal token is good for. None includes another, and none gives a right that its owner has not."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    ADMIN = "admin"


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
    """The person behind a request, as the database knew them when the request came in.

    They have signed in, or sent a program with a personal token. Behind a token without the scope `admin` nobody is an
    admin.
    """

    user_id: int
    email: str
    full_name: str | None
    is_admin: bool
    locale: str | None
    credential_id: UUID
    """Of the session, or of the personal token."""
    token_version: int
    scopes: frozenset[Scope] | None = None
    """Of the personal token; None: signed in, which is good for everything."""

    @property
    def actor(self) -> Actor:
        return Actor(user_id=self.user_id)

    def has(self, scope: Scope) -> bool:
        return self.scopes is None or scope in self.scopes
