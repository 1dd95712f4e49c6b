"""The installation, as pages have to know it."""

from typing import Any

from fastapi import APIRouter

from app.api.deps import AnybodyOrUser, AppSettings
from app.api.policy import Engine
from app.schemas.about import AboutRead, SignInFacts

router = APIRouter(prefix="/about", tags=["about"])

SIGN_IN_IS_OPTIONAL: dict[str, Any] = {"security": [{}]}
"""In OpenAPI: beside the ways to sign in, the one without any."""


@router.get("", openapi_extra=SIGN_IN_IS_OPTIONAL)
async def read_about(user: AnybodyOrUser, settings: AppSettings, engine: Engine) -> AboutRead | SignInFacts:
    """What this installation is and how it is set up. Without a sign-in, only what is needed to sign in or register."""
    if user is None:
        return SignInFacts.of(settings)
    return AboutRead.with_engine(settings, places_gpus=engine.places_gpus)
