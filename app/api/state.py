"""What one running service holds: built in `main.py`'s lifespan, reached by requests through `deps.py`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from starlette.types import Scope

from app.core.clock import Clock
from app.core.config import Settings
from app.db.engine import Database
from app.domain.execution import RunReader
from app.domain.periods import MonthRule

if TYPE_CHECKING:
    from app.core.security import PasswordPool
    from app.services.events import EventFeed


@dataclass(frozen=True, slots=True)
class AppState:
    """The parts of the service that outlive a request."""

    settings: Settings
    clock: Clock
    database: Database
    engine: RunReader
    passwords: "PasswordPool"
    feed: "EventFeed"
    month_rule: MonthRule


def state_of(scope: Scope) -> AppState:
    return cast(AppState, scope["app"].state.gtm)
