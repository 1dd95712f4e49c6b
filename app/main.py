"""The service as an ASGI application: `uvicorn app.main:app`."""

from fastapi import FastAPI

from app.core.config import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Put the service together; nothing is opened before its lifespan begins."""
    settings = settings or load_settings()
    return FastAPI(title="GPU Task Manager")


app = create_app()
