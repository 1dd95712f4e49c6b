"""What routes about jobs and quotas need to know of this installation."""

from typing import Annotated

from fastapi import Depends

from app.api.deps import State
from app.services.jobs import EngineKind
from app.services.quotas import QuotaPolicy


async def get_policy(state: State) -> QuotaPolicy:
    return state.quota_policy


async def get_engine(state: State) -> EngineKind:
    return EngineKind(state.engine.name, state.engine.places_gpus)


Policy = Annotated[QuotaPolicy, Depends(get_policy)]
Engine = Annotated[EngineKind, Depends(get_engine)]
