"""What FastAPI knows about the route that a request was matched to."""

from typing import Any

from fastapi.dependencies.utils import get_flat_dependant
from fastapi.params import Form
from starlette.types import Scope


def template_of(scope: Scope) -> str | None:
    """The route's path with its parameters' names, such as `/api/v1/jobs/{job_id}`; nothing where no route matched."""
    template: str | None = getattr(_route(scope), "path_format", None)
    return template


def query_names_of(scope: Scope) -> frozenset[str]:
    """The query parameters that the route and its dependencies declare."""
    dependant = getattr(_route(scope), "dependant", None)
    if dependant is None:
        return frozenset()
    if (names := _query_names.get(id(dependant))) is None:
        names = frozenset(field.alias for field in get_flat_dependant(dependant).query_params)
        _query_names[id(dependant)] = names
    return names


def takes_form(scope: Scope) -> bool:
    """Whether the route's body is a form; otherwise it is JSON."""
    body_field = getattr(_route(scope), "body_field", None)
    return isinstance(getattr(body_field, "field_info", None), Form)


_query_names: dict[int, frozenset[str]] = {}


def _route(scope: Scope) -> Any:
    return scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
