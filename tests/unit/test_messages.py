import re
from datetime import UTC, datetime, timedelta
from string import Formatter

import pytest

from app.core.password_rules import broken_rule
from app.domain.errors import DomainError
from app.domain.execution import EndReason, WaitReason
from app.domain.job_state import JobAction, JobStatus
from app.schemas.messages import (
    FIRST_STRONG_ISOLATE,
    LANGUAGES,
    POP_ISOLATE,
    Language,
    find_message,
    message,
    number,
    preferred_language,
    sentences,
    time_ago,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def codes(kind: type[DomainError] = DomainError) -> set[str]:
    return {kind.code}.union(*(codes(child) for child in kind.__subclasses__())) - {"refused"}


def test_both_languages_say_the_same_things() -> None:
    assert sentences("fa").keys() == sentences("en").keys()
    for key, english in sentences("en").items():
        assert placeholders(sentences("fa")[key]) == placeholders(english), key


def test_persian_is_written_with_persian_letters_digits_and_marks() -> None:
    for key, sentence in sentences("fa").items():
        without_examples = re.sub(
            r"[A-Za-z0-9{}:_/-]*[A-Za-z][A-Za-z0-9{}:_/.-]*|\{\w+\}|\d{4}-\d\d-\d\d", "", sentence
        )
        assert not re.search(r"[يىك٠-٩0-9,;?]", without_examples), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_action_and_reason_has_its_sentence(language: Language) -> None:
    needed = {f"error.{code}.{part}" for code in codes() for part in ("title", "detail")}
    needed |= {f"action.{action}" for action in JobAction}
    needed |= {f"reason.{reason}" for reason in EndReason}
    needed |= {f"wait.{reason}" for reason in WaitReason}
    needed |= {f"error.job-state-conflict.{status}" for status in JobStatus}
    assert needed <= sentences(language).keys()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_broken_password_rule_has_its_sentence(language: Language) -> None:
    refused = ("short", "x" * 200, "password1", "sara.ahmadi-2026", "aaaaaaaaaa")
    rules = {broken_rule(password, email="sara.ahmadi@example.org") for password in refused}
    assert None not in rules
    assert {f"error.password-refused.{rule}" for rule in rules} <= sentences(language).keys()


def test_an_unknown_sentence_is_a_mistake_and_can_be_asked_for() -> None:
    with pytest.raises(KeyError):
        message("field.nonsense", "en")
    assert find_message("field.nonsense", "en") is None


@pytest.mark.parametrize(
    ("value", "english", "persian"),
    [
        (8, "8", "۸"),
        (1.5, "1.5", "۱٫۵"),
        (2.0, "2", "۲"),
        (12_345.678, "12,345.68", "۱۲٬۳۴۵٫۶۸"),
        (0, "0", "۰"),
        (-1.0, "-1", "-۱"),
    ],
)
def test_numbers_are_written_in_the_digits_of_the_language(value: float, english: str, persian: str) -> None:
    assert number(value, "en") == english
    assert number(value, "fa") == persian


def test_hours_are_written_with_their_unit() -> None:
    facts = {"needed_hours": 1.0, "available_hours": 0.5}
    assert message("error.quota-exceeded.detail", "en", **facts).startswith("This job needs 1 GPU-hour; ")
    assert "0.5 GPU-hours left" in message("error.quota-exceeded.detail", "en", **facts)


@pytest.mark.parametrize(
    ("age", "english", "persian"),
    [
        (timedelta(seconds=20), "just now", "همین الان"),
        (timedelta(minutes=1), "1 minute ago", "۱ دقیقه پیش"),
        (timedelta(minutes=59), "59 minutes ago", "۵۹ دقیقه پیش"),
        (timedelta(hours=2, minutes=40), "2 hours ago", "۲ ساعت پیش"),
        (timedelta(days=3), "3 days ago", "۳ روز پیش"),
        (timedelta(seconds=-5), "just now", "همین الان"),
    ],
)
def test_ages_are_told_in_the_largest_whole_unit(age: timedelta, english: str, persian: str) -> None:
    assert time_ago(NOW - age, NOW, "en") == english
    assert time_ago(NOW - age, NOW, "fa") == persian


def test_a_name_in_the_other_direction_cannot_turn_the_sentence_around() -> None:
    key, facts = "error.job-state-conflict.APPROVED.by", {"ago": "x"}
    assert f"{FIRST_STRONG_ISOLATE}سارا{POP_ISOLATE} already approved" in message(key, "en", changed_by="سارا", **facts)
    assert "Sara already approved" in message(key, "en", changed_by="Sara", **facts)


def test_a_fact_that_looks_like_a_placeholder_stays_text() -> None:
    sentence = message("error.job-state-conflict.APPROVED.by", "en", changed_by="{ago.__class__}", ago="now")
    assert sentence == "{ago.__class__} already approved this job now."


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", None),
        ("fa", "fa"),
        ("fa-IR", "fa"),
        ("EN-us", "en"),
        ("en;q=0.5, fa;q=0.9", "fa"),
        ("de, en;q=0.1", "en"),
        ("de", None),
        ("*", None),
        ("fa;q=0", None),
        ("fa;q=nonsense, en;q=0.2", "en"),
        ("faa, enx", None),
        ("x," * 10_000 + "fa", None),
    ],
)
def test_the_language_is_the_first_of_ours_by_weight(header: str, language: Language | None) -> None:
    assert preferred_language(header) == language
