"""The files of the user interface. Browsers keep versioned assets for ever, and ask about everything else."""

from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

FRONTEND = Path(__file__).resolve().parents[2] / "frontend"
VERSIONED = "vendor/"
FOR_EVER = "public, max-age=31536000, immutable"
ASK_FIRST = "no-cache"
IGNORED_HEADERS = frozenset({b"range", b"if-range"})


class FrontendFiles(StaticFiles):
    def __init__(self) -> None:
        super().__init__(directory=FRONTEND, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whole files only: a `Range` may be ignored, and the answer to a bad one would be no problem document."""
        headers = [header for header in scope["headers"] if header[0] not in IGNORED_HEADERS]
        await super().__call__({**scope, "headers": headers}, receive, send)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = FOR_EVER if path.startswith(VERSIONED) else ASK_FIRST
        return response
