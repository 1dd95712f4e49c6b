"""How a run's simulated time lies on the real clock."""

from dataclasses import dataclass
from datetime import datetime, timedelta

MINIMUM_SPEEDUP = 0.01
"""Below this a run of a month would end in another century."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run was launched at a real moment; its simulated time then passes `speedup` times faster than real time."""

    launched_at: datetime
    speedup: float

    def moment(self, elapsed: timedelta) -> datetime:
        """The real moment at which so much simulated time has passed."""
        return self.launched_at + elapsed / self.speedup

    def elapsed(self, moment: datetime, *, at_most: timedelta) -> timedelta:
        """The simulated time that has passed at a real moment, from 0 to `at_most`.

        At `moment(at_most)` it is exactly `at_most`, although real time is known to the microsecond only.
        """
        if moment >= self.moment(at_most):
            return at_most
        return min(at_most, max(timedelta(0), (moment - self.launched_at) * self.speedup))
