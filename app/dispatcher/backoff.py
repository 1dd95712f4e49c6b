"""When to try again what keeps failing: soon at first, then less and less often."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

FIRST_PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(minutes=1)
MOST_DOUBLINGS = 16


@dataclass(slots=True)
class _Trouble:
    since: datetime
    failures: int
    again_at: datetime


@dataclass(slots=True)
class Backoff:
    """Of several things each by itself."""

    _troubles: dict[Hashable, _Trouble] = field(default_factory=dict)

    def failed(self, what: Hashable, now: datetime) -> bool:
        """Note a failure; whether it is the first one."""
        trouble = self._troubles.setdefault(what, _Trouble(now, 0, now))
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(trouble.failures, MOST_DOUBLINGS))
        trouble.failures, trouble.again_at = trouble.failures + 1, now + pause
        return trouble.failures == 1

    def is_due(self, what: Hashable, now: datetime) -> bool:
        """Whether it may be tried now; what has not failed always may."""
        trouble = self._troubles.get(what)
        return trouble is None or now >= trouble.again_at

    def since(self, what: Hashable) -> datetime | None:
        """When it failed for the first time; None: it has not."""
        trouble = self._troubles.get(what)
        return None if trouble is None else trouble.since

    def forget(self, what: Hashable) -> None:
        self._troubles.pop(what, None)

    def clear(self) -> None:
        self._troubles.clear()
