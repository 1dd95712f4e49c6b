"""Processes seen from outside: a pid alone is nobody, and what belongs to a run is found and killed."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from app.executors.local import processes, wrapper
from tests.executors.local.wrapper_runs import CGROUP_PARENT, is_alive
from tests.waiting import wait_until


@contextmanager
def process(*argv: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    started = subprocess.Popen(argv, env={"PATH": os.defpath} | environment, start_new_session=True)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def test_a_process_is_signalled_by_its_whole_identity_only() -> None:
    with process("sleep", "60") as sleeping:
        who = processes.identity(sleeping.pid)
        assert who is not None
        assert not processes.signal_process(who.pid, who.start_ticks + 1, who.boot_id, signal.SIGKILL)
        assert not processes.signal_process(who.pid, who.start_ticks, str(uuid4()), signal.SIGKILL)
        assert sleeping.poll() is None
        assert processes.signal_process(who.pid, who.start_ticks, who.boot_id, signal.SIGTERM)
        assert sleeping.wait(10) == -signal.SIGTERM
        assert not processes.signal_process(who.pid, who.start_ticks, who.boot_id, signal.SIGKILL)
    assert processes.identity(sleeping.pid) is None


def test_the_name_of_a_program_cannot_pass_for_its_identity(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    with process(str(program), "60") as sleeping:
        wait_until(lambda: "R 1" in Path(f"/proc/{sleeping.pid}/comm").read_text())
        assert wrapper.process_identity(sleeping.pid) == (os.getpid(), pytest.approx(now_in_ticks(), abs=500))


def now_in_ticks() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def test_a_process_belongs_to_the_run_that_its_environment_names() -> None:
    run, other = uuid4(), uuid4()
    with (
        process("sleep", "60", GTM_RUN_ID=str(run)) as ours,
        process("sleep", "60", GTM_RUN_ID=str(other)) as theirs,
        process("sleep", "60", GTM_RUN_ID="no run", NOT_GTM_RUN_ID=str(run)) as nobodys,
    ):
        wait_until(lambda: all(command(pid) == "sleep" for pid in (ours.pid, theirs.pid, nobodys.pid)))
        assert processes.run_of(ours.pid) == run
        assert processes.run_of(nobodys.pid) is None
        assert processes.pids_of([run, other]) == {run: [ours.pid], other: [theirs.pid]}
        assert {found.pid for found in processes.processes_of(run)} == {ours.pid}
    assert processes.run_of(ours.pid) is None


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_leftovers_are_killed_with_their_descendants_and_nobody_else(tmp_path: Path) -> None:
    directory = run_directory(tmp_path)
    forgetful = "env -i sleep 60 & exec sleep 60"
    with (
        process("sh", "-c", forgetful, GTM_RUN_ID=directory.name) as left,
        process("sleep", "60", GTM_RUN_ID=str(uuid4())) as stranger,
    ):
        wait_until(lambda: len(processes.leftovers(directory)) == 2)
        family = {found.pid for found in processes.leftovers(directory)}
        assert processes.kill_leftovers(directory, patience_seconds=10)
        assert not any(is_alive(pid) for pid in family)
        assert left.poll() == -signal.SIGKILL
        assert stranger.poll() is None
    assert processes.kill_leftovers(directory, patience_seconds=0)


def test_many_processes_of_a_run_are_found_in_as_many_looks_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = run_directory(tmp_path)
    looks: list[list[int]] = []
    look = wrapper.processes

    def counted_look() -> list[int]:
        looks.append(look())
        return looks[-1]

    monkeypatch.setattr(wrapper, "processes", counted_look)
    many = "for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; wait"
    with process("sh", "-c", many, GTM_RUN_ID=directory.name):
        wait_until(lambda: len(processes.leftovers(directory)) == 9)
        looks.clear()
        assert len(processes.leftovers(directory)) == 9
        assert len(looks) == 1
        assert processes.kill_leftovers(directory, patience_seconds=10)


def test_a_group_that_does_not_bear_the_runs_name_is_left_alone(tmp_path: Path) -> None:
    """Where jobs run as the service's own user, one of them could have written the note."""
    base = next((base for kind, base in wrapper.cgroup_bases() if kind in {"unified", "pids"}), None)
    if base is None:
        pytest.skip("this machine lets us make no control groups")
    group = Path(base, CGROUP_PARENT, "somebody")
    group.mkdir(parents=True)
    directory = run_directory(tmp_path, [str(group)])
    try:
        with process("sleep", "60") as member:
            (group / "cgroup.procs").write_text(str(member.pid))
            assert processes.kill_leftovers(directory, patience_seconds=0)
            assert member.poll() is None
        wait_until(lambda: not wrapper.cgroup_members(str(group)))
    finally:
        wrapper.remove_cgroup(str(group.parent))


@pytest.mark.parametrize("note", [None, "", "[]", '{"cgroups": 1}', '{"cgroups": [1, null]}'])
def test_a_note_that_cannot_be_read_is_no_note(tmp_path: Path, note: str | None) -> None:
    directory = run_directory(tmp_path)
    (directory / "child.json").unlink()
    if note is not None:
        (directory / "child.json").write_text(note)
    assert processes.kill_leftovers(directory, patience_seconds=0)


def run_directory(tmp_path: Path, cgroups: list[str] | None = None) -> Path:
    directory = tmp_path / str(uuid4())
    directory.mkdir()
    (directory / "child.json").write_text(json.dumps({"cgroups": cgroups or []}))
    return directory
