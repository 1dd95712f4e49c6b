"""The OpenAPI document: what FastAPI derives from the routes, completed with the refusals that every route shares."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api.errors import problems
from app.api.openapi_examples import add_examples
from app.schemas.errors import Problem

TITLE = "GPU Task Manager"
INTERFACE = "1"
"""As in `/api/v1`. The release is for whoever is signed in: see `GET /about`."""
DESCRIPTION = """\
Share GPU servers fairly: jobs within a monthly quota, approved by a person, accounted to the GPU-second.

Lists are bare arrays; follow the `Link` header for the next page. Errors are problem documents (RFC 9457) whose `code`
never changes and whose `detail` is written for people, in Persian or English by `Accept-Language`. To try the calls
here, press **Authorize** and sign in with your e-mail address as the username. Programs show a personal access token
instead (`POST /auth/tokens`); what stands beside a call there is the scope that such a token needs.
"""
FASTAPIS_OWN_ERRORS = ("HTTPValidationError", "ValidationError")
SCHEMA_PREFIX = "#/components/schemas/"
KEYWORDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""Pydantic writes its own names of them where a number is folded first (`FoldedInt`), and JSON Schema ignores those."""


def operation_id(route: APIRoute) -> str:
    """The name of the route's function, which is the verb used everywhere."""
    return route.name


def install(app: FastAPI) -> None:
    derive = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(derive())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in FASTAPIS_OWN_ERRORS:
        schemas.pop(name, None)
    own = Problem.model_json_schema(ref_template=SCHEMA_PREFIX + "{model}")
    schemas |= own.pop("$defs", {}) | {Problem.__name__: own}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                _name_limits(parameter["schema"])
            shared = _shared_refusals(path, operation)
            stated = {key: value for key, value in operation["responses"].items() if not _is_fastapis_own(value)}
            named = {str(status): description for status, description in problems(*shared).items()}
            operation["responses"] = dict(sorted((named | stated).items()))
            add_examples(operation, schemas)
            operation["summary"] = operation["description"].partition("\n")[0].rstrip(".")
    return document


def _name_limits(schema: dict[str, Any]) -> None:
    for option in (schema, *schema.get("anyOf", ())):
        for keyword in KEYWORDS.keys() & option.keys():
            option[KEYWORDS[keyword]] = option.pop(keyword)


def _shared_refusals(path: str, operation: dict[str, Any]) -> list[int]:
    statuses = [HTTPStatus.INTERNAL_SERVER_ERROR]
    if path.startswith("/api/v1/"):
        statuses += [HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE]
    if path.startswith("/api/v1/admin/"):
        statuses.append(HTTPStatus.FORBIDDEN)
    if security := operation.get("security"):
        statuses.append(HTTPStatus.UNAUTHORIZED)
        if any(scopes for scheme in security for scopes in scheme.values()):
            statuses.append(HTTPStatus.FORBIDDEN)
    if "requestBody" in operation:
        statuses += [
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ]
    return [status.value for status in statuses]


def _is_fastapis_own(response: dict[str, Any]) -> bool:
    return any(
        content.get("schema", {}).get("$ref", "").removeprefix(SCHEMA_PREFIX) in FASTAPIS_OWN_ERRORS
        for content in response.get("content", {}).values()
    )
