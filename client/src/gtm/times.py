"""The API's moments (RFC 3339, UTC) as a person reads them: in the zone of this machine, in the calendar they chose."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from gtm.errors import UsageError
from gtm.output import plain

FORM = "%Y-%m-%d %H:%M"


def moments(calendar: str) -> Callable[[Any], str]:
    """How a moment is shown: `2026-11-29 14:05`, or with the calendar `jalali` `1405-09-08 14:05`.

    Raises:
        UsageError: `jalali`, and the package for it is not installed.
    """
    written = _jalali() if calendar == "jalali" else _gregorian
    return lambda moment: written(parse_moment(moment).astimezone()) if moment else plain(None)


def parse_moment(text: str) -> datetime:
    """An aware datetime. Python 3.10 does not read the `Z`."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _gregorian(local: datetime) -> str:
    return local.strftime(FORM)


def _jalali() -> Callable[[datetime], str]:
    try:
        import jdatetime
    except ImportError:
        raise UsageError(
            "The Jalali calendar needs a package that is not installed.",
            hint=f"{sys.executable} -m pip install jdatetime",
        ) from None

    def written(local: datetime) -> str:
        text: str = jdatetime.datetime.fromgregorian(datetime=local).strftime(FORM)
        return text

    return written
