import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.clock import system_clock
from app.core.config import ConfigurationError, Settings
from app.executors.local import account
from app.executors.local.account import (
    OneUser,
    check_runs_dir,
    check_writable_dirs,
    choose_sandbox,
    job_users,
    problem_with_bubblewrap,
)
from app.executors.local.executor import LocalExecutor
from app.executors.registry import create_executor
from tests.executors.engines import make_spec
from tests.executors.local.runs import one_user, other_user, runs_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another user")


def settings(**chosen: object) -> Settings:
    return Settings(_env_file=None, executor="local", local_gpus="2xCPU", **chosen)  # type: ignore[arg-type]


def test_an_ordinary_user_has_to_trust_everybody_who_submits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ConfigurationError, match=r"could read its database password: .* LOCAL_TRUST_USERS=true"):
        job_users(settings(), tmp_path)

    trusting = settings(local_trust_users=True)
    assert job_users(trusting, tmp_path) == OneUser()
    assert trusting.jobs_run_as_service


@as_root
def test_root_gives_each_owner_a_user_of_their_own(tmp_path: Path) -> None:
    chosen = settings(local_job_uids="2010000000-2010000009")

    users = job_users(chosen, tmp_path)

    sara, ali = (users.of(replace(make_spec(), owner_email=email)) for email in ("sara@lab.org", "ali@lab.org"))
    assert sara is not None
    assert ali is not None
    assert sara.uid != ali.uid
    assert {sara.uid, ali.uid} <= set(range(2_010_000_000, 2_010_000_010))
    assert (sara.gid, sara.groups) == (sara.uid, ())
    assert not chosen.jobs_run_as_service
    assert not chosen.jobs_share_a_user


@as_root
def test_one_user_for_all_has_to_be_named_and_is_told(tmp_path: Path) -> None:
    chosen = settings(local_job_user="nobody")

    assert job_users(chosen, tmp_path) == OneUser(other_user())
    assert chosen.jobs_share_a_user
    assert not settings(local_job_user="nobody", local_sandbox="bubblewrap").jobs_share_a_user


@as_root
def test_root_may_trust_everybody_and_then_it_is_told(tmp_path: Path) -> None:
    chosen = settings(local_trust_users=True)

    assert job_users(chosen, tmp_path) == OneUser()
    assert chosen.jobs_run_as_service


@as_root
@pytest.mark.parametrize(
    ("name", "problem"), [("no-such-user-here", "useradd"), ("root", "jobs of root could do anything")]
)
def test_a_user_that_is_no_protection_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        job_users(settings(local_job_user=name), tmp_path)


def test_another_user_needs_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ConfigurationError, match="only root can run jobs as another user"):
        job_users(settings(local_job_user="nobody"), tmp_path)


@as_root
def test_runs_that_the_jobs_user_cannot_reach_are_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)

    with pytest.raises(ConfigurationError, match=r"^LOCAL_RUNS_DIR: jobs run as nobody, who may not pass"):
        check_runs_dir(tmp_path / "closed" / "runs", other_user())


def test_runs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"^cannot write to the runs directory .*set LOCAL_RUNS_DIR"):
        check_runs_dir(tmp_path / "file" / "runs", None)


def test_runs_where_others_may_write_are_refused_and_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o1777)

    with pytest.raises(ConfigurationError, match=r"^LOCAL_RUNS_DIR: others than the service may write"):
        check_runs_dir(tmp_path / "open", None)

    assert (tmp_path / "open").stat().st_mode & 0o7777 == 0o1777


def test_a_sandbox_that_is_asked_for_is_had_or_the_start_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.shutil, "which", lambda *_, **__: None)

    with pytest.raises(ConfigurationError, match=r"apt-get install bubblewrap\), or set LOCAL_SANDBOX=none"):
        choose_sandbox("bubblewrap", one_user())
    assert choose_sandbox("auto", one_user()) == "none"


def test_the_sandbox_is_on_where_it_works_and_nobody_trusts_jobs_with_all() -> None:
    if problem_with_bubblewrap(other_user()) is None:
        assert choose_sandbox("bubblewrap", one_user()) == "bubblewrap"
        assert choose_sandbox("auto", one_user()) == ("none" if other_user() is None else "bubblewrap")
    assert choose_sandbox("none", one_user()) == "none"
    assert choose_sandbox("auto", OneUser()) == "none"


def test_folders_that_jobs_may_write_to_are_there_and_hold_nothing_hidden(tmp_path: Path) -> None:
    results, data = tmp_path / "results", tmp_path / "data"
    for directory in (results, data / "runs"):
        directory.mkdir(parents=True)

    check_writable_dirs([results], hidden=[data])
    for refused in (Path("results"), tmp_path / "missing", tmp_path, data / "runs"):
        with pytest.raises(ConfigurationError, match=r"^LOCAL_WRITABLE_DIRS: "):
            check_writable_dirs([refused], hidden=[data])


@as_root
def test_a_user_that_a_container_does_not_map_is_told_at_the_start() -> None:
    script = """
import sys; from pathlib import Path
from app.executors.local.account import JobUser, check_runs_dir
check_runs_dir(Path(sys.argv[1]), JobUser("2010000000", 2010000000, 2010000000))
"""
    with runs_directory() as runs:
        contained = ["unshare", "--user", "--map-root-user", sys.executable, "-c", script, str(runs / "kept")]
        ended = subprocess.run(contained, capture_output=True, text=True, check=False)

    if "unshare failed" in ended.stderr:
        pytest.skip(f"this machine makes no user namespaces: {ended.stderr}")
    assert "ConfigurationError: LOCAL_JOB_UIDS: no process can run as user 2010000000 here" in ended.stderr


@as_root
def test_the_settings_make_an_engine() -> None:
    with runs_directory() as runs:
        engine = create_executor(settings(local_runs_dir=runs / "kept"), system_clock)

        assert isinstance(engine, LocalExecutor)
        assert (runs / "kept").stat().st_mode & 0o777 == 0o711
