"""The outermost layer of a request: names it, completes its response's headers, and accounts for it afterwards.

Pure ASGI and a single wrapper around `send`, because it is paid on every request.
"""

import re
from http import HTTPStatus
from secrets import token_hex
from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.headers import add_headers
from app.api.keys import REQUEST_ID
from app.api.problems import internal_error
from app.api.route import template_of
from app.core.metrics import REQUEST_SECONDS, REQUESTS

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "(none)"
PROBES = frozenset({"/health", "/livez", "/readyz", "/metrics"})
"""Asked every few seconds by machines: a line only where the answer is bad."""
LENGTH = b"content-length"
CLIENT_WENT_AWAY = 499
"""The status that nginx made customary for a client that did not wait for its answer."""
INBOUND_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,64}")

access_log = structlog.get_logger("access")
log = structlog.get_logger("api")


class Boundary:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = perf_counter()
        request_id = scope[REQUEST_ID] = _request_id(scope)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0
        is_stream = False

        async def complete(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = status == HTTPStatus.OK and not any(name == LENGTH for name, _ in message["headers"])
                add_headers(message, request_id.encode(), is_stream=is_stream)
            await send(message)

        try:
            await self.app(scope, receive, complete)
        except Exception:
            log.exception("request failed")
            if status:
                raise
            await internal_error(scope)(scope, receive, complete)
        finally:
            _account(scope, status or CLIENT_WENT_AWAY, perf_counter() - began, is_stream=is_stream)
        return None


def _request_id(scope: Scope) -> str:
    """The client's own id where it is short and harmless, so that logs of several services can be joined."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and INBOUND_ID.fullmatch(value):
            return bytes(value).decode("ascii")
    return token_hex(16)


def _account(scope: Scope, status: int, seconds: float, *, is_stream: bool) -> None:
    """Metrics know routes and methods by our own names only: what a client makes up must not fill their memory."""
    route = template_of(scope)
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    REQUESTS.labels(method, route or NO_ROUTE, status).inc()
    if not is_stream:
        REQUEST_SECONDS.labels(method, route or NO_ROUTE).observe(seconds)
    write = access_log.debug if route in PROBES and status < HTTPStatus.BAD_REQUEST else access_log.info
    write(
        "request",
        method=method,
        path=route or scope["path"][:200],
        status=status,
        ms=round(seconds * 1000, 2),
    )
