"""`SLURM_SUBMIT_AS=user`, with accounts of this machine: a run is its owner's in Slurm, and its log nobody else's."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from app.domain.execution import EndReason, JobSpec, LaunchError
from tests.executors.slurm_engine import SlurmEngine
from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixtures import announce, slurm_cluster
from tests.slurm.test_faults import comes_to, has_ended, is_running
from tests.waiting import becomes

__all__ = ["slurm_cluster"]

pytestmark = pytest.mark.anyio

SUDO_IS_MISSING = "sudo is not installed: get it (Debian: apt-get install sudo)"


@dataclass(frozen=True, slots=True)
class Lab:
    engine: SlurmEngine
    users: tuple[str, str]
    log_dir: Path

    def spec_of(self, login: str, command: str) -> JobSpec:
        return replace(self.engine.spec(command=command), owner_email=f"{login}@example.org")

    def log_of(self, spec: JobSpec) -> Path:
        [log] = self.log_dir.rglob(f"{spec.run_id}.log")
        return log


@pytest.fixture
def lab(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Two accounts, and the rule that a service needs to submit as them; all of it is removed again."""
    name = f"gtm{uuid4().hex[:8]}"
    users, rule = (f"{name}a", f"{name}b"), Path(f"/etc/sudoers.d/{name}")
    log_dir = slurm_cluster.layout.directory / name
    if not rule.parent.is_dir():
        if "CI" in os.environ:
            pytest.fail(SUDO_IS_MISSING)
        pytest.skip(SUDO_IS_MISSING)
    announce(slurm_cluster, monkeypatch)
    try:
        for user in users:
            subprocess.run(["useradd", "--no-create-home", "--home-dir=/nonexistent", user], check=True)
        rule.write_text(
            f"Cmnd_Alias {name.upper()} = /usr/bin/sbatch, /usr/bin/scancel\n"
            f'Defaults!{name.upper()} env_keep += "SLURM_CONF SLURM_TIME_FORMAT"\n',
            encoding="utf-8",
        )
        rule.chmod(0o440)
        log_dir.mkdir(mode=0o711)
        engine = SlurmEngine(slurm_cluster, slurm_log_dir=log_dir, slurm_submit_as="user")
        yield Lab(engine, users, log_dir)
        engine.end_what_still_runs()
    finally:
        rule.unlink(missing_ok=True)
        for user in users:
            subprocess.run(["userdel", "--force", user], check=False, capture_output=True)


async def test_a_run_is_its_owners_and_its_log_nobody_elses(lab: Lab) -> None:
    sara, reza = lab.users
    specs = {login: lab.spec_of(login, "id -un; exit 3") for login in lab.users}
    for spec in specs.values():
        await lab.engine.executor.start(spec)

    for login, spec in specs.items():
        ended = await comes_to(lab.engine, spec, has_ended)
        assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 3)
        told = await lab.engine.executor.read_log(spec, ended_at=None, offset=0, limit=1000)
        assert told.data.decode() == f"{login}\n"
    assert not can_read(reza, lab.log_of(specs[sara]))
    assert can_read(sara, lab.log_of(specs[sara]))


async def test_the_run_of_another_user_is_cancelled_in_their_name(lab: Lab) -> None:
    spec = lab.spec_of(lab.users[0], "sleep 600")
    await lab.engine.executor.start(spec)
    await comes_to(lab.engine, spec, is_running)
    lab.engine.replace_executor()
    await lab.engine.executor.adopt([spec])

    await lab.engine.executor.stop(spec.run_id, timedelta(seconds=1))

    ended = await comes_to(lab.engine, spec, has_ended)
    assert (ended.reason, ended.message) == (EndReason.SIGNALLED, None)
    await becomes(lambda: lab.engine.jobs_of(spec) == [])


@pytest.mark.parametrize(
    ("login", "refusal"), [("nobody-of-that-name", "There is no Slurm user"), ("root", "belongs to the system")]
)
async def test_nothing_is_submitted_as_nobody_or_as_the_system(lab: Lab, login: str, refusal: str) -> None:
    spec = lab.spec_of(login, "true")

    with pytest.raises(LaunchError, match=refusal):
        await lab.engine.executor.start(spec)

    assert lab.engine.jobs_of(spec) == []
    assert list(lab.log_dir.iterdir()) == []


def can_read(login: str, path: Path) -> bool:
    command = ["setpriv", f"--reuid={login}", f"--regid={login}", "--clear-groups", "cat", str(path)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
