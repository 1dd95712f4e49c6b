"""The run wrapper with real commands: one start, every kind of end, and what is left when it is killed itself."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.executors.local import processes, wrapper
from tests.executors.local.wrapper_runs import MakeRun, WrapperRun, is_alive, made_runs
from tests.waiting import wait_until

COUNTS_ITSELF = 'echo x >> "$PWD/starts"; '
IGNORES_TERM = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
MEBIBYTE = 2**20
BEFORE_THE_COMMAND = {
    "wrapper.before-started",
    "wrapper.after-started",
    "wrapper.before-spawn",
    "wrapper.after-child",
}


@pytest.fixture
def make_run() -> Iterator[MakeRun]:
    with made_runs() as make:
        yield make


def starts(run: WrapperRun) -> int:
    try:
        return len((run.work / "starts").read_text().splitlines())
    except FileNotFoundError:
        return 0


def lock_is_held(run: WrapperRun) -> bool:
    with (run.path / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_command_that_ends_well(make_run: MakeRun) -> None:
    run = make_run("echo out; echo err >&2; pwd; sleep 0.1")
    evidence = run.evidence()
    assert run.printed().decode() == f"out\nerr\n{run.work}\n"
    assert {key: evidence[key] for key in ("exit_code", "signal", "stopped", "message", "survivors")} == {
        "exit_code": 0,
        "signal": None,
        "stopped": None,
        "message": None,
        "survivors": False,
    }
    assert evidence["log_bytes"] == len(run.printed())
    assert 0.1 <= evidence["elapsed_seconds"] < 10
    assert evidence["ended_at"] - evidence["started_at"] == pytest.approx(evidence["elapsed_seconds"], abs=0.05)
    assert (run.path / "wrapper.err").read_bytes() == b""


@pytest.mark.parametrize("exit_code", [1, 42, 126, 255])
def test_an_exit_code_is_told_as_it_is(make_run: MakeRun, exit_code: int) -> None:
    evidence = make_run(f"exit {exit_code}").evidence()
    assert (evidence["exit_code"], evidence["signal"], evidence["stopped"]) == (exit_code, None, None)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_told_as_it_is(make_run: MakeRun, number: signal.Signals) -> None:
    evidence = make_run(f"kill -{int(number)} $$").evidence()
    assert (evidence["exit_code"], evidence["signal"], evidence["stopped"]) == (None, number, None)


def test_of_eight_wrappers_one_runs_the_command(make_run: MakeRun) -> None:
    run = make_run(COUNTS_ITSELF + "sleep 0.2", launch=False)
    codes = [started.wait(20) for started in [run.start() for _ in range(8)]]
    assert sorted(codes) == [wrapper.TAKEN] + [wrapper.NOT_OURS] * 7
    assert run.evidence()["exit_code"] == 0
    assert run.launch() == wrapper.NOT_OURS
    assert starts(run) == 1


def test_somebody_who_looks_at_the_lock_does_not_keep_the_run_from_starting(make_run: MakeRun) -> None:
    run = make_run("exit 7", launch=False)
    with (run.path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        started = run.start()
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(0.2)
    assert started.wait(10) == wrapper.TAKEN
    assert run.evidence()["exit_code"] == 7


def test_a_second_wrapper_leaves_everything_as_it_is(make_run: MakeRun) -> None:
    run = make_run("echo once; exit 3")
    evidence = run.evidence()
    wait_until(lambda: not lock_is_held(run))
    before = {path.name: path.stat().st_mtime_ns for path in run.path.iterdir() if path.name != "wrapper.err"}
    assert run.launch() == wrapper.NOT_OURS
    assert before == {path.name: path.stat().st_mtime_ns for path in run.path.iterdir() if path.name != "wrapper.err"}
    assert run.evidence() == evidence


def test_the_lock_is_held_as_long_as_the_wrapper_lives_and_never_by_the_job(make_run: MakeRun) -> None:
    run = make_run("sleep 60")
    child = run.child
    assert lock_is_held(run)
    held = [str(entry.readlink()) for entry in Path(f"/proc/{child}/fd").iterdir()]
    assert sorted(name.split(":")[0] for name in held) == ["/dev/null", "pipe", "pipe"]
    os.kill(run.wrapper, signal.SIGKILL)
    wait_until(lambda: not lock_is_held(run))


def test_the_wrapper_belongs_to_nobody_who_could_take_it_along(make_run: MakeRun) -> None:
    """Whoever starts it, as a whole session, can be killed."""
    run = make_run("echo begun; sleep 0.3; exit 5", launch=False)
    argv = [sys.executable, "-I", "-S", "-E", wrapper.__file__, str(run.path)]
    script = f"import subprocess, time; subprocess.run({argv!r}); time.sleep(60)"
    starter = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    run.waits_for(b"begun")
    assert os.getsid(run.wrapper) == run.wrapper
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait(10)
    assert run.evidence()["exit_code"] == 5


def test_a_job_hears_sigterm_and_has_time_to_end(make_run: MakeRun) -> None:
    run = make_run("trap 'echo saving; sleep 0.2; echo saved; exit 9' TERM; echo ready; while :; do sleep 0.01; done")
    run.waits_for(b"ready")
    run.stop(grace_seconds=20)
    evidence = run.evidence()
    assert (evidence["exit_code"], evidence["stopped"]) == (9, "stop")
    assert b"saved" in run.printed()


def test_the_grace_lasts_until_the_last_process_is_done_and_not_only_the_shell(make_run: MakeRun) -> None:
    run = make_run(
        "bash -c 'trap \"sleep 0.3; echo saved; exit\" TERM; echo ready; while :; do sleep 0.01; done'; echo"
    )
    run.waits_for(b"ready")
    run.stop(grace_seconds=20)
    assert run.evidence()["stopped"] == "stop"
    assert b"saved" in run.printed()


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(make_run: MakeRun) -> None:
    run = make_run(IGNORES_TERM)
    run.waits_for(b"ready")
    stopped_at = time.monotonic()
    run.stop(grace_seconds=0.3)
    evidence = run.evidence()
    assert time.monotonic() - stopped_at >= 0.3
    assert (evidence["signal"], evidence["stopped"]) == (signal.SIGKILL, "stop")


@pytest.mark.parametrize("wish", ["", "[]", "{}", '{"grace_seconds": "long"}'])
def test_a_stop_without_a_readable_grace_has_that_of_the_run(make_run: MakeRun, wish: str) -> None:
    run = make_run(IGNORES_TERM, kill_grace_seconds=0.1)
    run.waits_for(b"ready")
    run.write("stop", wish)
    os.kill(run.wrapper, signal.SIGTERM)
    assert run.evidence()["stopped"] == "stop"


def test_a_run_that_was_stopped_before_it_began_never_begins(make_run: MakeRun) -> None:
    run = make_run(COUNTS_ITSELF, launch=False)
    run.write("stop", json.dumps({"grace_seconds": 1}))
    assert run.launch() == wrapper.TAKEN
    evidence = run.evidence()
    assert (evidence["stopped"], evidence["started_at"], evidence["elapsed_seconds"]) == ("stop", None, 0)
    assert starts(run) == 0


def test_signals_that_ask_for_nothing_change_nothing(make_run: MakeRun) -> None:
    run = make_run("trap 'echo heard' HUP TERM INT USR1; echo ready; read -t 0.5 < <(sleep 1); exit 4")
    run.waits_for(b"ready")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGQUIT, signal.SIGPIPE):
        os.kill(run.wrapper, number)
    assert run.evidence()["exit_code"] == 4
    assert b"heard" not in run.printed()


def test_the_time_limit_ends_a_job(make_run: MakeRun) -> None:
    run = make_run("trap 'echo out of time; exit 0' TERM; while :; do sleep 0.01; done", time_limit_seconds=0.5)
    evidence = run.evidence()
    assert evidence["stopped"] == "time_limit"
    assert evidence["exit_code"] == 0
    assert 0.5 <= evidence["elapsed_seconds"] < 5
    assert b"out of time" in run.printed()


def test_a_job_that_ignores_its_time_limit_is_killed(make_run: MakeRun) -> None:
    run = make_run(IGNORES_TERM, time_limit_seconds=0.3, kill_grace_seconds=0.2)
    evidence = run.evidence()
    assert (evidence["signal"], evidence["stopped"]) == (signal.SIGKILL, "time_limit")
    assert 0.5 <= evidence["elapsed_seconds"] < 5


@pytest.mark.parametrize(
    "leaves_behind",
    [
        "sleep 300 & ",
        "setsid sleep 300 & ",
        "(setsid nohup sleep 300 >/dev/null 2>&1 </dev/null & ) ; ",
        "env -i setsid sleep 300 & ",
        "sleep 300 & kill -STOP $!; ",
        "(trap '' TERM HUP; (exec -a innocent sleep 300) & ) ; ",
    ],
    ids=["child", "setsid", "daemon", "cleared environment", "stopped", "ignores signals"],
)
@pytest.mark.parametrize("cgroups", [True, False], ids=["with cgroups", "without cgroups"])
def test_nothing_outlives_the_first_process(make_run: MakeRun, leaves_behind: str, cgroups: bool) -> None:
    changes = {} if cgroups else {"cgroup_parent": None}
    ours = str(1_000_000 + os.getpid())  # other tests run at the same time, and leave sleepers behind as well
    leaves_behind = leaves_behind.replace("300", ours)
    run = make_run(f"{leaves_behind} sleep 0.1; ps -o pid= --ppid $$ ; exit 6", launch=False, **changes)
    before = set(wrapper.processes())
    assert run.launch() == wrapper.TAKEN
    evidence = run.evidence()
    assert (evidence["exit_code"], evidence["survivors"]) == (6, False)
    left = [
        pid for pid in set(wrapper.processes()) - before if command_line(pid) in (f"sleep {ours}", f"innocent {ours}")
    ]
    assert left == []


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def test_a_job_that_is_killed_from_outside(make_run: MakeRun) -> None:
    run = make_run("sleep 60")
    os.kill(run.child, signal.SIGKILL)
    evidence = run.evidence()
    assert (evidence["signal"], evidence["stopped"]) == (signal.SIGKILL, None)


def test_when_the_wrapper_is_killed_the_kernel_kills_the_first_process_and_we_the_others(make_run: MakeRun) -> None:
    run = make_run("setsid sleep 60 & env -i setsid sleep 60 & echo ready; sleep 60; true")
    run.waits_for(b"ready")
    child = run.child
    os.kill(run.wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(child))
    assert processes.leftovers(run.path)
    assert processes.kill_leftovers(run.path, patience_seconds=10)
    assert processes.leftovers(run.path) == set()
    assert not (run.path / "evidence.json").exists()
    assert [path for path in run.read("child.json")["cgroups"] if Path(path).exists()] == []


def test_without_control_groups_what_forgot_its_environment_is_known_by_its_session(make_run: MakeRun) -> None:
    if wrapper.session_mark(os.getpid()) is None:
        pytest.skip("this kernel numbers no sessions")
    run = make_run("env -i sleep 61 & echo ready; sleep 60; true", cgroup_parent=None)
    run.waits_for(b"ready")
    wait_until(lambda: len(family := list(processes.leftovers(run.path))) == 3 and all_sleep(family))
    family = processes.leftovers(run.path)
    os.kill(run.wrapper, signal.SIGKILL)
    wait_until(lambda: not is_alive(run.child))
    [forgetful] = [who.pid for who in family if is_alive(who.pid) and processes.run_of(who.pid) is None]

    note = run.read("child.json")
    run.write("child.json", json.dumps({**note, "boot_id": "of an earlier life"}))
    assert forgetful not in {who.pid for who in processes.leftovers(run.path)}

    run.write("child.json", json.dumps(note))
    assert processes.kill_leftovers(run.path, patience_seconds=10)
    assert not is_alive(forgetful)


def all_sleep(family: list[processes.ProcessIdentity]) -> bool:
    names = [Path(f"/proc/{who.pid}/comm").read_text().strip() for who in family]
    return names.count("sleep") == 2


def test_when_the_whole_group_is_killed_nothing_is_left(make_run: MakeRun) -> None:
    run = make_run("sleep 60 & sleep 60")
    child = run.child
    os.killpg(run.wrapper, signal.SIGKILL)
    os.killpg(child, signal.SIGKILL)
    assert processes.kill_leftovers(run.path, patience_seconds=10)
    assert run.launch() == wrapper.NOT_OURS


@pytest.mark.parametrize(
    ("point", "may_begin_later"),
    [
        ("wrapper.before-started", True),
        ("wrapper.after-started", False),
        ("wrapper.before-spawn", False),
        ("wrapper.after-child", False),
        ("wrapper.after-spawn", False),
        ("wrapper.before-evidence", False),
        ("wrapper.before-rename", False),
        ("wrapper.after-rename", False),
    ],
)
def test_wherever_the_wrapper_dies_the_command_runs_at_most_once(
    make_run: MakeRun, point: str, may_begin_later: bool
) -> None:
    run = make_run(COUNTS_ITSELF + "exit 3", launch=False)
    run.launch(CRASH_AT=point)
    wait_until(lambda: not lock_is_held(run))
    assert processes.kill_leftovers(run.path, patience_seconds=10)
    has_evidence = (run.path / "evidence.json").exists()
    assert has_evidence == (point == "wrapper.after-rename")
    if point in BEFORE_THE_COMMAND:
        assert starts(run) == 0
    assert run.launch() == (wrapper.TAKEN if may_begin_later else wrapper.NOT_OURS)
    if may_begin_later or has_evidence:
        assert run.evidence()["exit_code"] == 3
        assert starts(run) == 1
    assert starts(run) <= 1


@pytest.mark.parametrize(
    ("command", "changes", "sentence"),
    [
        ("true", {"cwd": "/nowhere"}, "The working directory /nowhere cannot be entered: No such file or directory."),
        ("x" * 200_000, {}, "The command cannot be run: Argument list too long."),
        ("true", {"env": None}, "The run's description could not be read: a mapping is missing"),
    ],
    ids=["no directory", "too long", "broken description"],
)
def test_a_command_that_cannot_be_run_says_why(
    make_run: MakeRun, command: str, changes: dict[str, object], sentence: str
) -> None:
    evidence = make_run(command, **changes).evidence()
    assert (evidence["stopped"], evidence["message"], evidence["exit_code"]) == ("launch", sentence, None)
    assert (evidence["started_at"], evidence["elapsed_seconds"]) == (None, 0)


def test_a_wrapper_at_rest_is_small_and_asleep(make_run: MakeRun) -> None:
    run = make_run("echo begun; sleep 60")
    run.waits_for(b"begun")
    busy = cpu_seconds(run.wrapper)
    watched_from = time.monotonic()
    time.sleep(1)
    share = (cpu_seconds(run.wrapper) - busy) / (time.monotonic() - watched_from)
    resident = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{run.wrapper}/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    assert resident < 12 * MEBIBYTE
    assert share < 0.01


def cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
