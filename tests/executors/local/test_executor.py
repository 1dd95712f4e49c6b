"""What the local engine does beyond the contract: what it reads in run directories, and what it makes of trouble."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.core.clock import system_clock
from app.domain.execution import (
    EndReason,
    JobSpec,
    LaunchError,
    LogUnavailable,
    Observation,
    RunState,
    StartPostponed,
)
from app.executors.local import executor as local_executor
from app.executors.local import processes, samples, wrapper
from app.executors.local.account import problem_with_bubblewrap
from app.executors.local.ends import MACHINE_RESTARTED
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.launch import launch_wrapper
from app.executors.local.processes import processes_of
from app.executors.local.run_directory import RunDirectory, Started
from app.executors.local.spec import LocalOptions
from tests.executors.engines import make_spec
from tests.executors.local.runs import end_all, one_user, other_user, runs_directory
from tests.waiting import HANG_SECONDS, eventually, wait_until

pytestmark = pytest.mark.anyio

GRACE = timedelta(seconds=1)
LONG = "echo begun; sleep 600"


@pytest.fixture
def runs() -> Iterator[Path]:
    with runs_directory() as directory:
        yield directory


@pytest.fixture
def executor(runs: Path) -> LocalExecutor:
    return make_executor(runs)


def make_executor(runs: Path, **options: object) -> LocalExecutor:
    chosen = replace(LocalOptions(runs, users=one_user()), **options)  # type: ignore[arg-type]
    return LocalExecutor(open_devices("2xCPU"), chosen, system_clock)


def spec_of(command: str, **facts: object) -> JobSpec:
    slots = [device.info.slot for device in open_devices("2xCPU").list()]
    return make_spec(command, launched_at=system_clock(), slots=slots, **facts)  # type: ignore[arg-type]


async def test_a_run_that_was_stopped_before_it_was_started_never_begins(executor: LocalExecutor, runs: Path) -> None:
    spec = spec_of("echo begun")
    await executor.stop(spec.run_id, GRACE)
    assert await executor.poll([spec.run_id]) == {}

    await executor.start(spec)

    ended = await end_of(executor, spec.run_id)
    assert (ended.reason, ended.signal, ended.elapsed) == (EndReason.SIGNALLED, signal.SIGTERM, timedelta(0))
    assert ended.started_at is None
    assert list((runs / str(spec.run_id)).glob("log.*")) == []


async def test_a_run_that_was_refused_never_begins_whoever_still_starts_it(executor: LocalExecutor, runs: Path) -> None:
    """A dispatcher that was paused may go on where it was, long after another one has told the owner."""
    spec = spec_of("echo begun")
    with pytest.raises(LaunchError):
        await executor.start(replace(spec, slots=()))

    await make_executor(runs).start(spec)

    assert (await end_of(executor, spec.run_id)).reason is EndReason.SIGNALLED
    assert list((runs / str(spec.run_id)).glob("log.*")) == []


async def test_starts_that_hang_hold_up_nobody_who_looks_at_a_run(
    executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = spec_of(LONG)
    await begun(executor, running)
    go_on = threading.Event()
    monkeypatch.setattr(local_executor, "launch_wrapper", lambda _: go_on.wait(4 * HANG_SECONDS))
    starts = [asyncio.ensure_future(executor.start(spec_of(LONG))) for _ in range(20)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(HANG_SECONDS):
            assert await log_of(executor, running) == "begun\n"
            assert list(await executor.poll([running.run_id])) == [running.run_id]
            await executor.stop(running.run_id, GRACE)
    finally:
        go_on.set()
        await asyncio.gather(*starts)


def test_the_job_is_given_its_directories_and_nothing_that_it_put_in_their_place(tmp_path: Path) -> None:
    user = other_user()
    if user is None:
        pytest.skip("only root can give something away")
    directory = RunDirectory(tmp_path / str(uuid4()))
    directory.make()
    directory.make_work((user.uid, user.gid))
    assert [(directory.work / name).stat().st_uid for name in (".", "tmp")] == [user.uid, user.uid]
    treasure = tmp_path / "treasure"
    treasure.touch()
    (directory.work / "tmp").rmdir()
    (directory.work / "tmp").hardlink_to(treasure)

    with pytest.raises(NotADirectoryError):
        directory.make_work((user.uid, user.gid))

    assert treasure.stat().st_uid == 0


async def test_a_clock_that_is_set_forward_makes_no_run_last_longer(executor: LocalExecutor, runs: Path) -> None:
    """A run that seems to have overstayed would be stopped."""
    spec = spec_of("sleep 1000")
    await executor.start(spec)
    options = LocalOptions(runs, users=one_user())
    later = LocalExecutor(open_devices("2xCPU"), options, lambda: system_clock() + timedelta(days=1))
    await later.adopt([spec])
    observations: list[Observation] = []

    async def runs_there() -> bool:
        observations[:] = (await later.poll([spec.run_id])).values()
        return bool(observations) and observations[0].state is RunState.RUNNING

    await eventually(runs_there)
    assert observations[0].elapsed < timedelta(hours=1)
    await executor.stop(spec.run_id, timedelta(0))
    await end_of(executor, spec.run_id)


async def test_the_command_has_its_gpus_and_no_secret_of_the_service(
    executor: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://canary-9c41")
    spec = spec_of("env; pwd; touch here; id -u", data_location="/data/imagenet")
    await executor.start(spec)
    await end_of(executor, spec.run_id)

    printed = await log_of(executor, spec)

    work = f"{runs}/{spec.run_id}/work"
    environment = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
    assert "canary-9c41" not in printed
    assert environment["GTM_RUN_ID"] == str(spec.run_id)
    assert (environment["GTM_GPUS"], environment["CUDA_VISIBLE_DEVICES"]) == ("2", "")
    assert environment["GTM_DATA_LOCATION"] == "/data/imagenet"
    assert environment["TMPDIR"] == str(Path(work, "tmp"))
    assert environment["API_KEY"] == "canary-7d1f"
    user = other_user()
    assert printed.splitlines()[-2:] == [work, str(os.geteuid() if user is None else user.uid)]
    assert (Path(work) / "here").exists()


async def test_what_makes_a_process_the_runs_cannot_be_overruled_by_the_job(executor: LocalExecutor) -> None:
    spec = replace(spec_of("echo $GTM_RUN_ID"), environment={"GTM_RUN_ID": "mine"})
    await executor.start(spec)
    await end_of(executor, spec.run_id)

    assert await log_of(executor, spec) == f"{spec.run_id}\n"


async def test_the_job_reads_nothing_of_its_run_but_its_own_directory(executor: LocalExecutor, runs: Path) -> None:
    if other_user() is None:
        pytest.skip("only root can run jobs as somebody else")
    spec = spec_of(f"cat {runs}/$GTM_RUN_ID/spec.json || ls {runs}/$GTM_RUN_ID || touch {runs}/$GTM_RUN_ID/log.0")
    await executor.start(spec)

    ended = await end_of(executor, spec.run_id)

    assert ended.reason is EndReason.NONZERO_EXIT
    assert (await log_of(executor, spec)).count("Permission denied") == 3


async def test_in_the_sandbox_a_job_sees_neither_the_service_nor_other_jobs(runs: Path) -> None:
    if (problem := problem_with_bubblewrap(other_user())) is not None:
        pytest.skip(problem)
    secret = runs / "secret"
    secret.touch(mode=0o644)
    look = f"ls -A {runs}; echo processes $(ls /proc | grep -c '^[0-9]')"
    with runs_directory() as shared:
        shared.chmod(0o1777)
        spec = spec_of(f"{look}; touch $TMPDIR/mine kept {shared}/result /etc/x; ls $TMPDIR")

        executor = make_executor(runs, sandbox="bubblewrap", hidden_paths=(runs,), writable_paths=(shared,))
        await executor.start(spec)
        ended = await end_of(executor, spec.run_id)
        assert (shared / "result").exists()

    lines = (await log_of(executor, spec)).splitlines()
    assert ended.reason is EndReason.EXITED, lines
    assert lines[0] == str(spec.run_id)
    assert lines[1].startswith("processes ")
    assert int(lines[1].split()[1]) < 10
    assert "/etc/x" in lines[2]
    assert "mine" in lines[3:]
    assert (runs / str(spec.run_id) / "work" / "kept").exists()


async def test_a_wrapper_that_is_killed_takes_its_run_along(executor: LocalExecutor, runs: Path) -> None:
    spec = spec_of("setsid sleep 600 & env -i sleep 600 & echo begun; sleep 600")
    await begun(executor, spec)

    kill_wrapper(runs, spec)
    ended = await end_of(executor, spec.run_id)

    assert (ended.reason, ended.exit_code, ended.signal) == (EndReason.LOST, None, None)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.elapsed == ended.ended_at - ended.started_at > timedelta(0), "what it left has held the GPU until now"
    assert processes_of(spec.run_id) == set()
    assert list(await executor.proved_gone([spec.run_id])) == [spec.run_id]
    assert await end_of(make_executor(runs), spec.run_id) == ended


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_run_ends_at_its_limit_or_by_a_stop_although_its_wrapper_is_frozen(
    runs: Path, monkeypatch: pytest.MonkeyPatch, *, stopped: bool
) -> None:
    monkeypatch.setattr(local_executor, "OBEDIENCE_PATIENCE", timedelta(0))
    limit = timedelta(hours=1) if stopped else timedelta(seconds=1)
    spec = spec_of("trap '' TERM; echo begun; while :; do sleep 600; done", time_limit=limit)
    impatient = make_executor(runs, kill_grace=timedelta(0))
    await begun(impatient, spec)
    os.kill(wrapper_of(runs, spec).pid, signal.SIGSTOP)
    if stopped:
        await impatient.stop(spec.run_id, timedelta(0))

    ended = await end_of(impatient, spec.run_id)

    assert ended.reason is (EndReason.SIGNALLED if stopped else EndReason.TIME_LIMIT)
    assert processes_of(spec.run_id) == set()


async def test_a_clock_that_is_set_forward_ends_no_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_executor, "OBEDIENCE_PATIENCE", timedelta(0))
    monkeypatch.setattr(local_executor, "REMINDED_PATIENCE_SECONDS", 0)
    spec = spec_of("echo begun; sleep 600", time_limit=timedelta(hours=1))
    await begun(make_executor(runs), spec)
    a_day_later = LocalExecutor(
        open_devices("2xCPU"), LocalOptions(runs, users=one_user()), lambda: system_clock() + timedelta(days=1)
    )
    warned = []
    monkeypatch.setattr(local_executor.log, "warning", lambda *said, **_: warned.append(said))
    for _ in range(3):
        assert (await a_day_later.poll([spec.run_id]))[spec.run_id].state is RunState.RUNNING
    assert warned == []
    assert processes.leftovers(runs / str(spec.run_id)) != set()


async def test_a_wrapper_that_nothing_brings_to_act_is_killed_with_its_run(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A control group that is frozen does not go on by a signal."""
    monkeypatch.setattr(local_executor, "OBEDIENCE_PATIENCE", timedelta(0))
    monkeypatch.setattr(local_executor, "REMINDED_PATIENCE_SECONDS", 0)
    spec = spec_of("echo begun; sleep 600", time_limit=timedelta(seconds=1))
    impatient = make_executor(runs, kill_grace=timedelta(0))
    await begun(impatient, spec)
    os.kill(wrapper_of(runs, spec).pid, signal.SIGSTOP)
    send = processes.signal_process
    monkeypatch.setattr(processes, "signal_process", lambda *of: of[-1] is signal.SIGKILL and send(*of))

    ended = await end_of(impatient, spec.run_id)

    assert ended.reason is EndReason.LOST
    assert processes_of(spec.run_id) == set()
    assert ended.elapsed < timedelta(seconds=60)


async def test_a_run_that_is_taken_in_the_moment_in_which_it_is_looked_at_is_not_lost(
    executor: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock is seen free, and its wrapper comes before anything else of it is seen."""
    spec = spec_of(LONG)
    with monkeypatch.context() as patch:
        patch.setattr(local_executor, "launch_wrapper", lambda _: None)
        await executor.start(spec)

    def is_held_only_later(directory: RunDirectory) -> bool:
        monkeypatch.undo()
        launch_wrapper(directory)
        return False

    monkeypatch.setattr(RunDirectory, "is_held", is_held_only_later)
    assert (await executor.poll([spec.run_id]))[spec.run_id].state is RunState.STARTING

    await begun(executor, spec)
    assert not (runs / str(spec.run_id) / "verdict.json").exists()


async def test_a_run_whose_files_are_spoiled_is_unknown_and_holds_up_no_other(
    executor: LocalExecutor, runs: Path
) -> None:
    spoiled, closed, sound = spec_of(LONG), spec_of(LONG), spec_of(LONG)
    for spec in (spoiled, closed, sound):
        await begun(executor, spec)
    (runs / str(spoiled.run_id) / "evidence.json").write_text("{}")
    (runs / str(closed.run_id) / "evidence.json").symlink_to("anywhere")
    asked = [spec.run_id for spec in (spoiled, closed, sound)]

    assert list(await executor.poll(asked)) == [sound.run_id]

    assert await executor.poll([spoiled.run_id]) == {}
    with pytest.raises(OSError, match="symbolic links"):
        await executor.poll([closed.run_id])


async def test_after_the_machine_was_restarted_a_run_has_failed_with_its_node(
    executor: LocalExecutor, runs: Path
) -> None:
    spec = spec_of(LONG)
    await begun(executor, spec)
    kill_wrapper(runs, spec)
    started = runs / str(spec.run_id) / "started"
    started.write_text(json.dumps(json.loads(started.read_bytes()) | {"boot_id": "an earlier one"}))

    ended = await end_of(make_executor(runs), spec.run_id)

    assert (ended.reason, ended.message) == (EndReason.NODE_FAILURE, MACHINE_RESTARTED)


async def test_a_run_with_processes_that_cannot_be_killed_is_lost_and_not_proved_gone(
    executor: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signals that do not arrive stand in for a process that waits in a driver."""
    monkeypatch.setattr(local_executor, "KILL_PATIENCE_SECONDS", 0.1)
    spec = spec_of("echo begun; exit 0")
    await executor.start(spec)
    ended = await end_of(executor, spec.run_id)
    evidence = runs / str(spec.run_id) / "evidence.json"
    evidence.write_text(json.dumps(json.loads(evidence.read_bytes()) | {"survivors": True}))
    undying = await asyncio.create_subprocess_exec("sleep", "600", env={"GTM_RUN_ID": str(spec.run_id)})
    with monkeypatch.context() as patch:
        patch.setattr(wrapper, "send", lambda *_: False)
        assert (await end_of(executor, spec.run_id)).reason is EndReason.LOST
        assert list(await executor.proved_gone([spec.run_id])) == []

    assert ended.reason is EndReason.EXITED
    await eventually(lambda: executor.proved_gone([spec.run_id]))
    assert await undying.wait() == -signal.SIGKILL


async def test_a_run_is_not_proved_gone_while_a_wrapper_may_be_about_to_begin_it(
    executor: LocalExecutor, runs: Path
) -> None:
    spec = spec_of("echo begun")
    await executor.stop(spec.run_id, GRACE)
    with (runs / str(spec.run_id) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert list(await executor.proved_gone([spec.run_id])) == []

    assert list(await executor.proved_gone([spec.run_id])) == [spec.run_id]


async def test_to_stop_a_run_that_lost_its_wrapper_clears_it_up_though_nobody_looks(
    executor: LocalExecutor, runs: Path
) -> None:
    spec = spec_of("setsid sleep 600 & echo begun; sleep 600")
    await begun(executor, spec)
    kill_wrapper(runs, spec)
    directory = RunDirectory(runs / str(spec.run_id))

    async def is_cleared_up() -> bool:
        await executor.stop(spec.run_id, GRACE)
        return directory.verdict() is not None

    await eventually(is_cleared_up)
    assert processes_of(spec.run_id) == set()


async def test_what_was_found_of_a_lost_run_stays_though_a_stop_comes_meanwhile(
    executor: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it held its GPUs for stands there, and would be gone in a second look at what is dead by then."""
    spec = spec_of("echo begun; sleep 600")
    await begun(executor, spec)
    kill_wrapper(runs, spec)
    directory = RunDirectory(runs / str(spec.run_id))
    ask_to_stop, looked = RunDirectory.ask_to_stop, threading.Event()

    def ask_late(self: RunDirectory, grace: timedelta) -> None:
        looked.set()
        wait_until(lambda: self.verdict() is not None, "the run was cleared up")
        ask_to_stop(self, grace)

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "ask_to_stop", ask_late)
        stopping = asyncio.create_task(executor.stop(spec.run_id, GRACE))
        await eventually(lambda: asyncio.to_thread(looked.wait, 1))
        await end_of(executor, spec.run_id)
        found = directory.verdict()
        await stopping
    executor._undertaker.shutdown()

    assert directory.verdict() == found


async def test_survivors_that_can_be_killed_after_all_change_nothing_of_the_end(
    executor: LocalExecutor, runs: Path
) -> None:
    spec = spec_of("exit 3")
    await executor.start(spec)
    ended = await end_of(executor, spec.run_id)
    evidence = runs / str(spec.run_id) / "evidence.json"
    evidence.write_text(json.dumps(json.loads(evidence.read_bytes()) | {"survivors": True}))
    survivor = await asyncio.create_subprocess_exec("sleep", "600", env={"GTM_RUN_ID": str(spec.run_id)})

    assert await end_of(executor, spec.run_id) == ended
    assert await survivor.wait() == -signal.SIGKILL


async def test_a_described_run_that_no_wrapper_took_gets_another_one(
    executor: LocalExecutor, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_executor, "launch_wrapper", lambda _: None)
    spec = spec_of("echo begun")
    await executor.start(spec)
    assert (await executor.poll([spec.run_id]))[spec.run_id].state is RunState.STARTING
    monkeypatch.undo()
    monkeypatch.setattr(local_executor, "RELAUNCH_AFTER", timedelta(0))

    assert (await end_of(make_executor(runs), spec.run_id)).reason is EndReason.EXITED
    assert await log_of(executor, spec) == "begun\n"


async def test_a_wrapper_that_cannot_take_its_run_postpones_it(executor: LocalExecutor, runs: Path) -> None:
    spec = spec_of("echo begun")
    (runs / str(spec.run_id)).mkdir()
    (runs / str(spec.run_id) / "lock").mkdir()

    with pytest.raises(StartPostponed, match=r"^The run could not be started on this machine: .*Is a directory.*\.$"):
        await executor.start(spec)
    assert await executor.poll([spec.run_id]) == {}

    (runs / str(spec.run_id) / "lock").rmdir()
    await executor.start(spec)
    assert (await end_of(executor, spec.run_id)).reason is EndReason.EXITED


@pytest.fixture
def full_disk(runs: Path) -> Iterator[Path]:
    """A file system with room for a directory, and for no file."""
    place = runs / "full"
    place.mkdir()
    options = "size=64k,nr_inodes=3,mode=711"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


async def test_a_full_disk_postpones_a_launch_in_a_sentence(full_disk: Path) -> None:
    with pytest.raises(StartPostponed, match=r"^The run's directory could not be written: No space left on device\.$"):
        await make_executor(full_disk).start(spec_of("echo begun"))


@pytest.fixture
def small_disk(runs: Path) -> Iterator[Path]:
    place = runs / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=711", "tmpfs", place], check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    yield place
    end_all(place)
    subprocess.run(["umount", place], check=True)


async def test_a_job_that_fills_the_disk_can_be_stopped(small_disk: Path) -> None:
    executor = make_executor(small_disk)
    spec = spec_of("echo begun; cat /dev/zero > all; touch full; sleep 600")
    await begun(executor, spec)
    work = small_disk / str(spec.run_id) / "work"

    async def is_full() -> bool:
        return (work / "full").exists()

    await eventually(is_full)
    await executor.stop(spec.run_id, GRACE)

    assert (await end_of(executor, spec.run_id)).signal == signal.SIGTERM


async def test_a_log_that_was_deleted_is_missing_and_one_that_never_was_is_empty(executor: LocalExecutor) -> None:
    deleted, not_begun = spec_of("echo begun"), spec_of("echo begun")

    with pytest.raises(LogUnavailable, match=str(deleted.run_id)):
        await executor.read_log(deleted, ended_at=system_clock(), offset=0, limit=10)

    chunk = await executor.read_log(not_begun, ended_at=None, offset=0, limit=10)
    assert (chunk.data, chunk.size, chunk.complete) == (b"", 0, False)
    with pytest.raises(LaunchError):
        await executor.start(replace(not_begun, slots=()))
    chunk = await executor.read_log(not_begun, ended_at=system_clock(), offset=0, limit=10)
    assert (chunk.data, chunk.size, chunk.complete) == (b"", 0, True)


async def test_utilisation_is_kept_while_a_run_computes(
    runs: Path, executor: LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "SHORTEST_INTERVAL", timedelta(seconds=0.05))
    spec = spec_of("echo begun; while :; do :; done")
    await begun(executor, spec)

    async def has_computed() -> bool:
        await executor.poll([spec.run_id])
        taken = await executor.read_utilisation(spec, ended_at=None, limit=100)
        return len(taken) >= 6 and max(sample.utilisation for sample in taken) > 0

    await eventually(has_computed)
    taken = await make_executor(runs).read_utilisation(spec, ended_at=None, limit=3)
    assert [sample.slot for sample in taken] == list(spec.slots)
    assert all(sample.memory_used_bytes > 0 for sample in taken)


async def test_runs_that_ended_long_ago_are_deleted_and_no_others(
    runs: Path, executor: LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("not ours to delete")
    deeper_than_python_calls = "mkdir -p $(printf 'd/%.0s' $(seq 1200))"
    old = spec_of(f"ln -s {treasure} link; mkdir -m 0 closed; {deeper_than_python_calls}")
    new = spec_of("echo begun")
    for spec in (old, new):
        await executor.start(spec)
        await end_of(executor, spec.run_id)
    running = spec_of(LONG)
    await begun(executor, running)
    (runs / "notes").mkdir()
    (runs / str(uuid4())).symlink_to(tmp_path)
    for path in (runs / str(old.run_id) / "evidence.json", runs / str(running.run_id) / "started", runs / "notes"):
        os.utime(path, (0, 0))
    before = names_in(runs)

    just_started = make_executor(runs, keep_runs=timedelta(days=1))
    await just_started.inventory()
    just_started._undertaker.shutdown()
    assert names_in(runs) == before  # some of them may have ended while nobody was there, and have to be settled

    monkeypatch.setattr(local_executor, "RETENTION_INTERVAL_SECONDS", 0.0)
    await make_executor(runs, keep_runs=timedelta(days=1)).inventory()

    async def is_deleted() -> bool:
        return str(old.run_id) not in names_in(runs)

    await eventually(is_deleted)
    assert before - names_in(runs) == {str(old.run_id)}
    assert treasure.exists()


async def test_many_quiet_runs_are_looked_at_less_than_once_a_second(executor: LocalExecutor) -> None:
    spec = spec_of(LONG)
    await begun(executor, spec)

    before = system_clock()
    unchanged_until = (await executor.poll([spec.run_id]))[spec.run_id].unchanged_until
    assert unchanged_until is not None
    assert unchanged_until - before > timedelta(seconds=0.2)
    assert unchanged_until - system_clock() <= timedelta(seconds=1)


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def wrapper_of(runs: Path, spec: JobSpec) -> Started:
    started = RunDirectory(runs / str(spec.run_id)).started()
    assert started is not None
    return started


def kill_wrapper(runs: Path, spec: JobSpec) -> None:
    os.kill(wrapper_of(runs, spec).pid, signal.SIGKILL)


async def begun(executor: LocalExecutor, spec: JobSpec) -> Observation:
    await executor.start(spec)

    async def has_begun() -> bool:
        return "begun" in await log_of(executor, spec)

    await eventually(has_begun)
    return (await executor.poll([spec.run_id]))[spec.run_id]


async def end_of(executor: LocalExecutor, run_id: UUID) -> Observation:
    async def has_ended() -> bool:
        seen = (await executor.poll([run_id])).get(run_id)
        return seen is not None and seen.state is RunState.ENDED

    await eventually(has_ended)
    return (await executor.poll([run_id]))[run_id]


async def log_of(executor: LocalExecutor, spec: JobSpec) -> str:
    return (await executor.read_log(spec, ended_at=None, offset=0, limit=2**20)).data.decode()
