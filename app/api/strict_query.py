"""A misspelt filter would silently show everything, so a query parameter that the route does not know is refused."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError

from app.api.route import query_names_of


async def refuse_unknown_parameters(request: Request) -> None:
    """Depend on this in every router of the API."""
    if not request.scope["query_string"]:
        return
    known = query_names_of(request.scope)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise RequestValidationError([{"type": "unknown_parameter", "loc": ("query", name)} for name in unknown])
