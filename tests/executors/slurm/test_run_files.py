import os
from datetime import UTC, datetime
from pathlib import Path
from pwd import getpwuid, struct_passwd
from uuid import uuid4

import pytest

from app.domain.execution import LaunchError, LogChunk, LogUnavailable
from app.executors.slurm.run_files import RunFiles, Submitted
from app.executors.slurm.submission import Began

RUN = uuid4()
AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    return RunFiles(tmp_path)


def test_only_the_first_attempt_claims_a_run(files: RunFiles) -> None:
    assert files.submitted(RUN) is None
    assert files.claim(RUN, Submitted(AT, "sara", 1000))
    assert not files.claim(RUN, Submitted(AT, None, 0))
    assert files.submitted(RUN) == Submitted(AT, "sara", 1000)

    files.renew(RUN, Submitted(AT.replace(hour=4), "sara", 1000))

    assert files.submitted(RUN) == Submitted(AT.replace(hour=4), "sara", 1000)


def test_an_attempt_whose_note_was_cut_off_was_an_attempt(files: RunFiles, tmp_path: Path) -> None:
    (tmp_path / f"{RUN}.submitted").write_text('{"at": 17')

    attempt = files.submitted(RUN)

    assert attempt is not None
    assert attempt.login is None
    assert (datetime.now(UTC) - attempt.at).total_seconds() < 60


def test_a_run_is_forbidden_once_and_not_after_it_began(files: RunFiles) -> None:
    assert files.began(RUN, None) is None
    assert files.forbid(RUN, None)
    assert not files.forbid(RUN, None)
    assert files.began(RUN, None) == Began(None, None)

    other = uuid4()
    files.began_path(other, None).symlink_to("7 n1:0 3f")
    assert not files.forbid(other, None)
    assert files.began(other, None) == Began("7", "n1:0")


def test_a_log_is_read_from_any_byte(files: RunFiles) -> None:
    assert files.read_log(RUN, None, 0, 10, complete=False) is None
    files.log_path(RUN, None).write_bytes(b"0123456789")

    assert files.read_log(RUN, None, 4, 3, complete=False) == LogChunk(4, b"456", 10, complete=False)
    assert files.read_log(RUN, None, 99, 3, complete=True) == LogChunk(99, b"", 10, complete=True)


def test_a_log_that_is_a_link_a_pipe_or_a_folder_is_out_of_reach(files: RunFiles, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    path = files.log_path(RUN, None)
    for make in (lambda: path.symlink_to(secret), lambda: os.mkfifo(path), path.mkdir):
        make()
        with pytest.raises(LogUnavailable, match=str(RUN)):
            files.read_log(RUN, None, 0, 10, complete=True)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for two users")
def test_another_name_for_somebody_elses_file_is_no_log(files: RunFiles, tmp_path: Path) -> None:
    (tmp_path / "sara").mkdir()
    os.chown(tmp_path / "sara", 54321, -1)
    path = files.log_path(RUN, "sara")
    (tmp_path / "secret").write_text("canary")
    path.hardlink_to(tmp_path / "secret")

    with pytest.raises(LogUnavailable):
        files.read_log(RUN, "sara", 0, 10, complete=True)

    os.chown(path, 54321, -1)
    assert files.read_log(RUN, "sara", 0, 10, complete=True) is not None


def test_the_folder_of_a_user_has_to_be_theirs_and_closed(files: RunFiles, tmp_path: Path) -> None:
    me = getpwuid(os.geteuid())
    account = struct_passwd(("sara", "x", me.pw_uid, me.pw_gid, "", "/home/sara", "/bin/bash"))
    stranger = struct_passwd(("ali", "x", me.pw_uid + 1, me.pw_gid, "", "/home/ali", "/bin/bash"))
    folder = tmp_path / "sara"
    folder.mkdir(mode=0o770)
    folder.chmod(0o2770)
    (tmp_path / "ali").mkdir(mode=0o700)

    files.prepare_folder(account)

    with pytest.raises(LaunchError, match=r"^The folder for the logs of ali has to be theirs"):
        files.prepare_folder(stranger)
    folder.chmod(0o2777)
    with pytest.raises(LaunchError, match="closed to other users"):
        files.prepare_folder(account)
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(LaunchError, match="has to be theirs"):
        files.prepare_folder(account)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder for another user")
def test_root_makes_the_folder_of_a_user(files: RunFiles, tmp_path: Path) -> None:
    account = struct_passwd(("sara", "x", 54321, 54321, "", "/home/sara", "/bin/bash"))

    files.prepare_folder(account)

    status = (tmp_path / "sara").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (54321, os.getegid(), 0o2770)
