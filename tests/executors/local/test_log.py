"""Reading a capped log from files as the wrapper leaves them."""

import json
from pathlib import Path

import pytest

from app.domain.execution import LogChunk, LogUnavailable
from app.executors.local import log


def write(directory: Path, offset: int, data: bytes) -> None:
    (directory / f"log.{offset:020}").write_bytes(data)


def end(directory: Path, printed: int) -> None:
    (directory / "evidence.json").write_text(json.dumps({"log_bytes": printed}))


def read(directory: Path, offset: int = 0, limit: int = 9000) -> LogChunk:
    return log.read(directory, offset=offset, limit=limit, complete=False)


def test_nothing_was_printed_yet(tmp_path: Path) -> None:
    assert read(tmp_path) == LogChunk(0, b"", size=0, complete=False)
    assert read(tmp_path / "not-there-yet") == LogChunk(0, b"", size=0, complete=False)


def test_a_part_is_read_by_its_position(tmp_path: Path) -> None:
    write(tmp_path, 0, b"0123456789")
    assert read(tmp_path, 3, 4) == LogChunk(3, b"3456", size=10, complete=False)
    assert read(tmp_path, 8, 4) == LogChunk(8, b"89", size=10, complete=False)
    assert read(tmp_path, 10) == LogChunk(10, b"", size=10, complete=False)
    assert read(tmp_path, 99) == LogChunk(99, b"", size=10, complete=False)


def test_files_without_a_gap_between_them_are_read_as_one(tmp_path: Path) -> None:
    write(tmp_path, 0, b"01234")
    write(tmp_path, 5, b"567")
    write(tmp_path, 8, b"89")
    write(tmp_path, 10, b"")
    assert read(tmp_path).data == b"0123456789"
    assert read(tmp_path, 4, 5).data == b"45678"


def test_a_part_ends_at_a_gap_and_the_next_one_begins_behind_it(tmp_path: Path) -> None:
    write(tmp_path, 0, b"begin")
    write(tmp_path, 7, b"end")
    assert read(tmp_path) == LogChunk(0, b"begin", size=10, complete=False)
    assert read(tmp_path, 5) == LogChunk(7, b"end", size=10, complete=False)
    assert read(tmp_path, 6) == LogChunk(7, b"end", size=10, complete=False)


def test_a_part_that_begins_later_than_asked_does_not_end_later(tmp_path: Path) -> None:
    write(tmp_path, 0, b"begin")
    write(tmp_path, 7, b"0123456789")
    assert read(tmp_path, 5, 6) == LogChunk(7, b"0123", size=17, complete=False)
    assert read(tmp_path, 5, 2) == LogChunk(7, b"01", size=17, complete=False)


def test_a_gap_with_room_for_it_tells_of_itself_in_its_last_bytes(tmp_path: Path) -> None:
    write(tmp_path, 0, b"begin")
    write(tmp_path, 1005, b"end")
    note = b"\n[1000 bytes of output are left out here]\n"
    chunk = read(tmp_path, 5)
    assert chunk == LogChunk(1005 - len(note), note + b"end", size=1008, complete=False)
    assert read(tmp_path, chunk.offset + 10) == LogChunk(chunk.offset + 10, note[10:] + b"end", 1008, complete=False)
    assert read(tmp_path, chunk.offset, 4).data == note[:4]
    assert read(tmp_path, 1005).data == b"end"


def test_a_gap_is_not_told_twice(tmp_path: Path) -> None:
    told = b"\n[990 bytes of output were lost here: No space left on device]\nend"
    write(tmp_path, 0, b"begin")
    write(tmp_path, 1000, told)
    assert read(tmp_path, 5).data == told


def test_every_byte_is_reached_by_going_on_where_the_last_part_ended(tmp_path: Path) -> None:
    write(tmp_path, 0, b"a" * 100)
    write(tmp_path, 5000, b"b" * 100)
    write(tmp_path, 5100, b"c" * 100)
    read_bytes, offset = b"", 0
    while (chunk := read(tmp_path, offset, 7)).data:
        assert chunk.offset >= offset
        read_bytes += chunk.data
        offset = chunk.next_offset
    assert read_bytes == b"a" * 100 + b"\n[4900 bytes of output are left out here]\n" + b"b" * 100 + b"c" * 100
    assert offset == 5200


def test_a_log_is_complete_once_there_is_evidence_or_the_caller_knows(tmp_path: Path) -> None:
    write(tmp_path, 0, b"all")
    assert not read(tmp_path).complete
    assert log.read(tmp_path, offset=0, limit=10, complete=True).complete
    end(tmp_path, printed=3)
    assert read(tmp_path) == LogChunk(0, b"all", size=3, complete=True)


def test_what_was_lost_at_the_end_is_part_of_the_size_and_nobody_waits_for_it(tmp_path: Path) -> None:
    write(tmp_path, 0, b"kept")
    end(tmp_path, printed=1000)
    assert read(tmp_path) == LogChunk(0, b"kept", size=1000, complete=True)
    assert read(tmp_path, 4) == LogChunk(1000, b"", size=1000, complete=True)


def test_links_and_other_names_are_no_log(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (tmp_path / "log.00000000000000000000").symlink_to(secret)
    (tmp_path / "log.old").write_text("secret")
    (tmp_path / "logs").write_text("secret")
    assert read(tmp_path).data == b""


def test_a_log_that_is_gone_or_closed_to_us_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable) as unavailable:
        log.read(tmp_path / "gone", offset=0, limit=1, complete=True)
    assert unavailable.value.where == str(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(LogUnavailable):
        read(tmp_path / "file")
