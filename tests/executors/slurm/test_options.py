from datetime import timedelta
from pathlib import Path
from pwd import getpwnam
from typing import Any

import pytest

from app.core.config import ConfigurationError, Settings
from app.domain.execution import LaunchError
from app.executors.slurm.accounts import Sudo, account_of, home_of, login_of
from app.executors.slurm.commands import CommandRunner, CommandTrouble
from app.executors.slurm.options import SlurmOptions, read_choice, read_logins, read_options
from app.executors.slurm.submission import Placing

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "sinfo", "sudo")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which Slurm's commands are, though no Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        (folder / name).write_text("#!/bin/sh\nexit 1\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def read(log_dir: Path | None, **values: Any) -> SlurmOptions:
    return read_options(Settings(executor="slurm", slurm_log_dir=log_dir, **values))


def test_settings_become_options(commands: Path, tmp_path: Path) -> None:
    options = read(
        tmp_path,
        slurm_partition="a100=gpu,*=old",
        slurm_account="Sara@example.org=physics",
        slurm_qos="normal",
        slurm_submit_as="user",
        slurm_users="Sara@example.org=sara",
    )

    assert options.placing("a100", "sara@example.org") == Placing("gpu", "physics", "normal")
    assert options.placing("v100", "ali@example.org") == Placing("old", None, "normal")
    assert options.logins == {"sara@example.org": "sara"}
    assert options.commands.sbatch == str(commands / "sbatch")


@pytest.mark.usefixtures("commands")
def test_as_the_service_nobody_is_mapped(tmp_path: Path) -> None:
    assert read(tmp_path).logins is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a100=", "SLURM_PARTITION: cannot read 'a100='"),
        ("gpu,old", "SLURM_PARTITION: cannot read 'gpu'"),
        ("a=b,a=c", "SLURM_PARTITION: cannot read 'a=c'"),
        ("--wrap", "'--wrap' is no name"),
        ("gpu old", "'gpu old' is no name"),
    ],
)
def test_choices_that_cannot_be_read_are_refused_with_advice(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_choice("SLURM_PARTITION", text)


@pytest.mark.parametrize(
    "text",
    [
        "sara",
        "sara=sara@example.org",
        "sara@example.org=-x",
        "sara@example.org=a b",
        "sara@example.org=*",
        "*@x.org=sara",
    ],
)
def test_users_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^SLURM_USERS: cannot read"):
        read_logins(text)


@pytest.mark.usefixtures("commands")
@pytest.mark.parametrize(
    ("log_dir", "problem"),
    [
        (None, "name a folder"),
        ("logs", "absolute path"),
        ("/shared/%j", "absolute path"),
        ("/nowhere/logs", "there is no folder /nowhere/logs"),
    ],
)
def test_a_folder_for_logs_that_cannot_be_used_is_refused(log_dir: str | None, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^SLURM_LOG_DIR: .*{problem}"):
        read(None if log_dir is None else Path(log_dir))


@pytest.mark.usefixtures("commands")
def test_a_folder_for_logs_that_everybody_can_change_is_refused(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o777)

    with pytest.raises(ConfigurationError, match=r"^SLURM_LOG_DIR: everybody can replace .*chmod o-w"):
        read(tmp_path / "logs")


def test_a_machine_without_slurm_is_told_what_it_lacks(commands: Path, tmp_path: Path) -> None:
    (commands / "sacct").unlink()
    assert read(tmp_path).commands.sacct is None
    (commands / "squeue").unlink()
    with pytest.raises(ConfigurationError, match="needs the command squeue"):
        read(tmp_path)
    (commands / "sudo").unlink()
    with pytest.raises(ConfigurationError, match=r"^SLURM_SUBMIT_AS: there is no sudo"):
        read(tmp_path, slurm_submit_as="user")


def test_owners_are_found_by_the_settings_or_by_their_address() -> None:
    assert login_of("sara@example.org", {"sara@example.org": "s.ahmadi"}) == "s.ahmadi"
    assert login_of("ali@example.org", {}) == "ali"


def test_where_domains_are_named_no_other_address_gets_a_user_by_its_local_part() -> None:
    logins = read_logins("*@example.org=*,ali@elsewhere.org=ahmadi")

    assert login_of("sara@example.org", logins) == "sara"
    assert login_of("ali@elsewhere.org", logins) == "ahmadi"
    for email in ("sara@elsewhere.org", "sara@mail.example.org"):
        with pytest.raises(LaunchError, match=r"^Addresses of .* have no Slurm users; .* SLURM_USERS\.$"):
            account_of(email, logins)
    with pytest.raises(LaunchError, match="No Slurm user can have the name"):
        account_of("*@example.org", logins)


@pytest.mark.parametrize(
    ("email", "problem"),
    [
        ("-x@example.org", "No Slurm user can have the name '-x'"),
        ("a b@example.org", "No Slurm user can have the name"),
        ("nobody-has-this-name@example.org", "There is no Slurm user nobody-has-this-name"),
        ("root@example.org", "The account root belongs to the system"),
        ("daemon@example.org", "The account daemon belongs to the system"),
        ("nobody@example.org", "The account nobody belongs to the system"),
    ],
)
def test_jobs_run_as_no_account_that_is_missing_or_the_systems(email: str, problem: str) -> None:
    with pytest.raises(LaunchError, match=problem):
        account_of(email, {})


def test_an_account_of_the_system_can_be_meant_but_never_root() -> None:
    assert account_of("boss@example.org", {"boss@example.org": "daemon"}).pw_name == "daemon"
    with pytest.raises(LaunchError, match="belongs to the system"):
        account_of("boss@example.org", {"boss@example.org": "root"})


def test_no_job_of_an_owner_runs_as_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: getpwnam("daemon").pw_uid)

    with pytest.raises(LaunchError, match="belongs to the system"):
        account_of("boss@example.org", {"boss@example.org": "daemon"})


@pytest.mark.anyio
async def test_only_an_answer_of_sudo_forbids_a_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    sudo = tmp_path / "sudo"
    for does, error in (("sleep 60", CommandTrouble), ("exit 1", LaunchError)):
        sudo.write_text(f"#!/bin/sh\n{does}\n")
        sudo.chmod(0o755)
        with pytest.raises(error):
            await Sudo(CommandRunner(timedelta(seconds=0.3)), "/usr/bin/sbatch").check("sara")


def test_an_account_without_a_home_begins_in_tmp() -> None:
    account = account_of("boss@example.org", {"boss@example.org": "nobody"})

    assert account.pw_dir in {"/nonexistent", "/"}
    assert home_of(account) == "/tmp"  # noqa: S108 - Slurm's own choice
