"""Runs that fill the disk are ended, and none begins where there is no room."""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from app.core.clock import system_clock
from app.domain.execution import EndReason, Observation, RunState, StartPostponed
from app.executors.local import disk, retention
from app.executors.local.disk import DiskLimits, DiskWatch, used_bytes
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.retention import delete_old_runs
from app.executors.local.run_directory import RunDirectory
from app.executors.local.spec import LocalOptions
from tests.executors.engines import make_spec
from tests.executors.local.runs import one_user, runs_directory
from tests.waiting import eventually

FIRST, SECOND, THIRD = (UUID(int=number) for number in range(3))
FREE = 100


class Disk:
    """A disk as a test says it is: how much is free, and how large the folders of runs are."""

    def __init__(self, runs: Path, **limits: int) -> None:
        self.room = FREE
        self.sizes: dict[UUID, int] = {}
        self.now = 0.0
        self.looks = 0
        self.watch = DiskWatch(
            runs,
            DiskLimits(**limits),
            free=lambda _: self.room,
            used=self._used,
            deleted=lambda _: 0,
            clock=lambda: self.now,
        )

    def _used(self, paths: Collection[Path]) -> Mapping[Path, int]:
        self.looks += 1
        return {path: self.sizes[run_id] for path in paths if (run_id := UUID(path.parent.name)) in self.sizes}

    def look(self, **sizes: int) -> Mapping[UUID, str]:
        """As long after the last look as it takes until the next one does something."""
        self.sizes = {UUID(int=("first", "second", "third").index(name)): size for name, size in sizes.items()}
        self.now += disk.INTERVAL_SECONDS
        return self.watch.look([FIRST, SECOND, THIRD])


def test_a_run_that_takes_more_than_it_may_is_ended_once(tmp_path: Path) -> None:
    small = Disk(tmp_path, run_folder_bytes=50 * 2**20)

    mebibyte = 2**20
    assert small.look(first=50 * mebibyte, second=10) == {}
    assert small.look(first=51 * mebibyte, second=10) == {FIRST: "The run left more than 50 MiB in its folder."}
    assert small.look(first=70 * mebibyte, second=10) == {}


def test_while_there_is_little_room_the_run_that_grew_most_is_ended_one_at_a_time(tmp_path: Path) -> None:
    full = Disk(tmp_path, free_bytes=FREE)
    assert full.watch.shortage() is None

    full.room -= 1
    assert full.watch.shortage() is not None
    assert full.look(first=900, second=10, third=10) == {}  # who grew is not known yet
    assert list(full.look(first=901, second=40, third=10)) == [SECOND]
    assert full.look(first=950, second=90, third=10) == {}  # the second one is still about to end
    assert full.watch.look([FIRST, THIRD]) == {}  # too soon
    full.now += disk.INTERVAL_SECONDS
    full.sizes[FIRST] = 980
    assert list(full.watch.look([FIRST, THIRD])) == [FIRST]


def test_who_did_not_grow_is_not_to_blame(tmp_path: Path) -> None:
    full = Disk(tmp_path, free_bytes=FREE + 1)

    for _ in range(3):
        assert full.look(first=900, second=10) == {}


def test_what_grew_long_ago_and_what_cannot_be_measured_is_not_to_blame(tmp_path: Path) -> None:
    full = Disk(tmp_path, free_bytes=FREE + 1)
    full.look(first=900, second=10)
    full.now += 3600

    assert full.look(first=2000, second=10) == {}
    assert full.look(second=10) == {}
    assert list(full.look(first=2000, second=11)) == [SECOND]


def test_nobody_looks_through_folders_without_need(tmp_path: Path) -> None:
    for idle in (Disk(tmp_path), Disk(tmp_path, free_bytes=FREE)):
        idle.look(first=1)
        assert idle.looks == 0
    watched = Disk(tmp_path, run_folder_bytes=50 * 2**20)
    for _ in range(3):
        watched.watch.look([FIRST])
    assert watched.looks == 1


def test_what_is_measured_is_what_the_disk_gave(tmp_path: Path) -> None:
    for name in ("run", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "data").write_bytes(bytes(2**20))
    (tmp_path / "run" / "link").symlink_to("/usr")

    used = used_bytes([tmp_path / "run", tmp_path / "empty", tmp_path / "missing"])

    assert used.keys() == {tmp_path / "run", tmp_path / "empty"}
    assert 2**20 <= used[tmp_path / "run"] - used[tmp_path / "empty"] < 2**21


def test_of_ended_runs_the_newest_are_kept_as_far_as_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [RunDirectory(tmp_path / str(uuid4())) for _ in range(4)]
    for age, run in enumerate(reversed(runs)):
        run.make()
        run.write_verdict({"gone": True})
        os.utime(run.path / "verdict.json", (ended := time.time() - age, ended))
    monkeypatch.setattr(retention, "used_bytes", lambda paths: dict.fromkeys(paths, 10))
    day = timedelta(days=1)

    now = system_clock()
    assert delete_old_runs(tmp_path, now, keep=day, keep_bytes=0) == 0  # nobody may have read how they ended
    assert delete_old_runs(tmp_path, now + timedelta(hours=2), keep=day, keep_bytes=25) == 2
    assert [run.path.exists() for run in runs] == [False, False, True, True]
    assert delete_old_runs(tmp_path, now + timedelta(days=2), keep=day) == 2


@pytest.fixture
def runs() -> Iterator[Path]:
    with runs_directory() as directory:
        yield directory


def engine(runs: Path, **limits: int) -> LocalExecutor:
    options = LocalOptions(runs, users=one_user(), disk=DiskLimits(**limits))
    return LocalExecutor(open_devices("2xCPU"), options, system_clock)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fill",
    ["head -c 3000000 /dev/zero >data", "exec 3>data; rm data; head -c 3000000 /dev/zero >&3"],
    ids=["file", "file without a name"],
)
async def test_a_run_that_fills_its_folder_ends_with_that_reason(
    runs: Path, monkeypatch: pytest.MonkeyPatch, fill: str
) -> None:
    monkeypatch.setattr(disk, "INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(disk, "SHARE_OF_TIME", 1.0)
    executor = engine(runs, run_folder_bytes=2**20)
    slots = [device.info.slot for device in open_devices("2xCPU").list()]
    quiet, greedy = (
        make_spec(command, launched_at=system_clock(), slots=slots)
        for command in ("sleep 600", f"trap 'exit 0' TERM; {fill}; sleep 600 & wait")
    )
    for spec in (quiet, greedy):
        await executor.start(spec)
    seen: dict[UUID, Observation] = {}

    async def has_ended() -> bool:
        seen.update(await executor.poll([quiet.run_id, greedy.run_id]))
        return seen[greedy.run_id].state is RunState.ENDED

    await eventually(has_ended)

    end = seen[greedy.run_id]
    assert (end.reason, end.message) == (EndReason.OUT_OF_DISK, "The run left more than 1 MiB in its folder.")
    assert seen[quiet.run_id].state is RunState.RUNNING


@pytest.mark.anyio
async def test_no_run_begins_where_there_is_no_room_and_that_is_no_verdict(runs: Path) -> None:
    slots = [device.info.slot for device in open_devices("2xCPU").list()]
    spec = make_spec("true", launched_at=system_clock(), slots=slots)

    with pytest.raises(StartPostponed, match="The disk of the runs has less than"):
        await engine(runs, free_bytes=2**60).start(spec)

    run = RunDirectory(runs / str(spec.run_id))
    assert not run.is_described()
    await engine(runs).start(spec)
    assert run.has_begun()
