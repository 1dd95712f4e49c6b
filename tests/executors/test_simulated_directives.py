from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.executors.simulated.directives import Duration, Ending, Fate, read_directives


@pytest.mark.parametrize(
    "command",
    ["python train.py", "", "echo '#SIMPLE'", "echo a#SIM exit=3", "sleep", "true; false", "sleep -1", "exit 1000"],
)
def test_an_ordinary_command_asks_for_nothing(command: str) -> None:
    assert read_directives(command) is None


@pytest.mark.parametrize(
    ("directive", "fate"),
    [
        ("exit=0", Fate(Ending.EXIT, 0)),
        ("exit=255", Fate(Ending.EXIT, 255)),
        ("signal=9", Fate(Ending.SIGNAL, 9)),
        ("fault=oom", Fate(Ending.OUT_OF_MEMORY)),
        ("fault=node-loss", Fate(Ending.NODE_LOSS)),
        ("fault=hang", Fate(Ending.HANG)),
        ("fault=lost", Fate(Ending.LOST)),
        ("fault=launch-failure", Fate(Ending.LAUNCH_FAILURE)),
    ],
)
def test_a_command_asks_for_its_end(directive: str, fate: Fate) -> None:
    asked = read_directives(f"python train.py #SIM {directive}")

    assert asked is not None
    assert (asked.fate, asked.trains, asked.remarks) == (fate, True, ())


@pytest.mark.parametrize(
    ("text", "span"),
    [("90s", 90), ("15m", 900), ("2h", 7200), ("0.5s", 0.5), ("50%", 300), ("250%", 1500), ("0s", 0)],
)
def test_a_command_asks_for_its_duration(text: str, span: float) -> None:
    asked = read_directives(f"#SIM duration={text}")

    assert asked is not None
    assert asked.duration is not None
    assert asked.duration.within(timedelta(minutes=10)) == timedelta(seconds=span)


def test_directives_of_all_comments_are_taken_together() -> None:
    asked = read_directives(
        "#SIM  lines=40 fault=slow-start\r\npython train.py \\\n  --lr 1  #SIM fault=ignore-term exit=2"
    )

    assert asked is not None
    assert (asked.lines, asked.slow_start, asked.ignores_term, asked.fate) == (40, True, True, Fate(Ending.EXIT, 2))
    assert asked.remarks == ()


@pytest.mark.parametrize(
    ("directive", "remark"),
    [
        ("exti=1", "exti=1: known are exit, signal, duration, lines and fault"),
        ("exit", "exit: a number from 0 to 255 is needed"),
        ("exit=256", "exit=256: a number from 0 to 255 is needed"),
        ("exit=-1", "exit=-1: a number from 0 to 255 is needed"),
        ("exit=۱", "exit=۱: a number from 0 to 255 is needed"),
        ("signal=0", "signal=0: a number from 1 to 64 is needed"),
        ("signal=65", "signal=65: a number from 1 to 64 is needed"),
        ("lines=0", "lines=0: a number from 1 to 1000000 is needed"),
        ("duration=5", "duration=5: write it as 90s, 15m, 2h or 50%"),
        ("duration=-5s", "duration=-5s: write it as 90s, 15m, 2h or 50%"),
        ("duration=nan%", "duration=nan%: write it as 90s, 15m, 2h or 50%"),
        (
            "fault=fire",
            "fault=fire: known faults are hang, launch-failure, lost, node-loss, oom, ignore-term and slow-start",
        ),
        (
            "fault=exit",
            "fault=exit: known faults are hang, launch-failure, lost, node-loss, oom, ignore-term and slow-start",
        ),
    ],
)
def test_what_is_not_understood_is_named_and_ignored(directive: str, remark: str) -> None:
    asked = read_directives(f"python train.py #SIM {directive}")

    assert asked is not None
    assert asked.remarks == (remark,)
    assert (asked.fate, asked.duration, asked.lines) == (None, None, None)


def test_a_run_ends_only_once() -> None:
    asked = read_directives("python train.py #SIM exit=3 fault=oom")

    assert asked is not None
    assert asked.fate == Fate(Ending.EXIT, 3)
    assert asked.remarks == ("fault=oom: the run already ends by exit",)


@pytest.mark.parametrize(
    ("command", "code", "seconds"),
    [
        ("true", 0, 1),
        ("false", 1, 1),
        ("exit 7", 7, 1),
        ("exit", 0, 1),
        ("exit 300", 44, 1),
        ("sleep 2.5", 0, 2.5),
        (" sleep 0\n", 0, 0),
    ],
)
def test_simple_commands_do_what_a_shell_does(command: str, code: int, seconds: float) -> None:
    asked = read_directives(command)

    assert asked is not None
    assert asked.fate == Fate(Ending.EXIT, code)
    assert asked.duration == Duration(span=timedelta(seconds=seconds))
    assert not asked.trains


def test_a_directive_goes_before_the_simple_command_that_it_follows() -> None:
    asked = read_directives("sleep 30 #SIM exit=4")

    assert asked is not None
    assert asked.fate == Fate(Ending.EXIT, 4)
    assert asked.duration == Duration(span=timedelta(seconds=30))


@given(st.text() | st.text().map(lambda text: f"#SIM {text}"))
def test_no_command_is_unreadable(command: str) -> None:
    read_directives(command)
