"""The only place that asks what time it is. Code that needs the time takes a `Clock`, so that tests can move it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, as an aware datetime in UTC."""
    return datetime.now(UTC)
