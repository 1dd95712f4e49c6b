"""Live events on the wire: enough for a badge; the whole is read from the API."""

from datetime import datetime

from app.domain.job_state import JobStatus
from app.schemas.text import ResponseModel


class JobChanged(ResponseModel):
    job_id: int
    user_id: int
    seq: int
    kind: str
    from_status: JobStatus | None
    to_status: JobStatus
    reason: str | None
    at: datetime


class QuotaChanged(ResponseModel):
    user_id: int
    kind: str
    at: datetime


class StreamReset(ResponseModel):
    """Read again what you show: the stream goes on from here."""

    cursor: str
