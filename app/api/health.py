"""Is the process alive, can it serve, and is everything in order? For load balancers, containers and people."""

import asyncio
from http import HTTPStatus
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from app.api.deps import State
from app.api.errors import problems
from app.api.problems import problem
from app.api.state import AppState
from app.db.migrations import head_revision
from app.db.queries import lease, schema_version
from app.schemas.text import ResponseModel

CHECK_SECONDS = 3.0

router = APIRouter(tags=["operations"])

Verdict = Literal["ok", "failed", "unknown"]


class Health(ResponseModel):
    """`dispatcher` is for information here: without one, jobs can be submitted and decided on, and none starts."""

    status: Literal["ok"] = "ok"
    database: Verdict
    migrations: Verdict
    dispatcher: Verdict
    lease_age_seconds: float | None = Field(description="Since the dispatcher last renewed its lease.", examples=[1.2])


class Alive(ResponseModel):
    status: Literal["ok"] = "ok"


@router.head("/health", include_in_schema=False)
@router.get("/health", response_model=Health, responses=problems(503))
async def health(request: Request, state: State) -> Response:
    """Can this service be used? Fails if the database is away or not migrated."""
    found = await _examine(state)
    return _answer(request, found, all_of=(found.database, found.migrations))


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", response_model=Health, responses=problems(503))
async def readyz(request: Request, state: State) -> Response:
    """Is everything in order: the database, its schema, and a dispatcher that holds the lease?"""
    found = await _examine(state)
    return _answer(request, found, all_of=(found.database, found.migrations, found.dispatcher))


@router.head("/livez", include_in_schema=False)
@router.get("/livez")
async def livez() -> Alive:
    """Does this process answer? Touches nothing else."""
    return Alive()


async def _examine(state: AppState) -> Health:
    try:
        async with asyncio.timeout(CHECK_SECONDS), state.database.autocommit() as connection:
            revision = await schema_version.read(connection)
            if revision != head_revision():
                return _health(database="ok", migrations="failed")
            found = await lease.read(connection)
    except (SQLAlchemyError, OSError):
        return _health(database="failed")
    return _health(
        database="ok",
        migrations="ok",
        dispatcher="ok" if found.is_held else "failed",
        lease_age_seconds=round(found.age_seconds, 1),
    )


def _health(
    *,
    database: Verdict,
    migrations: Verdict = "unknown",
    dispatcher: Verdict = "unknown",
    lease_age_seconds: float | None = None,
) -> Health:
    return Health(
        database=database,
        migrations=migrations,
        dispatcher=dispatcher,
        lease_age_seconds=lease_age_seconds,
    )


def _answer(request: Request, found: Health, *, all_of: tuple[Verdict, ...]) -> Response:
    if all(verdict == "ok" for verdict in all_of):
        return JSONResponse(found.model_dump())
    facts = found.model_dump(exclude={"status"})
    return problem(
        request.scope, HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", facts=facts, headers={"Retry-After": "2"}
    )
