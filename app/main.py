"""The service as an ASGI application: `uvicorn app.main:app`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI

from app.api import docs, errors, health, metrics, openapi
from app.api.body_limit import BodyLimit
from app.api.boundary import Boundary
from app.api.draining import Drain, EndStreams
from app.api.startup import StartupReport
from app.api.state import AppState
from app.api.static import FrontendFiles
from app.api.strict_query import refuse_unknown_parameters
from app.api.v1 import (
    about,
    admin_alerts,
    admin_audit,
    admin_gpus,
    admin_jobs,
    admin_quota,
    admin_reports,
    admin_users,
    auth,
    events,
    gpus,
    jobs,
    quota,
    sessions,
    tokens,
)
from app.core.clock import Clock, system_clock
from app.core.config import ConfigurationError, DispatcherPlacement, Settings, load_settings
from app.core.logging import configure_logging
from app.core.security import PasswordPool
from app.core.supervision import running
from app.db.bootstrap import open_database, warn_if_owner
from app.dispatcher.build import create_dispatcher
from app.executors.registry import create_executor
from app.services.events import EventFeed
from app.services.quotas import QuotaPolicy

API_ROUTERS = [
    module.router
    for module in (
        jobs, quota, gpus, events, about, auth, sessions, tokens,
        admin_jobs, admin_quota, admin_users, admin_gpus, admin_alerts, admin_reports, admin_audit,
    )
]  # fmt: skip


def create_app(settings: Settings | None = None, clock: Clock = system_clock) -> FastAPI:
    """Put the service together. Nothing is opened before its lifespan begins.

    Raises:
        ConfigurationError: a setting is missing or unusable.
    """
    settings = settings or load_settings()
    configure_logging(settings.log_format, settings.log_level)
    drain = Drain()
    app = FastAPI(
        title=openapi.TITLE,
        description=openapi.DESCRIPTION,
        version=openapi.INTERFACE,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=openapi.operation_id,
        lifespan=lambda app: service(app, settings, clock, drain),
    )
    for router in API_ROUTERS:
        app.include_router(router, prefix="/api/v1", dependencies=[Depends(refuse_unknown_parameters)])
    for router in (health.router, metrics.router, docs.router):
        app.include_router(router)
    app.mount("/ui", FrontendFiles())
    errors.install(app)
    openapi.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(EndStreams, drain=drain)
    app.add_middleware(Boundary)
    app.add_middleware(StartupReport)
    return app


@asynccontextmanager
async def service(app: FastAPI, settings: Settings, clock: Clock, drain: Drain) -> AsyncIterator[None]:
    """Everything that lives as long as the service: opened in this order, closed in the reverse one."""
    engine = create_executor(settings, clock)
    async with open_database(settings) as database:
        await warn_if_owner(database)
        app.state.gtm = state = AppState(
            settings=settings,
            clock=clock,
            database=database,
            engine=engine,
            passwords=await asyncio.to_thread(PasswordPool, settings.bcrypt_cost),
            feed=EventFeed(database, clock),
            quota_policy=QuotaPolicy.of(settings),
        )
        tasks = {"event feed": state.feed.run}
        if settings.dispatcher is DispatcherPlacement.EMBEDDED:
            tasks["dispatcher"] = create_dispatcher(database, engine, settings, clock).run
        try:
            async with running(**tasks):
                with drain.begins_at_termination():
                    yield
        finally:
            state.passwords.close()


def app_or_exit() -> FastAPI:
    try:
        return create_app()
    except ConfigurationError as problem:
        sys.exit(f"gpu-task-manager cannot start: {problem}")


def __getattr__(name: str) -> FastAPI:
    """Make `app` when a server first asks for it, so that importing this module needs no settings."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["app"] = app = app_or_exit()
    return app
