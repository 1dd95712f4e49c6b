"""The log that the wrapper keeps: at once, capped, with its beginning and its end, and never in the job's way."""

import errno
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.executors.local import log, wrapper
from tests.executors.local.wrapper_runs import MakeRun, WrapperRun, made_runs, needs_root
from tests.waiting import wait_until

KIBIBYTE, MEBIBYTE, GIBIBYTE = 2**10, 2**20, 2**30
NUMBERED = "seq -f %015.0f 0 {last}"
LINE = 16


@pytest.fixture
def make_run() -> Iterator[MakeRun]:
    with made_runs() as make:
        yield make


def kept(run: WrapperRun) -> int:
    return sum(path.stat().st_size for path in run.path.glob("log.*"))


def test_what_was_printed_can_be_read_at_once_and_half_lines_too(make_run: MakeRun) -> None:
    run = make_run("printf 'no line break'; sleep 60")
    wait_until(lambda: run.printed() == b"no line break")


def test_both_streams_stand_in_the_order_in_which_they_were_printed(make_run: MakeRun) -> None:
    run = make_run("for i in 1 2 3 4 5; do echo $i; echo $i >&2; done")
    run.evidence()
    assert run.printed() == b"1\n1\n2\n2\n3\n3\n4\n4\n5\n5\n"


def test_a_log_within_its_limit_is_kept_whole(make_run: MakeRun) -> None:
    lines = 60 * KIBIBYTE // LINE
    run = make_run(NUMBERED.format(last=lines - 1), log_limit_bytes=64 * KIBIBYTE)
    assert run.evidence()["log_bytes"] == lines * LINE
    assert run.printed() == b"".join(b"%015d\n" % line for line in range(lines))


@pytest.mark.parametrize("limit", [32 * KIBIBYTE, 100_003, MEBIBYTE])
def test_a_capped_log_has_its_beginning_and_its_end_at_their_true_positions(make_run: MakeRun, limit: int) -> None:
    lines = 300_000
    run = make_run(NUMBERED.format(last=lines - 1), log_limit_bytes=limit)
    size = run.evidence()["log_bytes"]
    assert size == lines * LINE
    assert kept(run) <= limit
    head = log.read(run.path, offset=0, limit=size, complete=False)
    assert len(head.data) == limit // 2
    assert head.data == expected(0, limit // 2)
    tail = log.read(run.path, offset=head.next_offset, limit=size, complete=False)
    assert tail.next_offset == tail.size == size
    note, _, rest = tail.data.partition(b" bytes of output are left out here]\n")
    assert len(rest) >= limit * 7 // 16 - 8
    assert rest == expected(size - len(rest), size)
    assert int(note.removeprefix(b"\n[")) == size - len(rest) - limit // 2
    assert tail.complete


def expected(start: int, end: int) -> bytes:
    first = start // LINE
    text = b"".join(b"%015d\n" % line for line in range(first, -(-end // LINE)))
    return text[start - first * LINE : end - first * LINE]


def test_a_log_bomb_neither_waits_nor_fills_disk_or_memory(make_run: MakeRun) -> None:
    run = make_run("dd if=/dev/zero bs=1M count=2048 status=none; echo; echo last", log_limit_bytes=4 * MEBIBYTE)
    most_kept = most_resident = 0
    while not (run.path / "evidence.json").exists():
        most_kept = max(most_kept, kept_now(run))
        most_resident = max(most_resident, resident_bytes(run.wrapper))
        time.sleep(0.01)
    evidence = run.evidence()
    assert (evidence["exit_code"], evidence["log_bytes"]) == (0, 2 * GIBIBYTE + 6)
    assert run.printed().endswith(b"\nlast\n")
    assert most_kept <= 4 * MEBIBYTE
    assert 0 < most_resident < 12 * MEBIBYTE
    assert evidence["log_bytes"] / evidence["elapsed_seconds"] > 100 * MEBIBYTE  # 1 GiB/s where nothing else runs


def kept_now(run: WrapperRun) -> int:
    try:
        return kept(run)
    except FileNotFoundError:
        return 0


def resident_bytes(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def test_the_last_words_are_kept_although_the_job_is_killed(make_run: MakeRun) -> None:
    """And although they are more than is moved at once into files this small."""
    run = make_run("head -c 500000 /dev/zero; echo last words; kill -9 $$", log_limit_bytes=4 * KIBIBYTE)
    assert run.evidence()["log_bytes"] == 500_000 + 11
    assert run.printed().endswith(b"\0last words\n")


def test_output_of_what_the_command_leaves_behind_is_kept_up_to_its_end(make_run: MakeRun) -> None:
    run = make_run("(trap '' TERM; echo begun; sleep 60) & sleep 0.1; exit 0")
    run.evidence()
    assert run.printed() == b"begun\n"


def test_a_job_that_closes_its_output_runs_on(make_run: MakeRun) -> None:
    run = make_run("echo before; exec >&- 2>&-; sleep 0.2; exit 4")
    assert run.evidence()["exit_code"] == 4
    assert run.printed() == b"before\n"


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """Not in a directory of pytest's, which could not delete it if the tests were killed before its end."""
    directory = Path(tempfile.mkdtemp(prefix="gtm-small-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(directory)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        directory.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        directory.rmdir()


@needs_root
def test_a_full_disk_under_the_log_neither_ends_nor_stops_the_job() -> None:
    with small_disk(MEBIBYTE) as disk, made_runs(disk) as make_run:
        run = make_run("head -c 64M /dev/zero && echo; echo last; exit 11", log_limit_bytes=16 * MEBIBYTE)
        evidence = run.evidence()
        assert (evidence["exit_code"], evidence["stopped"]) == (11, None)
        assert evidence["log_bytes"] == 64 * MEBIBYTE + 6
        assert 0 < evidence["log_bytes_lost"] < evidence["log_bytes"]
        assert log.read(run.path, offset=0, limit=4, complete=False).data == bytes(4)
        assert evidence["log_bytes"] == log.read(run.path, offset=0, limit=1, complete=False).size


@needs_root
def test_a_log_goes_on_with_a_line_about_what_was_lost_when_the_disk_has_room_again() -> None:
    with small_disk(MEBIBYTE) as disk, made_runs(disk) as make_run:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(600 * KIBIBYTE))
        commands = (
            "head -c 8M /dev/zero; echo full; read -t 20 < go; while [ ! -e enough ]; do echo more; sleep 0.05; done"
        )
        run = make_run(f"mkfifo go; {commands}; echo last", log_limit_bytes=64 * MEBIBYTE)
        wait_until(lambda: log.read(run.path, offset=0, limit=1, complete=False).size > 100 * KIBIBYTE)
        ballast.unlink()
        (run.work / "go").write_text("\n")
        wait_until(lambda: b"more" in tail_of(run))
        (run.work / "enough").touch()
        evidence = run.evidence()
        note = f"\n[{evidence['log_bytes_lost']} bytes of output were lost here: No space left on device]\nmore\n"
        assert note.encode() in tail_of(run)
        assert tail_of(run).endswith(b"last\n")
        assert evidence["exit_code"] == 0


def test_a_file_system_that_cannot_splice_is_written_to_as_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pipe: int, file: int, most: int) -> int:
        if stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return os.splice(pipe, file, most)

    monkeypatch.setattr(wrapper, "_splice", refuse)
    printed = b"".join(b"%015d\n" % line for line in range(2000))
    capped = take_all(tmp_path, printed, limit=8 * KIBIBYTE)
    assert (capped.position, capped.lost) == (len(printed), 0)
    assert log.read(tmp_path, offset=0, limit=GIBIBYTE, complete=True).data == printed[: 4 * KIBIBYTE]
    assert log.read(tmp_path, offset=len(printed) - 1000, limit=1000, complete=True).data == printed[-1000:]


@pytest.mark.parametrize("splices", [True, False])
@needs_root
def test_every_byte_that_a_full_disk_refuses_is_counted(monkeypatch: pytest.MonkeyPatch, splices: bool) -> None:
    if not splices:
        monkeypatch.setattr(wrapper.CappedLog, "_can_splice", False)
    monkeypatch.setattr(wrapper, "DISK_RETRY_SECONDS", 0)
    with small_disk(64 * KIBIBYTE) as disk:
        capped = take_all(disk, b"x" * 300_001, limit=MEBIBYTE)
        sizes = [path.stat().st_size for path in disk.glob("log.*")]
        assert min(sizes) > 0  # the many tries that failed have left nothing
        on_disk = sum(sizes)
        assert (capped.position, capped.lost) == (300_001, 300_001 - on_disk)
        assert 0 < on_disk <= 64 * KIBIBYTE


def take_all(directory: Path, printed: bytes, limit: int) -> wrapper.CappedLog:
    descriptor = os.open(directory, os.O_RDONLY)
    capped = wrapper.CappedLog(descriptor, limit)
    for start in range(0, len(printed), 50_000):
        output, printing = os.pipe()
        os.write(printing, printed[start : start + 50_000])
        os.close(printing)
        while capped.take(output):
            pass
        os.close(output)
    capped.close()
    os.close(descriptor)
    return capped


def tail_of(run: WrapperRun) -> bytes:
    """What follows the first part that is kept without a gap."""
    first = log.read(run.path, offset=0, limit=GIBIBYTE, complete=False)
    return log.read(run.path, offset=first.next_offset, limit=GIBIBYTE, complete=False).data
