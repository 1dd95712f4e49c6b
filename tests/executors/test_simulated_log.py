import re
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.execution import JobSpec
from app.executors.simulated.log import NOTICE, SimulatedLog
from app.executors.simulated.plan import RunPlan, plan_run
from tests.executors.engines import make_spec

WHOLE = 2**24
TEXTS = st.text(max_size=40)
DIRECTIVES = st.sampled_from(
    [
        "",
        "#SIM exit=7",
        "#SIM fault=oom",
        "#SIM fault=hang",
        "#SIM lines=3",
        "#SIM lines=12345 duration=100%",
        "#SIM duration=200%",
    ]
)
SPECS = st.builds(
    lambda run_id, name, text, directive, limit, data: make_spec(
        f"{text} {directive}", run_id=run_id, name=name, time_limit=limit, data_location=data
    ),
    st.uuids(),
    TEXTS,
    TEXTS,
    DIRECTIVES,
    st.timedeltas(timedelta(milliseconds=1), timedelta(hours=20)),
    st.none() | TEXTS,
)
SHARES = st.floats(0, 1)


@given(SPECS, st.lists(SHARES, min_size=2, max_size=2), SHARES, st.booleans())
@settings(deadline=None)
def test_a_log_only_grows_at_its_end(spec: JobSpec, shares: list[float], start: float, ended: bool) -> None:
    plan = plan_run(spec, failure_rate=0.5)
    earlier, later = (plan.ends_after * share for share in sorted(shares))

    offset = int(start * read(spec, plan, earlier, limit=0)[1])
    before, size_before = read(spec, plan, earlier, offset=offset, limit=3000)
    after, size_after = read(spec, plan, later, has_ended=ended, offset=offset, limit=3000)

    assert after.startswith(before)
    assert size_before <= size_after


@given(SPECS, SHARES, st.booleans(), st.integers(1, 5000))
@settings(deadline=None)
def test_a_log_read_in_parts_is_the_whole_log(spec: JobSpec, share: float, ended: bool, limit: int) -> None:
    plan = plan_run(spec, failure_rate=0.5)
    elapsed = plan.ends_after * share
    whole, size = read(spec, plan, elapsed, has_ended=ended)
    start = max(0, size - 20 * limit)

    parts = [
        read(spec, plan, elapsed, has_ended=ended, offset=offset, limit=limit)[0]
        for offset in range(start, size, limit)
    ]

    assert len(whole) == size
    assert b"".join(parts) == whole[start:]
    assert whole.decode().endswith("\n")


@given(SPECS)
def test_text_of_the_owner_stays_in_its_line_and_is_only_text(spec: JobSpec) -> None:
    header = log_of(spec, timedelta(0)).splitlines()

    assert header[0] == NOTICE
    assert header.count(NOTICE) == 1
    assert header[1].startswith("Job 42: ")
    assert header[2].startswith("Run ")
    assert len(header) == 4 + (spec.data_location is not None) + len(spec.command.splitlines())
    assert all(char.isprintable() or char in "\u200c\u200d" for line in header for char in line)


def test_persian_names_are_kept_and_terminal_escapes_are_shown() -> None:
    header = log_of(make_spec("\x1b[31mred\u202e", name="شبکه‌ی عصبی"), timedelta(0))

    assert "Job 42: شبکه‌ی عصبی\n" in header
    assert "  > \\x1b[31mred\\u202e\n" in header


def test_a_log_names_the_gpus_of_every_node() -> None:
    spec = make_spec(num_gpus=3)

    assert "Node node1: A100 0, 1, 2\n" in log_of(spec, timedelta(0))


def test_what_was_not_understood_is_said() -> None:
    header = log_of(make_spec("python train.py #SIM exti=1"), timedelta(0))

    assert "Ignored: exti=1: known are exit, signal, duration, lines and fault\n" in header


def test_loss_falls() -> None:
    lines = training_lines(log_of(make_spec("python train.py #SIM duration=100%"), timedelta(hours=1)))
    losses = [float(line.split("loss ")[1].split()[0]) for line in lines]

    assert len(losses) == 120
    assert max(losses[-20:]) < min(losses[:20])


@pytest.mark.parametrize(
    ("directive", "last_words"),
    [
        ("exit=0", r"Done\.\n.{9} Exit code 0\."),
        ("exit=7", r"Traceback .+\n.{9} \w[\w.]*Error: .+\n.{9} Exit code 7\."),
        ("fault=oom", r"Killed: out of memory\."),
        ("signal=11", r"Segmentation fault\."),
        ("duration=2h", r"Stopped at its time limit of 1:00:00\."),
    ],
)
def test_a_log_says_how_the_run_ended(directive: str, last_words: str) -> None:
    spec = make_spec(f"python train.py #SIM {directive}")
    plan = plan_run(spec, failure_rate=0)

    running, ended = log_of(spec, plan.ends_after), log_of(spec, plan.ends_after, has_ended=True)

    assert re.fullmatch(rf"\[[0-9:]{{7}}\] {last_words}\n", ended.removeprefix(running), re.DOTALL)


def test_the_log_of_a_lost_node_just_stops() -> None:
    spec = make_spec("python train.py #SIM fault=node-loss")
    plan = plan_run(spec, failure_rate=0)

    assert log_of(spec, plan.ends_after, has_ended=True) == log_of(spec, plan.ends_after)


def test_the_log_of_a_stopped_run_ends_where_it_was_stopped() -> None:
    spec = make_spec("python train.py #SIM duration=100%")

    stopped = log_of(spec, timedelta(minutes=20), has_ended=True)

    assert len(training_lines(stopped)) == 40
    assert stopped.endswith("[0:20:00] Stopped before its end.\n")


def test_a_simple_command_writes_no_training_lines() -> None:
    log = log_of(make_spec("sleep 30"), timedelta(seconds=30), has_ended=True)

    assert training_lines(log) == []
    assert log.endswith("[0:00:30] Done.\n[0:00:30] Exit code 0.\n")


@given(
    st.uuids(), st.integers(1, 1_000_000), st.timedeltas(timedelta(seconds=1), timedelta(hours=720)), st.integers(1, 64)
)
@settings(deadline=None)
def test_all_training_lines_are_equally_long(run_id: UUID, lines: int, limit: timedelta, num_gpus: int) -> None:
    spec = make_spec(f"#SIM duration=100% lines={lines}", run_id=run_id, time_limit=limit, num_gpus=num_gpus, slots=())
    plan = plan_run(spec, failure_rate=0)
    log = SimulatedLog(spec, plan)
    header = log.read(0, offset=0, limit=0)[1]
    size = log.read(lines, offset=0, limit=0)[1]
    length = (size - header) // lines

    for index in {0, min(9, lines - 1), lines // 2, lines - 1}:
        line, _ = log.read(lines, offset=header + index * length, limit=length)
        assert line.startswith(b"[")
        assert line.index(b"\n") == length - 1


def read(
    spec: JobSpec,
    plan: RunPlan,
    elapsed: timedelta,
    *,
    has_ended: bool = False,
    offset: int = 0,
    limit: int = WHOLE,
) -> tuple[bytes, int]:
    lines = plan.lines_printed(plan.progress(elapsed))
    return SimulatedLog(spec, plan).read(lines, elapsed if has_ended else None, offset=offset, limit=limit)


def log_of(spec: JobSpec, elapsed: timedelta, *, has_ended: bool = False) -> str:
    return read(spec, plan_run(spec, failure_rate=0), elapsed, has_ended=has_ended)[0].decode()


def training_lines(log: str) -> list[str]:
    return [line for line in log.splitlines() if " epoch " in line]
