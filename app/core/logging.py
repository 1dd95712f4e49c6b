"""One JSON object per line on standard error, for our own events and for those of the libraries alike.

Every line of a request carries its `request_id` (and `user_id`, `job_id` where they were bound with
`structlog.contextvars`). Secrets are masked by the name of their field, and where they can be recognised in text.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import Processor

from app.core.config import LogFormat

SECRET_FIELD = re.compile(r"authorization|passw|secret|token|cookie|credential|(^|_)key$|database_url", re.IGNORECASE)
SECRET_IN_TEXT = re.compile(
    r"(?P<scheme>://[^\s:/@]*:)[^\s@]+(?=@)"
    r"|(?P<bearer>[Bb](?:earer|asic)\s+)[\w.~+/=-]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"
)
SIGNS_OF_SECRETS = ("://", "eyJ", "earer ", "asic ")
"""A pattern is slow to search for in every text, these are not."""

MASK = "[hidden]"
LEADING_FIELDS = ("at", "level", "logger", "event")
HANDLER_NAME = "gpu-task-manager"

to_json = json.JSONEncoder(ensure_ascii=False, default=str).encode


def configure_logging(log_format: LogFormat, level: str) -> None:
    """Route everything that this process logs through one format. May be called again."""
    before_rendering: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    renderer: Processor = (
        json_line
        if log_format is LogFormat.JSON
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    structlog.configure(
        processors=[*before_rendering, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=StandardError,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(_StandardErrorNow())
    handler.set_name(HANDLER_NAME)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before_rendering,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [other for other in root.handlers if other.get_name() != HANDLER_NAME] + [handler]
    root.setLevel(level)
    _take_over_uvicorn()


class StandardError:
    """The end of the chain for our own loggers: writes the finished line."""

    def __init__(self, name: str = "app") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = exception = msg


class _StandardErrorNow:
    """Standard error as it is at the moment of writing; tests and servers exchange it."""

    def write(self, text: str) -> None:
        sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def json_line(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """When, how grave, who, what; then the details."""
    leading = {name: event.pop(name, None) for name in LEADING_FIELDS}
    return to_json({**leading, **event})


def hide_secrets(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        event[name] = _hidden(name, value)
    return event


def _hidden(name: str, value: Any) -> Any:
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    if _is_secret(name):
        return MASK
    if isinstance(value, str):
        return SECRET_IN_TEXT.sub(_masked, value) if any(sign in value for sign in SIGNS_OF_SECRETS) else value
    if isinstance(value, Mapping):
        return {key: _hidden(str(key), inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(name, inner) for inner in value]
    return value


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return SECRET_FIELD.search(name) is not None


def _masked(match: re.Match[str]) -> str:
    return (match["scheme"] or match["bearer"] or "") + MASK


def _take_over_uvicorn() -> None:
    """Its messages go our way; its access log is replaced by ours, which knows routes, users and requests."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate = [], False
