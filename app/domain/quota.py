"""GPU-second arithmetic. Inside the system a quota is a whole number of GPU-seconds; hours exist only at the edge."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from app.domain.execution import TimeKeeping

SECONDS_PER_HOUR = 3600


class EntryKind(StrEnum):
    """Why a period's numbers moved."""

    GRANT = "GRANT"
    """The limit a period began with."""
    LIMIT = "LIMIT"
    """An admin changed the limit."""
    RESERVE = "RESERVE"
    """A job was submitted: GPUs × the longest that it can hold them."""
    MOVE_OUT = "MOVE_OUT"
    MOVE_IN = "MOVE_IN"
    """A job starts in a later month than the one it was submitted in; its reservation moves there."""
    SETTLE = "SETTLE"
    """A job that ran has ended: the reservation goes, the measured use stays."""
    RELEASE = "RELEASE"
    """A job that never ran has ended: the reservation goes."""
    REFUND = "REFUND"
    """What a job was charged is given back, or a part of it: its node failed, or an admin decided so."""
    ADJUST = "ADJUST"
    """An admin corrected the used hours."""


@dataclass(frozen=True, slots=True)
class QuotaBalance:
    """One user's month, in GPU-seconds. `limit >= reserved + used` always holds."""

    starts_at: datetime
    ends_at: datetime
    limit_seconds: int
    reserved_seconds: int
    used_seconds: int

    @property
    def available_seconds(self) -> int:
        return self.limit_seconds - self.reserved_seconds - self.used_seconds


def seconds_from_hours(hours: float) -> int:
    """Hours as a person wrote them, to the nearest second; 0.1 is 360 seconds, not 361."""
    return int((Decimal(str(hours)) * SECONDS_PER_HOUR).quantize(Decimal(1), ROUND_HALF_UP))


def hours_from_seconds(seconds: int) -> float:
    return seconds / SECONDS_PER_HOUR


def reservation(num_gpus: int, time_limit_seconds: int, keeping: TimeKeeping) -> int:
    """GPU-seconds set aside at submission: the most that the job can use."""
    return num_gpus * keeping.longest_hold_seconds(time_limit_seconds)


def beyond_limit(reserved_seconds: int, num_gpus: int, time_limit_seconds: int) -> int:
    """GPU-seconds of a reservation that are not for the time asked for, but for how the engine keeps it."""
    return reserved_seconds - num_gpus * time_limit_seconds


def charge(reserved_seconds: int, num_gpus: int, elapsed: timedelta) -> int:
    """GPU-seconds to pay: what the engine measured, a begun second counting whole, never more than was reserved."""
    measured_seconds = max(0, math.ceil(elapsed.total_seconds()))
    return min(reserved_seconds, num_gpus * measured_seconds)
