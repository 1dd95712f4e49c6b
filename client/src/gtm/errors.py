"""How a command fails: a sentence, the service's code for it, what to do about it, and an exit code.

CommandError            anything that ends a command
├── NotSignedIn         there is no token that this service would take
├── Unreachable         the service does not answer, or not sensibly
└── Refused             the service answered with a problem document
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """What scripts can rely on; `docs/cli.md` lists them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    FORBIDDEN = 4
    REFUSED = 5
    UNREACHABLE = 6
    PENDING = 8
    INTERRUPTED = 130
    BROKEN_PIPE = 141


EXIT_CODES: Mapping[int, ExitCode] = {
    401: ExitCode.FORBIDDEN,
    403: ExitCode.FORBIDDEN,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.REFUSED,
    422: ExitCode.REFUSED,
    429: ExitCode.UNREACHABLE,
}
"""Which statuses mean what. Other 4xx are our own mistake (1), all 5xx the service's (6)."""

HINTS: Mapping[str, str] = {
    "not-authenticated": "gtm login",
    "invalid-credentials": "sign in again; who forgot the password gets a new one from the service's operator",
    "admin-required": "gtm whoami",
    "quota-exceeded": "gtm quota",
    "unknown-gpu-type": "gtm gpus",
    "scope-missing": "gtm token create --help",
    "too-many-tokens": "gtm token list",
    "sign-in-required": "gtm login",
}
"""Which command helps with which refusal, by the code of its problem document."""


class CommandError(Exception):
    """Ends the command: `main` prints the sentence and what to do on stderr, and exits with the code."""

    def __init__(
        self,
        message: str,
        *,
        exit_code: ExitCode = ExitCode.FAILED,
        code: str | None = None,
        hint: str | None = None,
        details: tuple[str, ...] = (),
    ) -> None:
        """`code` is a stable word for programs, `hint` a command or what else to do, `details` further lines."""
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code
        self.hint = hint
        self.details = details


class UsageError(CommandError):
    """What was asked for makes no sense, whatever the service would say."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, exit_code=ExitCode.USAGE, hint=hint)


class NotSignedIn(CommandError):
    """There is no token for this service, or it takes none of ours any more."""

    def __init__(self, message: str, *, code: str | None = None, hint: str = "gtm login") -> None:
        super().__init__(message, exit_code=ExitCode.FORBIDDEN, code=code, hint=hint)


class Unreachable(CommandError):
    """Nobody answers at the address, or somebody who is not GPU Task Manager."""

    def __init__(self, message: str, *, hint: str = "gtm doctor", code: str | None = None) -> None:
        super().__init__(message, exit_code=ExitCode.UNREACHABLE, hint=hint, code=code)


class Refused(CommandError):
    """The service's own refusal. `problem` is its document, with the facts that it names (`available_hours`, …)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        code = str(problem.get("code", status))
        sentence = problem.get("title") if code == "validation-failed" else problem.get("detail")
        super().__init__(
            _as_sentence(str(sentence or problem.get("title") or f"HTTP {status}")),
            exit_code=exit_code_of(status),
            code=code,
            hint=HINTS.get(code),
            details=tuple(_details(status, problem)),
        )
        self.status = status
        self.problem = problem


def exit_code_of(status: int) -> ExitCode:
    """The exit code for an HTTP status of 400 or more."""
    if status >= 500:
        return ExitCode.UNREACHABLE
    return EXIT_CODES.get(status, ExitCode.FAILED)


def _as_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "؟")) else f"{text}."


def _details(status: int, problem: Mapping[str, Any]) -> list[str]:
    """A line per field that was refused; of the service's own failures, what to tell its operator."""
    lines = [f"{_field(error.get('pointer', ''))}: {error.get('message', '')}" for error in problem.get("errors", ())]
    if status >= 500 and "request_id" in problem:
        lines.append(f"request id: {problem['request_id']}")
    return lines


def _field(pointer: str) -> str:
    """`#/num_gpus` and `/num_gpus` are num_gpus to a person."""
    return pointer.lstrip("#/").replace("/", ".") or "input"
