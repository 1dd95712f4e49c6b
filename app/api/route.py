"""What FastAPI knows about the route that a request was matched to."""

from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Form, ParamTypes
from starlette.types import Scope

from app.api.static import FrontendFiles

STATIC_FILES = "/ui/{file}"


def template_of(scope: Scope) -> str | None:
    """The route's path with its parameters' names, such as `/api/v1/jobs/{job_id}`; nothing where no route matched."""
    if isinstance(scope.get("endpoint"), FrontendFiles):
        return STATIC_FILES
    template: str | None = getattr(_route(scope), "path_format", None)
    return template


def query_names_of(scope: Scope) -> frozenset[str]:
    """The query parameters that the route and its dependencies declare."""
    dependant: Dependant | None = getattr(_route(scope), "dependant", None)
    if dependant is None:
        return frozenset()
    if id(dependant) not in _query_names:
        parameters = get_flat_params(dependant)
        names = frozenset(field.alias for field in parameters if _is_query(field.field_info))
        _query_names[id(dependant)] = dependant, names
    return _query_names[id(dependant)][1]


def takes_form(scope: Scope) -> bool:
    """Whether the route's body is a form; otherwise it is JSON."""
    body_field = getattr(_route(scope), "body_field", None)
    return isinstance(getattr(body_field, "field_info", None), Form)


_query_names: dict[int, tuple[Dependant, frozenset[str]]] = {}
"""By identity, as FastAPI's dependants cannot be hashed; each is kept, so that its identity stays its own."""


def _is_query(field_info: Any) -> bool:
    return getattr(field_info, "in_", None) is ParamTypes.query


def _route(scope: Scope) -> Any:
    return scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
