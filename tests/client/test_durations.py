"""Time limits as people write them."""

from datetime import timedelta

import pytest

from gtm.durations import format_hours, hours_of, parse_duration
from gtm.errors import UsageError


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("4h", 4),
        ("90m", 1.5),
        ("1.5h", 1.5),
        ("1h30m", 1.5),
        ("2d", 48),
        ("36s", 0.01),
        ("2:30:00", 2.5),
        ("1-02:00:00", 26),
        ("1-02", 26),
        ("1-02:30", 26.5),
        ("30-00:00:00", 720),
        ("4H", 4),
        (" 4h ", 4),
        ("۴h", 4),
        ("۱٫۵h", 1.5),
        ("٢:٣٠:٠٠", 2.5),
    ],
)
def test_a_time_is_understood(text: str, hours: float) -> None:
    assert hours_of(parse_duration(text)) == hours


@pytest.mark.parametrize(
    ("text", "advice"),
    [("90", "write 90m for minutes, or 90h for hours"), ("۹۰", "90m"), ("1.5", "1.5h"), ("2:30", "2h30m")],
)
def test_a_time_that_could_mean_two_things_is_refused_with_both(text: str, advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "h", "4x", "-4h", "4 h", "1h1h", "30m1h", "1:60:00", "1:2:3:4", "nan", "1e3h"])
def test_what_is_no_time_is_refused_with_the_ways_to_write_one(text: str) -> None:
    with pytest.raises(UsageError, match="is not a time limit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0h", "0.1s", "720h1s", "31d", "999999999d"])
def test_a_time_that_no_job_may_have_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="from one second to 720 hours"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("hours", "text"), [(4, "4h"), (1.5, "1h30m"), (26, "1d2h"), (0.0125, "45s"), (720, "30d"), (0, "0s")]
)
def test_hours_are_written_as_they_can_be_read(hours: float, text: str) -> None:
    assert format_hours(hours) == text
    if hours:
        assert parse_duration(text) == timedelta(hours=hours)
