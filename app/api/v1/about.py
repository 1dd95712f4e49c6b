"""The installation, as pages have to know it."""

from fastapi import APIRouter

from app.api.deps import AppSettings
from app.api.policy import Engine
from app.schemas.about import AboutRead

router = APIRouter(prefix="/about", tags=["about"])


@router.get("")
async def read_about(settings: AppSettings, engine: Engine) -> AboutRead:
    """What this installation is and how it is set up. No sign-in is needed."""
    return AboutRead.of(settings, places_gpus=engine.places_gpus)
