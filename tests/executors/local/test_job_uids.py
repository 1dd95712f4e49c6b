import os
import pwd
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.config import ConfigurationError
from app.domain.execution import LaunchError
from app.executors.local.job_uids import JobUids, is_in_use, read_uids

UIDS = range(2_010_000_000, 2_010_000_005)
SARA, ALI, MINA = "sara@example.org", "ali@example.org", "mina@example.org"


def job_uids(
    tmp_path: Path, uids: range = UIDS, *, first: int = UIDS[0], in_use: Callable[[int], bool] = lambda _: False
) -> JobUids:
    return JobUids(tmp_path / "job-uids", uids, is_in_use=in_use, draw=lambda _: first)


def test_each_owner_keeps_a_uid_of_their_own_over_restarts(tmp_path: Path) -> None:
    given = [job_uids(tmp_path).of(owner) for owner in (SARA, ALI, SARA, MINA)]

    assert given == [UIDS[0], UIDS[1], UIDS[0], UIDS[2]]
    assert stat.S_IMODE((tmp_path / "job-uids").stat().st_mode) == 0o600


def test_the_first_uid_is_drawn_and_the_range_is_used_up_before_anybody_is_refused(tmp_path: Path) -> None:
    """Two services on one machine begin at different places, though both have the same range."""
    uids = job_uids(tmp_path, first=UIDS[3])

    assert [uids.of(f"{name}@example.org") for name in range(5)] == [*UIDS[3:], *UIDS[:3]]
    with pytest.raises(LaunchError, match="LOCAL_JOB_UIDS is taken"):
        uids.of(SARA)
    assert uids.of("0@example.org") == UIDS[3]


def test_a_uid_that_the_machine_uses_is_passed_over(tmp_path: Path) -> None:
    uids = job_uids(tmp_path, in_use=lambda uid: uid == UIDS[0])

    assert uids.of(SARA) == UIDS[1]


def test_another_range_means_another_uid_and_the_old_one_is_given_to_nobody_else(tmp_path: Path) -> None:
    job_uids(tmp_path).of(SARA)
    elsewhere = range(UIDS.stop, UIDS.stop + 2)

    assert job_uids(tmp_path, elsewhere, first=elsewhere[0]).of(SARA) == elsewhere[0]
    assert job_uids(tmp_path).of(ALI) == UIDS[1]
    assert job_uids(tmp_path).of(SARA) == UIDS[0]


def test_a_line_that_was_cut_short_was_told_to_nobody(tmp_path: Path) -> None:
    job_uids(tmp_path).of(SARA)
    with (tmp_path / "job-uids").open("a") as file:
        file.write(f'[{UIDS[1]}, "ali@exam')

    assert [job_uids(tmp_path).of(owner) for owner in (MINA, ALI, SARA)] == [UIDS[1], UIDS[2], UIDS[0]]


def test_dispatchers_that_launch_at_once_give_no_uid_twice(tmp_path: Path) -> None:
    owners = [f"{number}@example.org" for number in range(40)]
    uids = range(UIDS[0], UIDS[0] + 40)
    with ThreadPoolExecutor(max_workers=8) as threads:
        given = list(threads.map(lambda owner: job_uids(tmp_path, uids).of(owner), owners * 2))

    assert given[:40] == given[40:]
    assert sorted(given[:40]) == list(uids)


def test_what_the_machine_knows_is_in_use() -> None:
    assert is_in_use(pwd.getpwnam("nobody").pw_uid)
    assert is_in_use(os.geteuid())
    assert not is_in_use(2_147_000_000), "no process of any test runs as this one"


@pytest.mark.parametrize("text", ["", "many", "5", "0-70000", "20000-10000", "2010000000-9999999999", "-1-5"])
def test_a_range_that_could_be_anybodys_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^LOCAL_JOB_UIDS: write the first and the last user id"):
        read_uids(text)


def test_both_ends_belong_to_a_range() -> None:
    assert read_uids("20000-20009") == range(20_000, 20_010)
