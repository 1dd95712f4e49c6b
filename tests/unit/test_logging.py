import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from app.core.config import LogFormat
from app.core.logging import configure_logging

CANARY = "canary-" + "in-a-frame"
Lines = Callable[[], list[dict[str, Any]]]


def verify(password: str) -> None:
    if password:
        raise ValueError("no")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What has been logged since the last call."""
    configure_logging(LogFormat.JSON, "INFO")
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    configure_logging(LogFormat.JSON, "WARNING")
    structlog.contextvars.clear_contextvars()


def test_our_lines_and_the_libraries_look_alike(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1")
    structlog.get_logger("jobs").info("submitted", job_id=7)
    logging.getLogger("some.library").warning("took %d s", 3)
    ours, theirs = lines()
    assert list(ours)[:4] == list(theirs)[:4] == ["at", "level", "logger", "event"]
    assert (ours["level"], ours["logger"], ours["event"], ours["job_id"]) == ("info", "jobs", "submitted", 7)
    assert (theirs["level"], theirs["logger"], theirs["event"]) == ("warning", "some.library", "took 3 s")
    assert ours["request_id"] == theirs["request_id"] == "r-1"


def test_lines_below_the_level_are_not_written(lines: Lines) -> None:
    structlog.get_logger("jobs").debug("detail")
    logging.getLogger("some.library").debug("detail")
    assert lines() == []


def test_configuring_again_does_not_double_the_lines(lines: Lines) -> None:
    configure_logging(LogFormat.JSON, "INFO")
    logging.getLogger("some.library").warning("once")
    assert len(lines()) == 1


def test_a_failure_has_its_stack_without_the_values_in_it(lines: Lines) -> None:
    for log in (structlog.get_logger("auth"), logging.getLogger("some.library")):
        try:
            verify(CANARY)
        except ValueError:
            log.exception("failed")
    for line in lines():
        assert "ValueError: no" in line["exception"]
        assert CANARY not in json.dumps(line)


def test_the_console_format_shows_no_values_of_frames_either(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogFormat.CONSOLE, "INFO")
    try:
        verify(CANARY)
    except ValueError:
        structlog.get_logger("auth").exception("failed")
    configure_logging(LogFormat.JSON, "WARNING")
    written = capsys.readouterr().err
    assert "ValueError: no" in written
    assert CANARY not in written


@pytest.mark.parametrize(
    "field",
    [
        "password",
        "new_password",
        "passwd",
        "Authorization",
        "access_token",
        "refresh_token",
        "set-cookie",
        "cookies",
        "jwt_secret_key",
        "client_secret",
        "key",
        "signing_key",
        "credentials",
        "database_url",
    ],
)
def test_fields_with_telling_names_are_masked(lines: Lines, field: str) -> None:
    structlog.get_logger("auth").info(
        "event", **{field: "canary"}, details={field: "canary", "list": [{field: "canary"}]}
    )
    [line] = lines()
    assert line[field] == "[hidden]"
    assert line["details"][field] == "[hidden]"
    assert "canary" not in json.dumps(line)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary.canary",
        "got header bearer canary",
        "Basic Y2FuYXJ5OmNhbmFyeQ==",
        "connecting to postgresql+asyncpg://role:canary@host:5432/db",
        "redis://:canary@host",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl was refused",
    ],
)
def test_secrets_in_text_are_masked_where_they_can_be_recognised(lines: Lines, text: str) -> None:
    structlog.get_logger("auth").info(text, note=text)
    logging.getLogger("some.library").warning("%s", text)
    for line in lines():
        written = json.dumps(line)
        assert "[hidden]" in written
        for secret in ("canary", "Y2FuYXJ5", "c2lnbmF0dXJl"):
            assert secret not in written


def test_harmless_text_is_left_alone(lines: Lines) -> None:
    text = "GET https://service.example/ui/index.html: a basic idea, the bearer of news, keyed by user"
    structlog.get_logger("api").info(text, monkeys=3, tokens=5)
    [line] = lines()
    assert line["event"].startswith("GET https://service.example/ui/index.html")
    assert (line["monkeys"], line["tokens"]) == (3, 5)


def test_what_json_cannot_say_is_written_as_text(lines: Lines) -> None:
    structlog.get_logger("api").info("event", path={1}, text="سلام")
    [line] = lines()
    assert line["path"] == "{1}"
    assert line["text"] == "سلام"
