"""What routes about jobs and quotas need to know of this installation."""

from typing import Annotated

from fastapi import Depends

from app.api.deps import State
from app.domain.quota import seconds_from_hours
from app.services.jobs import EngineKind
from app.services.quotas import QuotaPolicy


async def get_policy(state: State) -> QuotaPolicy:
    return QuotaPolicy(state.month_rule, seconds_from_hours(state.settings.default_monthly_gpu_hours))


async def get_engine(state: State) -> EngineKind:
    return EngineKind(state.engine.name, state.engine.places_gpus)


Policy = Annotated[QuotaPolicy, Depends(get_policy)]
Engine = Annotated[EngineKind, Depends(get_engine)]
