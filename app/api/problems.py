"""Builds problem documents (RFC 9457). Which refusal gets which status is decided in `errors.py`."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection
from starlette.types import Scope

from app.api.keys import CALLER, REQUEST_ID
from app.core.metrics import PROBLEMS
from app.domain.identity import Caller
from app.schemas.errors import PROBLEM_TYPE, FieldProblem
from app.schemas.messages import DEFAULT_LANGUAGE, Language, message, preferred_language

PROBLEM_MEDIA_TYPE = "application/problem+json"
PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
BODY_LIMIT_BYTES = 64 * 1024


def problem(
    scope: Scope,
    status: HTTPStatus,
    code: str,
    *,
    detail: str | None = None,
    facts: Mapping[str, Any] | None = None,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """`facts` become further members; without a `detail` the code's own sentence is used."""
    PROBLEMS.labels(code).inc()
    language = language_of(scope)
    content: dict[str, Any] = {
        "type": PROBLEM_TYPE + code,
        "title": message(f"error.{code}.title", language),
        "status": status.value,
        "detail": detail or message(f"error.{code}.detail", language),
        "code": code,
        "request_id": scope[REQUEST_ID],
        **(facts or {}),
    }
    if errors:
        content["errors"] = [error.model_dump() for error in errors]
    return JSONResponse(
        content, status, {"Content-Language": language, **(headers or {})}, media_type=PROBLEM_MEDIA_TYPE
    )


def internal_error(scope: Scope) -> JSONResponse:
    """Tells nothing about what went wrong but the id under which the log tells it."""
    return problem(scope, HTTPStatus.INTERNAL_SERVER_ERROR, "internal-error")


def content_too_large(scope: Scope) -> JSONResponse:
    detail = message("error.content-too-large.detail", language_of(scope), limit_kib=BODY_LIMIT_BYTES // 1024)
    return problem(scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", detail=detail)


def language_of(scope: Scope) -> Language:
    """The language that the request asks for, or else the signed-in person's own."""
    wanted = preferred_language(HTTPConnection(scope).headers.get("accept-language", ""))
    caller: Caller | None = scope.get(CALLER)
    return wanted or (preferred_language(caller.locale) if caller and caller.locale else None) or DEFAULT_LANGUAGE
