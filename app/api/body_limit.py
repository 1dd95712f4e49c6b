"""No request body is larger than 64 KiB: refused by its announced length, or as soon as it has grown beyond it."""

from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.problems import BODY_LIMIT_BYTES, content_too_large


class BodyLimit:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"content-length" and not (value.isdigit() and int(value) <= BODY_LIMIT_BYTES):
                    return await content_too_large(scope)(scope, receive, send)
                if name == b"transfer-encoding":
                    receive = _counted(receive)
        return await self.app(scope, receive, send)


def _counted(receive: Receive) -> Receive:
    received_bytes = 0

    async def counted() -> Message:
        nonlocal received_bytes
        message = await receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > BODY_LIMIT_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return message

    return counted
