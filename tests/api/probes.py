"""A service with a few more routes, for what no real route does on purpose."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

_numbers = itertools.count(1)


def add_route(app: FastAPI, endpoint: Callable[..., Any], *, methods: Sequence[str] = ("GET",), **more: Any) -> str:
    """Returns the path that leads to the endpoint."""
    path = f"/probe/{next(_numbers)}"
    router = APIRouter()
    router.add_api_route(path, endpoint, methods=list(methods), **more)
    app.include_router(router)
    return path


def add_failure(app: FastAPI, failure: Exception) -> str:
    async def fail() -> None:
        raise failure

    return add_route(app, fail)
