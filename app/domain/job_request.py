"""What a person asks for: a job, in the units of the system, and a list of jobs."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from app.domain.job_state import JobStatus


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a person asks for. `time_limit_seconds` is the wall time after which the run is stopped."""

    name: str
    gpu_type: str
    num_gpus: int
    time_limit_seconds: int
    command: str
    data_location: str | None = None
    is_sensitive: bool = False
    justification: str | None = None

    @classmethod
    def of(cls, job: Any) -> Self:
        """What a job's row was submitted with."""
        return cls(**{field.name: getattr(job, field.name) for field in fields(cls)})

    @property
    def digest(self) -> bytes:
        """SHA-256, the same for the same request: what idempotency keys and approvals are checked against.

        What was not asked for is left out, so that a field that is added later changes no digest that is kept.
        """
        asked = {name: value for name, value in asdict(self).items() if value is not None and value is not False}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows. `user_id` None means everybody's, which only admins may ask for."""

    user_id: int | None = None
    statuses: tuple[JobStatus, ...] = ()
    gpu_type: str | None = None
    search: str | None = None
    oldest_first: bool = False
