"""The one place that knows what a refusal means in HTTP. Every 4xx and 5xx leaves as a problem document."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from app.api.field_errors import field_problems
from app.api.problems import (
    PROBLEM_MEDIA_TYPE,
    PROBLEM_SCHEMA,
    content_too_large,
    internal_error,
    language_of,
    problem,
)
from app.api.route import takes_form
from app.api.state import state_of
from app.core.clock import system_clock
from app.db.engine import CannotConnect
from app.domain import errors
from app.domain.errors import DomainError
from app.domain.quota import hours_from_seconds
from app.schemas.errors import FieldProblem
from app.schemas.messages import Language, find_message, message, time_ago

STATUS: Mapping[type[DomainError], HTTPStatus] = {
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.AdminRequired: HTTPStatus.FORBIDDEN,
    errors.ScopeMissing: HTTPStatus.FORBIDDEN,
    errors.SignInRequired: HTTPStatus.FORBIDDEN,
    errors.RegistrationClosed: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.LogOutOfReach: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.InvalidCursor: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooManyAttempts: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}
"""A class stands for its subclasses too."""

UNSHOWN: Mapping[type[DomainError], frozenset[str]] = {
    errors.EmailTaken: frozenset({"email"}),
    errors.UnknownGpuType: frozenset({"pointer", "gpu_type"}),
    errors.InvalidInput: frozenset({"pointer"}),
}
"""Facts that would repeat what the client sent, or that are told in `errors`."""

HTTP_CODES: Mapping[HTTPStatus, str] = {
    HTTPStatus.BAD_REQUEST: "malformed-body",
    HTTPStatus.NOT_FOUND: "route-not-found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method-not-allowed",
}
"""Refusals that come from HTTP itself, before any rule of ours was asked."""

DATABASE_ERRORS = (DBAPIError, PoolTimeout, CannotConnect, TimeoutError)
"""How the database says that it cannot, or will not; `refusal_of` says what that means."""

SQLSTATES: Mapping[str, type[DomainError]] = {
    "GT002": errors.LastAdmin,
    "40001": errors.ServiceBusy,
    "40P01": errors.ServiceBusy,
    "55P03": errors.ServiceBusy,
    "57014": errors.ServiceBusy,
    "25P03": errors.ServiceBusy,
    "25006": errors.DatabaseUnavailable,
}
"""What the database itself refuses: by its rules (GT…), deadlocks, timeouts, and writes to a read-only standby."""

SQLSTATE_CLASSES_AWAY = ("08", "53", "57P", "58")
"""Connection lost, resources exhausted, shutting down or starting up, and failures of the machine under it."""

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

log = structlog.get_logger("api")


def install(app: FastAPI) -> None:
    app.add_exception_handler(DomainError, on_refusal)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(HTTPException, on_http_refusal)
    for database_error in DATABASE_ERRORS:
        app.add_exception_handler(database_error, on_database_error)


async def on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError)  # noqa: S101 - Starlette types every handler alike
    return refusal_response(request, error)


async def on_database_error(request: Request, error: Exception) -> Response:
    """The database is away, busy, or refuses by a rule of its own. Anything else is a bug, and a 500."""
    refusal = refusal_of(error)
    if refusal is None:
        raise error
    if isinstance(refusal, errors.Unavailable):
        log.warning("the database failed a request", error=type(error).__name__, code=refusal.code)
    return refusal_response(request, refusal)


async def on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = error.errors()
    if any(each["loc"][0] == "body" for each in found) and (expected := _other_type_expected(request)):
        detail = message("error.unsupported-media-type.detail", language_of(request.scope), expected=expected)
        return problem(request.scope, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail=detail)
    return problem(
        request.scope,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.InvalidInput.code,
        errors=field_problems(found, language_of(request.scope)),
    )


async def on_http_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = {"Allow": ", ".join(_allowed_methods(request)) or (error.headers or {}).get("Allow", "")}
        return problem(request.scope, HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", headers=allow)
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return content_too_large(request.scope)
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("unexpected HTTP error", status=error.status_code)
        return internal_error(request.scope)
    status = HTTPStatus(error.status_code) if error.status_code in HTTP_CODES else HTTPStatus.NOT_FOUND
    return problem(request.scope, status, HTTP_CODES[status])


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What this route may refuse, for its `responses=`. What all routes may refuse is added in `openapi.py`."""
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {PROBLEM_MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}}
        for status in statuses
    }


def problem_status(refusal: DomainError) -> int:
    return next(STATUS[ancestor] for ancestor in type(refusal).__mro__ if ancestor in STATUS)


def problem_text(refusal: DomainError, language: Language, now: datetime | None = None) -> str:
    """The sentence of this refusal: what happened, and what to do."""
    match refusal:
        case errors.JobStateConflict():
            happened = _what_happened(refusal, now or system_clock(), language)
            return f"{happened} {_what_is_possible(refusal, language)}"
        case errors.UnknownGpuType() if not refusal.known:
            return message("error.unknown-gpu-type.none", language)
        case errors.TooManyAttempts(retry_after=1):
            return message(f"error.{refusal.code}.detail.one", language, retry_after=1)
        case errors.EngineGivesOutGpus(engine, node):
            in_its_words = find_message(f"error.{refusal.code}.{engine}", language, node=node)
            return in_its_words or message(f"error.{refusal.code}.detail", language, engine=engine)
    return message(f"error.{refusal.code}.detail", language, **_facts(refusal))


def refusal_of(error: Exception) -> DomainError | None:
    """What a failure of the database means to the person who asks; None if it is our own mistake."""
    if not isinstance(error, DBAPIError):
        return errors.DatabaseUnavailable()
    sqlstate = getattr(error.orig, "sqlstate", None) or ""
    if refusal := SQLSTATES.get(sqlstate):
        return refusal()
    if error.connection_invalidated or sqlstate.startswith(SQLSTATE_CLASSES_AWAY):
        return errors.DatabaseUnavailable()
    return None


def refusal_response(request: Request, error: DomainError) -> Response:
    language = language_of(request.scope)
    detail = problem_text(error, language, state_of(request.scope).clock())
    return problem(
        request.scope,
        HTTPStatus(problem_status(error)),
        error.code,
        detail=detail,
        facts={name: _json(fact) for name, fact in _facts(error).items()},
        errors=_errors(error, detail, language),
        headers=_headers(error),
    )


def _facts(error: DomainError) -> dict[str, Any]:
    """The fields of the error, as a person would count: hours where the system counts GPU-seconds."""
    unshown = next((UNSHOWN[ancestor] for ancestor in type(error).__mro__ if ancestor in UNSHOWN), frozenset())
    names: list[str] = (
        [field.name for field in fields(error) if field.name not in unshown] if is_dataclass(error) else []
    )
    facts: dict[str, Any] = {}
    for name in names:
        value = getattr(error, name)
        if name.endswith("_seconds"):
            facts[name.removesuffix("_seconds") + "_hours"] = hours_from_seconds(value)
        else:
            facts[name] = value
    return facts


def _what_happened(error: errors.JobStateConflict, now: datetime, language: Language) -> str:
    key, ago = f"error.job-state-conflict.{error.current_status}", time_ago(error.changed_at, now, language)
    named = error.changed_by and find_message(f"{key}.by", language, changed_by=error.changed_by, ago=ago)
    return named or message(key, language, ago=ago)


def _what_is_possible(error: errors.JobStateConflict, language: Language) -> str:
    if not error.allowed:
        return message("error.job-state-conflict.nothing", language)
    actions = [message(f"action.{action}", language) for action in error.allowed]
    return message("error.job-state-conflict.possible", language, actions=actions)


def _errors(error: DomainError, detail: str, language: Language) -> Sequence[FieldProblem]:
    match error:
        case errors.PasswordRefused():
            sentence = find_message(f"error.{error.code}.{error.rule}", language)
            return [FieldProblem(pointer=error.pointer, message=sentence or detail)]
        case errors.InvalidInput():
            return [FieldProblem(pointer=error.pointer, message=detail)]
    return ()


def _headers(error: DomainError) -> dict[str, str]:
    match error:
        case errors.NotAuthenticated():
            return {"WWW-Authenticate": "Bearer"}
        case errors.ScopeMissing(needed):
            return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{needed}"'}
        case errors.TooManyAttempts() | errors.Unavailable():
            return {"Retry-After": str(error.retry_after)}
    return {}


def _json(fact: object) -> object:
    if isinstance(fact, datetime):
        return fact.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return list(fact) if isinstance(fact, (tuple, frozenset)) else fact


def _other_type_expected(request: Request) -> str | None:
    """The media type that the route's body must have, if the body that came has another one."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return None
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if takes_form(request.scope):
        return None if sent in FORM_TYPES else FORM_TYPES[0]
    is_json = sent == "application/json" or (sent.startswith("application/") and sent.endswith("+json"))
    return None if is_json else "application/json"


def _allowed_methods(request: Request) -> list[str]:
    """All methods of this path. The router alone would name those of the first route that has it."""
    methods: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path and route.methods and compile_path(route.path)[0].match(request.scope["path"]):
            methods |= route.methods
    return sorted(methods)
