"""What one running service holds: built in `main.py`'s lifespan, reached by requests through `deps.py`."""

from dataclasses import dataclass
from typing import cast

from starlette.types import Scope

from app.core.clock import Clock
from app.core.config import Settings
from app.core.security import PasswordPool
from app.db.engine import Database
from app.domain.execution import RunReader
from app.services.events import EventFeed
from app.services.quotas import QuotaPolicy


@dataclass(frozen=True, slots=True)
class AppState:
    """The parts of the service that outlive a request."""

    settings: Settings
    clock: Clock
    database: Database
    engine: RunReader
    passwords: PasswordPool
    feed: EventFeed
    quota_policy: QuotaPolicy


def state_of(scope: Scope) -> AppState:
    return cast(AppState, scope["app"].state.gtm)
