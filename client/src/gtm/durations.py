"""Time limits: text such as `4h` or `1-02:00:00` to a duration, a duration to the API's hours, and back to text."""

import re
from datetime import timedelta

from gtm.digits import fold_digits
from gtm.errors import UsageError

LONGEST = timedelta(hours=720)
SHORTEST = timedelta(seconds=1)
HOW_TO_WRITE = "Write it as 4h, 90m, 1h30m, 2:30:00 (hours, minutes, seconds) or 1-02:00:00 (with days)."

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_AMOUNT = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_WITH_UNITS = re.compile(rf"(?:{_AMOUNT}[dhms])+")
_ONE_UNIT = re.compile(rf"({_AMOUNT})([dhms])")
_WITH_COLONS = re.compile(
    r"(?:(?P<days>[0-9]{1,3})-)?(?P<hours>[0-9]{1,3})(?::(?P<minutes>[0-5][0-9]))?(?::(?P<seconds>[0-5][0-9]))?"
)
_WITHOUT_UNIT = re.compile(_AMOUNT)


def parse_duration(text: str) -> timedelta:
    """A time limit as people and Slurm write it; a number alone is refused, because Slurm means minutes by it.

    Raises:
        UsageError: not a time, ambiguous, shorter than a second or longer than 720 hours.
    """
    duration = _duration(fold_digits(text).lower(), written=text)
    if not SHORTEST <= duration <= LONGEST:
        raise UsageError(
            f"A time limit of {text} is out of range: from one second to 720 hours (30 days) are possible."
        )
    return duration


def hours_of(duration: timedelta) -> float:
    """As the API counts: hours."""
    return duration / timedelta(hours=1)


def format_hours(hours: float) -> str:
    """The API's hours as this module reads them: `1d2h`, `1h30m`, `45s`; `0s` for nothing."""
    left = round(hours * 3_600)
    parts = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _duration(folded: str, *, written: str) -> timedelta:
    if _WITHOUT_UNIT.fullmatch(folded):
        raise UsageError(
            f"A time limit of {written} is ambiguous: write {folded}m for minutes, or {folded}h for hours."
        )
    if _WITH_UNITS.fullmatch(folded):
        return _add_up(folded, written=written)
    clock = _WITH_COLONS.fullmatch(folded)
    if clock is None:
        raise UsageError(f"{written!r} is not a time limit. {HOW_TO_WRITE}")
    if clock["days"] is None and clock["seconds"] is None:
        hours, minutes = int(clock["hours"]), int(clock["minutes"])
        raise UsageError(
            f"A time limit of {written} is ambiguous: write {hours}h{minutes}m for hours and minutes, "
            f"or {hours}m{minutes}s for minutes and seconds."
        )
    return timedelta(**{unit: int(count) for unit, count in clock.groupdict(default="0").items()})


def _add_up(folded: str, *, written: str) -> timedelta:
    parts = _ONE_UNIT.findall(folded)
    units = [unit for _, unit in parts]
    if units != sorted(set(units), key=list(_UNITS).index):
        raise UsageError(f"{written!r} is not a time limit: each unit once, the largest first, as in 1d2h30m.")
    return timedelta(seconds=sum(float(amount) * _UNITS[unit] for amount, unit in parts))
