import os
import pwd
from pathlib import Path

import pytest

from app.core.clock import system_clock
from app.core.config import ConfigurationError, Settings
from app.executors.local import account
from app.executors.local.account import check_bubblewrap, check_runs_dir, job_user
from app.executors.local.executor import LocalExecutor
from app.executors.registry import create_executor
from tests.executors.local.runs import other_user, runs_directory

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run jobs as another user")


def settings(**chosen: object) -> Settings:
    return Settings(_env_file=None, executor="local", local_gpus="2xCPU", **chosen)  # type: ignore[arg-type]


def test_an_ordinary_user_has_to_trust_everybody_who_submits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ConfigurationError, match=r"could read its database password: .* LOCAL_TRUST_USERS=true"):
        job_user(settings())

    trusting = settings(local_trust_users=True)
    assert job_user(trusting) is None
    assert trusting.jobs_run_as_service


@as_root
def test_root_lends_jobs_an_account_that_owns_nothing() -> None:
    chosen = settings()

    user = job_user(chosen)

    assert user is not None
    assert (user.uid, user.home) == (pwd.getpwnam("nobody").pw_uid, None)
    assert not chosen.jobs_run_as_service


@as_root
def test_root_may_trust_everybody_and_then_it_is_told() -> None:
    chosen = settings(local_trust_users=True)

    assert job_user(chosen) is None
    assert chosen.jobs_run_as_service


@as_root
@pytest.mark.parametrize(
    ("name", "problem"), [("no-such-user-here", "useradd"), ("root", "jobs of root could do anything")]
)
def test_a_user_that_is_no_protection_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        job_user(settings(local_job_user=name))


def test_another_user_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(ConfigurationError, match="only root can run jobs as another user"):
        job_user(settings(local_job_user="nobody"))


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


def test_a_sandbox_without_bubblewrap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.shutil, "which", lambda *_, **__: None)

    with pytest.raises(ConfigurationError, match="apt-get install bubblewrap"):
        check_bubblewrap(None)


@as_root
def test_the_settings_make_an_engine() -> None:
    with runs_directory() as runs:
        engine = create_executor(settings(local_runs_dir=runs / "kept"), system_clock)

        assert isinstance(engine, LocalExecutor)
        assert (runs / "kept").stat().st_mode & 0o777 == 0o711
