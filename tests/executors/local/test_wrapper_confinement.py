"""What a job cannot do: see secrets, touch its own evidence, leave its limits or its sandbox."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.executors.local import processes, wrapper
from tests.executors.local.wrapper_runs import (
    NOBODY,
    MakeRun,
    is_alive,
    made_runs,
    needs_bubblewrap,
    needs_root,
)
from tests.waiting import HANG_SECONDS, wait_until

CANARY = "canary-4f1c9d7e"
AS_NOBODY = {"uid": NOBODY.pw_uid, "gid": NOBODY.pw_gid, "groups": [NOBODY.pw_gid]}
IN_A_SANDBOX = (AS_NOBODY if os.geteuid() == 0 else {}) | {"sandbox": "bubblewrap"}
MEBIBYTE = 2**20
PROCESS_LIMIT = 40
FORK_BOMB = "echo ready; bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) & bomb $(($1 - 1)) & }; sleep 60; }; bomb 6"
"""It would be 127 shells and as many sleeps: a wrapper that did not hold it back should fail a test, not a machine."""

DEVICES_OF_EVERY_SANDBOX = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}


@pytest.fixture
def make_run() -> Iterator[MakeRun]:
    with made_runs() as make:
        yield make


@pytest.fixture
def make_limited_run(make_run: MakeRun) -> MakeRun:
    """Where control groups can limit memory and processes, which the wrapper itself says."""
    probe = make_run("true", memory_limit_bytes=64 * MEBIBYTE, process_limit=20)
    probe.evidence()
    described = probe.read("child.json")
    if not (described["limits_memory"] and described["limits_processes"]):
        pytest.skip("this machine lets us make no control groups that limit memory and processes")
    return make_run


def test_the_environment_is_what_was_asked_for_and_nothing_else(make_run: MakeRun) -> None:
    environment = {"PATH": os.defpath, "GREETING": "سلام", "EMPTY": "", "LINES": "two\nlines"}
    run = make_run("exec cat /proc/self/environ", launch=False, env=environment)
    run.launch(SECRET=CANARY, DATABASE_URL=CANARY, PYTHONPATH=CANARY, LD_LIBRARY_PATH="")
    run.evidence()
    seen = dict(entry.split("=", 1) for entry in run.printed().decode().split("\0") if entry)
    assert {name: seen.pop(name) for name in environment} == environment
    assert seen.keys() <= {"PWD", "SHLVL", "_", "OLDPWD"}  # made by the shell


@needs_root
def test_no_secret_of_whoever_started_the_wrapper_comes_within_the_jobs_reach(make_run: MakeRun) -> None:
    run = make_run("cat /proc/*/environ /proc/*/cmdline 2>/dev/null; env; exit 0", launch=False, **AS_NOBODY)
    run.launch(SECRET=CANARY, JWT_SECRET_KEY=CANARY)
    run.evidence()
    assert CANARY.encode() not in run.printed()
    assert all(CANARY.encode() not in path.read_bytes() for path in run.path.iterdir() if path.is_file())


def test_nothing_is_inherited(make_run: MakeRun) -> None:
    run = make_run(
        "ls /proc/self/fd; readlink /proc/self/fd/0; ulimit -c; umask; grep -E 'Sig(Ign|Blk)' /proc/self/status",
        launch=False,
    )
    secret = os.open("/proc/self/status", os.O_RDONLY)
    assert run.start(pass_fds=(secret,)).wait(HANG_SECONDS) == wrapper.TAKEN
    os.close(secret)
    run.evidence()
    assert run.printed().decode().split() == [
        *("0", "1", "2", "3"),  # the last one is how `ls` reads its directory
        *("/dev/null", "0", "0022"),
        *("SigBlk:", "0" * 16, "SigIgn:", "0" * 16),
    ]


@needs_root
def test_a_job_of_another_user_has_no_way_back(make_run: MakeRun) -> None:
    run = make_run("id -u; id -G; grep -E 'NoNewPrivs|Cap(Eff|Prm|Inh|Amb)' /proc/self/status", **AS_NOBODY)
    run.evidence()
    words = run.printed().decode().split()
    assert words[:2] == [str(NOBODY.pw_uid), str(NOBODY.pw_gid)]
    facts = dict(zip(words[2::2], words[3::2], strict=True))
    assert facts == {
        "NoNewPrivs:": "1",
        **dict.fromkeys(("CapEff:", "CapPrm:", "CapInh:", "CapAmb:"), "0" * 16),
    }


@needs_root
@pytest.mark.parametrize(
    "attempt",
    [
        "cat ../spec.json",
        "cat ../started",
        "cat ../log.*",
        "ls ..",
        "echo forged > ../evidence.json",
        "echo forged > ../stop",
        "ln -s /etc/passwd ../log.00000000000000000099",
        "ln -sf /etc/passwd ../evidence.json",
        "mv ../evidence.tmp mine",
        "truncate -s 0 ../log.00000000000000000000",
        "rm -f ../log.00000000000000000000",
        "flock -n ../lock true",
        "kill -STOP $PPID",
        "cat /proc/$PPID/environ",
    ],
)
def test_a_job_of_another_user_cannot_touch_what_the_service_keeps(make_run: MakeRun, attempt: str) -> None:
    run = make_run(
        f"echo kept; until [ -e ../log.00000000000000000000 ]; do :; done; ( {attempt} ) 2>/dev/null && echo succeeded",
        **AS_NOBODY,
    )
    assert run.evidence()["exit_code"] != 0
    assert run.printed() == b"kept\n"


def test_when_the_machine_is_out_of_memory_a_job_is_killed_before_its_wrapper(make_run: MakeRun) -> None:
    run = make_run("cat /proc/self/oom_score_adj; sleep 60")
    run.waits_for(b"\n")
    ours = int(Path("/proc/self/oom_score_adj").read_text())
    assert int(Path(f"/proc/{run.wrapper}/oom_score_adj").read_text()) == ours
    assert int(run.printed()) == max(ours, wrapper.OOM_SCORE)


@needs_root
def test_a_job_can_open_its_own_output_by_name(make_run: MakeRun) -> None:
    run = make_run("echo out > /dev/stdout; echo err > /dev/stderr", **AS_NOBODY)
    assert run.evidence()["exit_code"] == 0
    assert run.printed() == b"out\nerr\n"


def test_what_the_job_plants_in_place_of_its_log_is_not_followed(make_run: MakeRun, tmp_path: Path) -> None:
    """As the service's own user it can write into the run directory, which is why that needs trust."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    limit = 64 * 1024
    plant = f"for i in $(seq 0 {limit // 2} {4 * limit}); do ln -s {victim} ../log.$(printf %020d $i); done; "
    plant += f"ln -s {victim} ../evidence.json; "
    run = make_run(plant + f"head -c {4 * limit} /dev/zero; echo; echo last", log_limit_bytes=limit)
    wait_until(lambda: (run.path / "evidence.json").is_file() and not (run.path / "evidence.json").is_symlink())
    assert run.read("evidence.json")["exit_code"] == 0
    assert victim.read_text() == "untouched"
    assert run.printed().endswith(b"\nlast\n")


@needs_root
def test_a_missing_right_to_enter_the_working_directory_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    evidence = make_run("true", cwd=str(tmp_path), **AS_NOBODY).evidence()
    assert evidence["message"] == f"The working directory {tmp_path} cannot be entered: Permission denied."


def test_the_service_cannot_become_a_user_that_it_has_no_right_to_be(make_run: MakeRun) -> None:
    evidence = make_run("true", uid=2**32 - 2, gid=None, groups=[]).evidence()
    assert evidence["stopped"] == "launch"
    assert "user" in evidence["message"]


def test_memory_beyond_the_limit_is_told_as_out_of_memory(make_limited_run: MakeRun) -> None:
    run = make_limited_run("echo begun; head -c 200M /dev/zero | tail -c 200M", memory_limit_bytes=24 * MEBIBYTE)
    evidence = run.evidence()
    assert evidence["stopped"] == "oom"
    assert (evidence["signal"], evidence["exit_code"]) in {(signal.SIGKILL, None), (None, 128 + signal.SIGKILL)}
    assert b"begun" in run.printed()


def test_a_job_that_survives_the_loss_of_a_part_ends_as_it_says(make_limited_run: MakeRun) -> None:
    run = make_limited_run("head -c 200M /dev/zero | tail -c 200M; true; exit 0", memory_limit_bytes=24 * MEBIBYTE)
    evidence = run.evidence()
    assert (evidence["stopped"], evidence["exit_code"]) in {(None, 0), ("oom", None)}  # one by one, or as a whole


def test_a_fork_bomb_ends_at_its_limit_and_is_gone_afterwards(make_limited_run: MakeRun) -> None:
    run = make_limited_run(FORK_BOMB, process_limit=PROCESS_LIMIT)
    run.waits_for(b"ready")
    pids = Path(next(path for path in run.read("child.json")["cgroups"] if Path(path, "pids.max").exists()))
    wait_until(lambda: (pids / "pids.events").read_text().split() > ["max", "0"])
    assert int((pids / "pids.current").read_text()) <= PROCESS_LIMIT
    run.stop(grace_seconds=0)
    assert run.evidence()["survivors"] is False
    assert not pids.exists()
    assert processes.processes_of(run.id) == set()


@needs_root
def test_a_fork_bomb_is_limited_and_killed_without_control_groups_too(make_run: MakeRun) -> None:
    run = make_run(FORK_BOMB, process_limit=PROCESS_LIMIT, cgroup_parent=None, **AS_NOBODY)
    run.waits_for(b"fork")  # bash complains about the first one that it was refused
    assert len(processes.processes_of(run.id)) <= PROCESS_LIMIT
    run.stop(grace_seconds=0)
    assert run.evidence()["survivors"] is False
    assert processes.processes_of(run.id) == set()


@needs_root
def test_the_wrapper_leaves_the_groups_of_whoever_started_it(make_limited_run: MakeRun) -> None:
    run = make_limited_run("sleep 60")
    child = run.child
    own, jobs = (Path(f"/proc/{pid}/cgroup").read_text() for pid in (run.wrapper, child))
    assert "/wrappers\n" in own
    assert f"/{run.id}\n" in jobs
    assert f"/{run.id}\n" not in own


def test_control_groups_are_given_back(make_limited_run: MakeRun) -> None:
    run = make_limited_run("mkdir -p $(dirname $PWD)/x; exit 0")
    run.evidence()
    groups = run.read("child.json")["cgroups"]
    assert groups
    assert not any(Path(group).exists() for group in groups)


@needs_bubblewrap
def test_a_sandbox_shows_the_machine_read_only_and_only_its_own_devices(make_run: MakeRun) -> None:
    allowed, *others = other_devices()
    run = make_run(
        "ls /dev; echo --; touch /etc/planted /usr/planted; echo $?; head -c 4 /dev/zero | wc -c; ls -d /etc/passwd",
        gpu_device_paths=[f"/dev/{allowed}", "/dev/nvidia-that-is-not-there"],
        **IN_A_SANDBOX,
    )
    assert run.evidence()["exit_code"] == 0
    devices, _, rest = run.printed().decode().partition("--\n")
    assert allowed in devices.split()
    assert not set(others) & set(devices.split())
    assert rest.split()[-3:] == ["1", "4", "/etc/passwd"]


def other_devices() -> list[str]:
    """Character devices of this machine that a sandbox has no use for: at least two."""
    names = [path.name for path in Path("/dev").iterdir() if stat.S_ISCHR(path.lstat().st_mode)]
    found = sorted(set(names) - DEVICES_OF_EVERY_SANDBOX)
    if len(found) < 2:
        pytest.skip("this machine has no devices that could be hidden")
    return found


@needs_bubblewrap
def test_a_sandbox_has_a_tmp_of_its_own_and_sees_nothing_that_is_hidden(make_run: MakeRun) -> None:
    outside, private = (Path("/tmp") / f"gtm-{name}-{os.getpid()}" for name in ("outside", "private"))  # noqa: S108
    run = make_run(
        f"ls -A ..; cat ../../secret {outside}; touch ../planted ../../planted && echo planted;"
        f"echo private > {private}; cat {private}; echo kept > result; pwd",
        launch=False,
        **IN_A_SANDBOX,
    )
    secret = run.path.parent / "secret"
    for file in (outside, secret):
        file.write_text(CANARY)
    try:
        run.launch()
        assert run.evidence()["exit_code"] == 0
    finally:
        outside.unlink()
    lines = [line for line in run.printed().decode().splitlines() if not line.startswith(("cat:", "touch:"))]
    assert lines == ["work", "private", str(run.work)]
    assert (run.work / "result").read_text() == "kept\n"
    assert not private.exists()


@needs_bubblewrap
def test_a_sandbox_shows_no_process_but_its_own_and_none_outlives_it(make_run: MakeRun) -> None:
    before = set(wrapper.processes())
    run = make_run("setsid sleep 300 & env -i setsid sleep 300 & cat /proc/[0-9]*/comm; exit 8", **IN_A_SANDBOX)
    evidence = run.evidence()
    assert (evidence["exit_code"], evidence["survivors"]) == (8, False)
    assert set(run.printed().decode().split()) <= {"bwrap", "bash", "sh", "sleep", "setsid", "env", "cat"}
    assert not [pid for pid in set(wrapper.processes()) - before if processes.run_of(pid) == run.id]


@needs_bubblewrap
def test_a_job_in_a_sandbox_hears_sigterm(make_run: MakeRun) -> None:
    run = make_run("trap 'echo saved; exit 9' TERM; echo ready; while :; do sleep 0.01; done", **IN_A_SANDBOX)
    run.waits_for(b"ready")
    run.stop(grace_seconds=20)
    evidence = run.evidence()
    assert (evidence["exit_code"], evidence["stopped"]) == (9, "stop")
    assert b"saved" in run.printed()


@needs_bubblewrap
def test_a_job_in_a_sandbox_that_ignores_sigterm_is_killed(make_run: MakeRun) -> None:
    run = make_run("trap '' TERM; echo ready; while :; do sleep 0.1; done", **IN_A_SANDBOX)
    run.waits_for(b"ready")
    run.stop(grace_seconds=0.2)
    assert run.evidence()["stopped"] == "stop"
    assert processes.processes_of(run.id) == set()


@needs_bubblewrap
def test_when_the_wrapper_is_killed_the_sandbox_dies_with_all_that_is_in_it(make_run: MakeRun) -> None:
    run = make_run("env -i setsid sleep 300 & echo ready; sleep 300; true", cgroup_parent=None, **IN_A_SANDBOX)
    run.waits_for(b"ready")
    inside = {pid for pid, _ in wrapper.descendants(wrapper.everybody(), [run.wrapper])}
    assert len(inside) >= 4  # bubblewrap twice, the shell, and what it left behind
    os.kill(run.wrapper, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in inside))


@needs_bubblewrap
def test_a_sandbox_that_cannot_be_set_up_is_no_fault_of_the_command(make_run: MakeRun) -> None:
    evidence = make_run("exit 1", writable_paths=["/nowhere"], **IN_A_SANDBOX).evidence()
    assert evidence["stopped"] == "launch"
    assert evidence["message"] == "The sandbox could not be set up; the log says why."
    assert make_run("exit 1", **IN_A_SANDBOX).evidence()["stopped"] is None
    killed = make_run("sleep 60", **IN_A_SANDBOX)
    os.kill(killed.child, signal.SIGKILL)
    assert killed.evidence()["stopped"] is None


@needs_bubblewrap
@needs_root
def test_the_jobs_environment_rules_no_program_that_has_the_services_rights(make_run: MakeRun, tmp_path: Path) -> None:
    """A variable such as PATH or LD_PRELOAD would be code that root runs, if root set up the sandbox."""
    false_bwrap = tmp_path / "bwrap"
    false_bwrap.write_text("#!/bin/sh\necho planted sandbox\n")
    false_bwrap.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.defpath}", "LD_PRELOAD": "/nowhere/planted.so"}
    run = make_run("echo ready; sleep 60; true", env=environment, **IN_A_SANDBOX)
    run.waits_for(b"ready")
    users = {Path(f"/proc/{pid}").stat().st_uid for pid, _ in wrapper.descendants(wrapper.everybody(), [run.wrapper])}
    assert users == {NOBODY.pw_uid}
    assert b"planted.so" in run.printed()  # the loader of the job's own processes complains about it
    assert b"planted sandbox" not in run.printed()
