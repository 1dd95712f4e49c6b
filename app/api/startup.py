"""A start that fails for a reason we know ends with one line that says what to do, not with a traceback."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.config import ConfigurationError
from app.db.bootstrap import DatabaseUnusable
from app.db.embedded import EmbeddedPostgresError

STARTUP_PROBLEMS = (ConfigurationError, DatabaseUnusable, EmbeddedPostgresError)


class StartupReport:
    """Wraps the lifespan: the server logs the sentence and exits with its own code for a failed start."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            return await self.app(scope, receive, send)
        failure: Message | None = None

        async def hold_back_failure(message: Message) -> None:
            nonlocal failure
            if message["type"] == "lifespan.startup.failed":
                failure = message
            else:
                await send(message)

        try:
            await self.app(scope, receive, hold_back_failure)
        except STARTUP_PROBLEMS as problem:
            await send({"type": "lifespan.startup.failed", "message": str(problem)})
        except BaseException:
            if failure is not None:
                await send(failure)
            raise
        return None
