"""Reports on the wire."""

from datetime import datetime

from app.schemas.people import Person
from app.schemas.text import ResponseModel


class UsageRow(ResponseModel):
    """One user's month: granted, used and reserved GPU-hours, and how many of its jobs have ended."""

    user: Person
    period_start: datetime
    period_end: datetime
    jalali_month: str
    limit_hours: float
    used_hours: float
    reserved_hours: float
    finished_jobs: int
