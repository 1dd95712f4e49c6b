"""What the jobs of one owner can do to those of another: nothing, also where there is no sandbox."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.clock import system_clock
from app.core.config import Settings
from app.domain.execution import JobSpec, RunState
from app.executors.local.account import UserPerOwner
from app.executors.local.executor import LocalExecutor
from app.executors.local.inventory import open_devices
from app.executors.local.job_uids import JobUids, read_uids
from app.executors.local.spec import LocalOptions, groups_for
from tests.executors.engines import make_spec
from tests.executors.local.runs import runs_directory
from tests.executors.local.wrapper_runs import needs_root
from tests.waiting import eventually

pytestmark = [pytest.mark.anyio, needs_root]

VICTIM = "export SECRET=canary; umask 0; echo canary >result; echo begun; exec sleep 600"
ATTACK = """
tr '\\0' '\\n' </proc/{pid}/environ | grep -q canary && echo environment
grep -q canary /proc/{pid}/cwd/result && echo working directory
grep -q canary {work}/result && echo files
echo 'echo planted' >{work}/.bashrc && echo code
echo planted >{work}/tmp/planted && echo temporary files
{{ : </proc/{pid}/mem; }} && echo memory
kill {pid} && echo signal
"""
ALWAYS_ONES_OWN = {"environment", "working directory", "files", "code", "temporary files", "signal"}
"""`memory` depends on the machine: a debugger may be allowed to its parents only."""


@pytest.fixture
def runs() -> Iterator[Path]:
    with runs_directory() as directory:
        yield directory


@pytest.fixture
def executor(runs: Path) -> LocalExecutor:
    uids = JobUids(runs / "job-uids", read_uids(Settings(_env_file=None).local_job_uids))
    return LocalExecutor(open_devices("2xCPU"), LocalOptions(runs, users=UserPerOwner(uids)), system_clock)


@pytest.mark.parametrize(("attacker", "gets"), [("ali@example.org", set()), ("sara@example.org", ALWAYS_ONES_OWN)])
async def test_jobs_of_another_owner_are_out_of_reach_and_ones_own_are_not(
    executor: LocalExecutor, runs: Path, attacker: str, gets: set[str]
) -> None:
    victim = spec_of("sara@example.org", VICTIM)
    await printed(executor, victim, "begun\n")
    directory = runs / str(victim.run_id)
    pid = json.loads((directory / "child.json").read_bytes())["pid"]

    attack = spec_of(attacker, ATTACK.format(pid=pid, work=directory / "work") + "echo over")
    lines = (await printed(executor, attack, "over\n")).splitlines()

    got = {line for line in lines if line in ALWAYS_ONES_OWN | {"memory"}}
    assert got - {"memory"} == gets
    assert gets or not got
    state = (await executor.poll([victim.run_id]))[victim.run_id].state
    assert gets or state is RunState.RUNNING


async def test_a_job_is_at_home_in_its_own_folder_and_finds_nothing_that_an_earlier_one_left(
    executor: LocalExecutor, runs: Path
) -> None:
    command = 'ls -A ~; echo "echo planted" >~/.bashrc; id -u; id -G; echo $HOME; echo over'
    for owner in ("sara@example.org", "ali@example.org"):
        spec = spec_of(owner, command)
        *left, uid, groups, home, _ = (await printed(executor, spec, "over\n")).splitlines()

        work = runs / str(spec.run_id) / "work"
        assert (left, groups, home) == (["tmp"], uid, str(work))
        found = work.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (int(uid), int(uid), 0o700)


def test_a_job_gets_the_groups_that_own_its_gpus_and_never_roots(tmp_path: Path) -> None:
    paths = []
    for name, group, mode in (
        ("of-video", 44, 0o660),
        ("of-root", 0, 0o660),
        ("open", 45, 0o666),
        ("closed", 46, 0o600),
    ):
        path = tmp_path / name
        path.touch()
        path.chmod(mode)
        os.chown(path, 0, group)
        paths.append(str(path))

    assert groups_for([*paths, str(tmp_path / "missing")]) == {44}


def spec_of(owner: str, command: str) -> JobSpec:
    slots = [device.info.slot for device in open_devices("2xCPU").list()]
    return replace(make_spec(command, launched_at=system_clock(), slots=slots), owner_email=owner)


async def printed(executor: LocalExecutor, spec: JobSpec, last: str) -> str:
    """Start a run, and read what it has printed when it has printed this."""
    await executor.start(spec)
    logs: list[str] = []

    async def has_printed() -> bool:
        logs[:] = [(await executor.read_log(spec, ended_at=None, offset=0, limit=10_000)).data.decode()]
        return logs[0].endswith(last)

    await eventually(has_printed)
    return logs[0]
