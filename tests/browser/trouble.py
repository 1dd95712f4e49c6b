"""What goes wrong in a browser without anybody looking: a test fails for all of it that it did not foresee."""

import re

from playwright.async_api import BrowserContext, ConsoleMessage, Dialog, Request, Response, WebError

TELL_OF_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  const place = `${event.sourceFile}:${event.lineNumber}`;
  tellOfViolation(`${event.effectiveDirective} forbids ${event.blockedURI || "inline"} at ${place}`);
});
"""
SAID_ELSEWHERE = "Failed to load resource"
"""Chromium repeats every answer of 400 and up, and every failed request, on the console."""
GIVEN_UP = "net::ERR_ABORTED"
"""The page was left, or did not want the answer any more."""


class Trouble:
    """Lines such as `uncaught: …`, `console: …`, `policy: …`, `dialog: …`, `failed: GET …`, `answer: 409 POST …`."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._foreseen = [r"answer: 401 POST /api/v1/auth/refresh"]
        """Whether a browser has a session is asked in no other way."""

    def allow(self, *patterns: str) -> None:
        """Foresee trouble: regular expressions that match a line from its beginning."""
        self._foreseen.extend(patterns)

    def take_over(self, other: "Trouble") -> None:
        """What another one has noticed counts here, and there no more."""
        self._lines += other._lines
        other._lines = []

    @property
    def unforeseen(self) -> list[str]:
        return [line for line in self._lines if not any(re.match(pattern, line) for pattern in self._foreseen)]

    async def watch(self, context: BrowserContext) -> None:
        """From now on, on all pages of this context."""
        await context.expose_binding("tellOfViolation", lambda _, text: self._lines.append(f"policy: {text}"))
        await context.add_init_script(TELL_OF_VIOLATIONS)
        context.on("weberror", self._uncaught)
        context.on("console", self._said)
        context.on("dialog", self._asked)
        context.on("requestfailed", self._failed)
        context.on("response", self._answered)

    def _uncaught(self, event: WebError) -> None:
        self._lines.append(f"uncaught: {event.error.stack or event.error.message}")

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "assert") and not message.text.startswith(SAID_ELSEWHERE):
            self._lines.append(f"console: {message.text}")

    async def _asked(self, dialog: Dialog) -> None:
        self._lines.append(f"dialog: {dialog.type} {dialog.message}")
        await dialog.dismiss()

    def _failed(self, request: Request) -> None:
        if request.failure != GIVEN_UP:
            self._lines.append(f"failed: {request.method} {_place(request.url)} {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._lines.append(f"answer: {response.status} {response.request.method} {_place(response.url)}")


def _place(url: str) -> str:
    """Without the host, which is the same for all that a page may ask."""
    return re.sub(r"^http://127\.0\.0\.1:\d+", "", url)
