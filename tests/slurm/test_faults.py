"""What goes wrong in a cluster, done to a real one: nothing runs twice, and no end is told that is not proved.

Parts of a cluster are killed, so that no two tests use one at the same time.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from shlex import quote

import pytest

from app.core.clock import system_clock
from app.domain.execution import EndReason, JobSpec, NamedJob, Observation, RunState
from app.executors.slurm.commands import CommandTrouble
from tests.executors.slurm_engine import SlurmEngine
from tests.slurm.cluster import SlurmCluster
from tests.slurm.fixtures import announce, need_slurm
from tests.slurm.layout import Options
from tests.waiting import HANG_SECONDS, becomes, eventually, wait_until

pytestmark = pytest.mark.anyio

StartEngine = Callable[..., SlurmEngine]
SMALL = Options(nodes=1, gpus=2)
ALONE = Options(nodes=1, gpus=2, cpus=2)
"""The same, but a cluster that one test has alone from its first second on."""
WITHOUT_ACCOUNTING = Options(nodes=1, gpus=2, accounting=False)
MANY = 200 if os.environ.get("TEST_DEPTH") == "long" else 40
SAVED_AFTER_SECONDS = 6
"""slurmctld writes its state every five seconds; what is younger is lost when it is killed."""


@pytest.fixture(scope="module")
def small_cluster() -> Iterator[SlurmCluster]:
    """One for all tests that leave it as they found it, but for daemons that are down and jobs that are not done."""
    need_slurm(SMALL)
    with SlurmCluster.start(SMALL) as cluster:
        yield cluster


@pytest.fixture
def start_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartEngine]:
    """`start_engine(options, slurm_command_timeout_seconds=2)`: an engine on a cluster of no other test's."""
    with ExitStack() as at_the_end:

        def start(options: Options, **settings: object) -> SlurmEngine:
            need_slurm(options)
            if options == SMALL:
                cluster = request.getfixturevalue("small_cluster")
                at_the_end.callback(recover, cluster)
            else:
                cluster = at_the_end.enter_context(SlurmCluster.start(options))
            announce(cluster, monkeypatch)
            return SlurmEngine(cluster, **settings)

        yield start


def recover(cluster: SlurmCluster) -> None:
    """Leave no job, and every daemon at work."""
    cluster.restart_what_is_down()
    cluster.run("scancel", "--user=root")
    wait_until(lambda: cluster.run("squeue", "--noheader", check=False) == "", "the queue is empty")


async def test_runs_survive_a_killed_slurmctld(start_engine: StartEngine) -> None:
    """One runs, one waits for its GPUs, and both are known to whoever comes back."""
    engine = start_engine(SMALL)
    running = engine.spec(num_gpus=2, runs_for=timedelta(seconds=12), exit_code=3)
    waiting = engine.spec(num_gpus=2, runs_for=timedelta(seconds=1))
    await engine.executor.start(running)
    await comes_to(engine, running, is_running)
    await engine.executor.start(waiting)
    await comes_to(engine, waiting, lambda seen: seen.queue_reason is not None)
    await asyncio.sleep(SAVED_AFTER_SECONDS)

    engine.cluster.kill("slurmctld")
    for spec in (running, waiting):
        seen = await observe(engine, spec)
        assert seen is None or seen.state is not RunState.ENDED
    engine.cluster.start_daemon("slurmctld")

    ended = await comes_to(engine, running, has_ended)
    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 3)
    assert (await comes_to(engine, waiting, has_ended)).reason is EndReason.EXITED
    assert len(jobs_named(engine, running)) == len(jobs_named(engine, waiting)) == 1


@pytest.mark.parametrize("killed_after_seconds", [0.0, 1.5])
async def test_a_run_that_a_killed_slurmctld_takes_for_a_waiting_one_is_not_run_again(
    start_engine: StartEngine, tmp_path: Path, killed_after_seconds: float
) -> None:
    """Its saved state is seconds old: a job that has ended since waits in it, and is given to a node once more."""
    engine, counts = start_engine(ALONE), tmp_path / "counts"
    await first_job(engine)
    spec = engine.spec(command=f"echo begun >>{quote(str(counts))}; sleep 0.3")
    await engine.executor.start(spec)
    await becomes(counts.exists)
    await asyncio.sleep(0.5 + killed_after_seconds)

    engine.cluster.kill("slurmctld")
    engine.cluster.start_daemon("slurmctld")
    await first_job(engine)
    await becomes(lambda: engine.jobs_of(spec) == [])

    assert counts.read_text() == "begun\n"
    seen = await observe(engine, spec)
    assert seen is None or seen.reason is ends_accounted_for(engine, spec)


async def test_a_submission_that_outlives_its_caller_is_found_by_its_name(
    start_engine: StartEngine, tmp_path: Path
) -> None:
    """slurmctld hangs until sbatch is given up, and then takes what it was sent: the run is not submitted again."""
    engine, counts = start_engine(SMALL, slurm_command_timeout_seconds=2), tmp_path / "counts"
    await first_job(engine)
    spec = engine.spec(command=f"echo begun >>{quote(str(counts))}; sleep 1; exit 4")

    engine.cluster.halt("slurmctld")
    assert not await is_started(engine, spec)
    engine.replace_executor()
    assert not await is_started(engine, spec)
    engine.cluster.let_go_on("slurmctld")
    await until_started(engine, spec)

    ended = await comes_to(engine, spec, has_ended)
    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 4), ended
    assert counts.read_text() == "begun\n"
    assert len(jobs_named(engine, spec)) == 1


async def test_a_submission_during_which_slurmctld_dies_is_made_once(start_engine: StartEngine, tmp_path: Path) -> None:
    engine, counts = start_engine(SMALL, slurm_command_timeout_seconds=15), tmp_path / "counts"
    await first_job(engine)
    spec = engine.spec(command=f"echo begun >>{quote(str(counts))}; sleep 1")

    engine.cluster.halt("slurmctld")
    starting = asyncio.create_task(is_started(engine, spec))
    await asyncio.sleep(1)  # sbatch is on its way, and waits for an answer
    engine.cluster.kill("slurmctld")
    engine.cluster.start_daemon("slurmctld")
    if not await starting:
        await until_started(engine, spec)

    assert (await comes_to(engine, spec, has_ended)).reason is EndReason.EXITED
    assert counts.read_text() == "begun\n"
    assert len(jobs_named(engine, spec)) == 1


async def test_a_run_survives_a_killed_slurmd(start_engine: StartEngine) -> None:
    engine = start_engine(SMALL)
    spec = engine.spec(runs_for=timedelta(seconds=6), exit_code=3)
    await engine.executor.start(spec)
    await comes_to(engine, spec, is_running)

    engine.cluster.kill("slurmd-n1")
    engine.cluster.start_daemon("slurmd-n1")

    ended = await comes_to(engine, spec, has_ended)
    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 3)
    assert len(jobs_named(engine, spec)) == 1


async def test_a_node_that_dies_fails_its_run_and_the_run_is_not_begun_again(
    start_engine: StartEngine, tmp_path: Path
) -> None:
    """As by a power cut: slurmd and all that it had started. The charge is the dispatcher's: a node failure is free."""
    engine, counts = start_engine(Options(nodes=1, gpus=2, slurmd_timeout_seconds=4)), tmp_path / "counts"
    spec = engine.spec(command=f"echo begun >>{quote(str(counts))}; sleep 600")
    await engine.executor.start(spec)
    await comes_to(engine, spec, is_running)
    await becomes(counts.exists)
    await asyncio.sleep(SAVED_AFTER_SECONDS)

    engine.cluster.kill("slurmd-n1")
    for pid in engine.cluster.processes_of_jobs():
        os.kill(pid, signal.SIGKILL)
    ended = await comes_to(engine, spec, has_ended)
    engine.cluster.start_daemon("slurmd-n1")
    await first_job(engine)

    assert ended.reason is EndReason.NODE_FAILURE
    assert counts.read_text() == "begun\n"
    assert len(jobs_named(engine, spec)) == 1


async def test_an_end_is_told_when_slurmdbd_is_back(start_engine: StartEngine) -> None:
    """squeue has forgotten the run, and sacct cannot be asked: that is no end. Later the accounts tell it."""
    engine = start_engine(Options(nodes=1, gpus=2, min_job_age_seconds=2))
    spec = engine.spec(runs_for=timedelta(seconds=6), exit_code=3)
    await engine.executor.start(spec)
    await comes_to(engine, spec, is_running)

    engine.cluster.kill("slurmdbd")
    await becomes(lambda: str(spec.run_id) not in engine.cluster.run("squeue", "-ho%j", "--states=all"))
    seen = await observe(engine, spec)
    assert seen is None or seen.state is not RunState.ENDED
    await replace_executor(engine, spec)
    seen = await observe(engine, spec)
    assert seen is None or seen.state is not RunState.ENDED
    engine.cluster.start_daemon("slurmdbd")

    ended = await comes_to(engine, spec, has_ended)
    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 3)


async def test_a_run_comes_to_its_end_where_slurm_keeps_no_accounts(start_engine: StartEngine) -> None:
    engine = start_engine(WITHOUT_ACCOUNTING)
    spec, begun_at = engine.spec(runs_for=timedelta(seconds=2), exit_code=3), system_clock()
    await engine.executor.start(spec)

    ended = await comes_to(engine, spec, has_ended)

    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 3)
    assert timedelta(seconds=2) <= ended.elapsed <= system_clock() - begun_at


@pytest.mark.parametrize("options", [SMALL, WITHOUT_ACCOUNTING], ids=["accounts", "no accounts"])
async def test_a_job_that_puts_itself_back_into_the_queue_pays_for_what_it_held(
    start_engine: StartEngine, tmp_path: Path, options: Options
) -> None:
    """It removes the mark of its beginning, too, so that its command could begin again."""
    engine, may_go_on = start_engine(options), tmp_path / "may go on"
    spec = engine.spec(
        command=f"while ! [ -e {quote(str(may_go_on))} ]; do sleep 0.1; done; "
        f"rm -f {quote(str(engine.cluster.job_logs))}/*.began; "
        "scontrol update JobId=$SLURM_JOB_ID Requeue=1 && scontrol requeue $SLURM_JOB_ID; sleep 60"
    )
    await engine.executor.start(spec)
    held = (await comes_to(engine, spec, lambda seen: seen.elapsed >= timedelta(seconds=3))).elapsed
    may_go_on.touch()
    await comes_to(engine, spec, lambda seen: seen.state is RunState.STARTING)
    if options is SMALL:  # with accounts, nobody needs to have seen it
        await replace_executor(engine, spec)

    await engine.executor.stop(spec.run_id, timedelta(0))

    ended = await comes_to(engine, spec, has_ended)
    assert ended.reason is EndReason.SIGNALLED, ended
    assert ended.elapsed >= held - timedelta(seconds=1), "Slurm counts whole seconds"


async def test_a_job_that_a_job_has_submitted_is_told_from_runs_and_can_be_cancelled(start_engine: StartEngine) -> None:
    """Its name would make two lines of its own in any list that shows names."""
    engine = start_engine(SMALL)
    name = "mine\n999|gres/gpu=1|"
    spec = engine.spec(
        command=f"sbatch --parsable --gres=gpu:1 --job-name={quote(name)} -o/dev/null --wrap='sleep 600'; sleep 600"
    )
    await engine.executor.start(spec)

    async def both_run() -> list[NamedJob]:
        named = await engine.executor.named_jobs()
        return [job for job in named if job.num_gpus] if len(named) == 2 else []

    run, other = sorted(await eventually(both_run), key=lambda job: int(job.engine_job_id))
    assert (run.run_id, run.num_gpus) == (spec.run_id, 1)
    assert (other.run_id, other.name, other.num_gpus) == (None, name, 1)

    await engine.executor.cancel_foreign_job(other.engine_job_id)

    async def is_gone() -> bool:
        return [job.run_id for job in await engine.executor.named_jobs()] == [spec.run_id]

    await eventually(is_gone)


async def test_a_command_that_hangs_is_given_up_and_leaves_nothing_behind(
    start_engine: StartEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, monkeypatch, "squeue", f"[ -e {tmp_path}/hangs ] && {{ echo $$ >{tmp_path}/pid; sleep 3600; }}")
    engine = start_engine(WITHOUT_ACCOUNTING, slurm_command_timeout_seconds=1)
    spec = engine.spec(runs_for=timedelta(minutes=5))
    await engine.executor.start(spec)
    await comes_to(engine, spec, is_running)

    (tmp_path / "hangs").touch()
    await replace_executor(engine, spec)
    async with asyncio.timeout(HANG_SECONDS):
        assert await observe(engine, spec) is None
    await becomes(lambda: not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists())
    (tmp_path / "hangs").unlink()

    await comes_to(engine, spec, is_running)


async def test_a_poll_of_many_runs_asks_squeue_once(
    start_engine: StartEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"
    for program in ("squeue", "sacct"):
        stand_in(tmp_path, monkeypatch, program, f"echo {program} >>{calls}")
    engine = start_engine(Options(nodes=1, gpus=2, cpus=256))
    specs = [engine.spec(runs_for=timedelta(minutes=5)) for _ in range(MANY)]
    limiter = asyncio.Semaphore(8)

    async def start(spec: JobSpec) -> None:
        async with limiter:
            await engine.executor.start(spec)

    await start(specs[0])  # the first to be submitted is one of the two that run
    await asyncio.gather(*map(start, specs[1:]))
    await comes_to(engine, specs[0], is_running)
    await replace_executor(engine, *specs)
    calls.unlink()
    seen = await engine.executor.poll([spec.run_id for spec in specs])

    assert len(seen) == MANY
    assert sum(observation.state is RunState.RUNNING for observation in seen.values()) == 2
    assert calls.read_text().splitlines() == ["squeue"]


async def test_a_slurm_whose_json_is_strange_is_read_as_text(
    start_engine: StartEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A version that knows no JSON, or writes another one than is understood."""
    stand_in(tmp_path, monkeypatch, "squeue", "case $* in *--json*) echo 'unrecognized option' >&2; exit 1;; esac")
    engine = start_engine(SMALL)
    spec = engine.spec(exit_code=3, runs_for=timedelta(seconds=8))
    await engine.executor.start(spec)

    running = await comes_to(engine, spec, is_running)
    ended = await comes_to(engine, spec, has_ended)

    assert running.placement is not None
    assert running.placement.startswith("n1")
    assert (ended.reason, ended.exit_code) == (EndReason.NONZERO_EXIT, 3)


async def test_a_run_that_needs_more_memory_than_it_has_is_told_so(start_engine: StartEngine) -> None:
    engine = start_engine(Options(nodes=1, gpus=2, accounting=False, cgroups=True))
    spec = engine.spec(command="head -c 1G /dev/zero | tail -c 500M | wc -c")
    await engine.executor.start(spec)

    assert (await comes_to(engine, spec, has_ended)).reason is EndReason.OUT_OF_MEMORY


async def test_where_slurm_uses_cgroups_no_process_outlives_its_run(start_engine: StartEngine, tmp_path: Path) -> None:
    engine, pid = start_engine(Options(nodes=1, gpus=2, accounting=False, cgroups=True)), tmp_path / "pid"
    command = f"setsid sh -c 'echo $$ >{quote(str(pid))}; trap \"\" TERM; sleep 3600; sleep 3600' & sleep 3600"
    spec = engine.spec(command=command)
    await engine.executor.start(spec)
    await becomes(lambda: pid.exists() and pid.read_text().strip() != "")

    await engine.executor.stop(spec.run_id, timedelta(seconds=1))

    assert (await comes_to(engine, spec, has_ended)).reason is EndReason.SIGNALLED
    await becomes(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


async def replace_executor(engine: SlurmEngine, *specs: JobSpec) -> None:
    """What comes after the death of a dispatcher; the new one has not looked at anything yet."""
    engine.replace_executor()
    await engine.executor.adopt(specs)


async def first_job(engine: SlurmEngine) -> None:
    """Wait until the cluster runs jobs at once, as it does not in its first seconds."""
    await asyncio.to_thread(engine.cluster.run, "sbatch", "--wait", "-o/dev/null", "--wrap=true")


async def is_started(engine: SlurmEngine, spec: JobSpec) -> bool:
    try:
        await engine.executor.start(spec)
    except CommandTrouble:
        return False
    return True


async def until_started(engine: SlurmEngine, spec: JobSpec) -> None:
    await eventually(lambda: is_started(engine, spec), "the run is started")


async def observe(engine: SlurmEngine, spec: JobSpec) -> Observation | None:
    """None: unknown, or nobody could be asked."""
    try:
        return (await engine.executor.poll([spec.run_id])).get(spec.run_id)
    except CommandTrouble:
        return None


async def comes_to(engine: SlurmEngine, spec: JobSpec, condition: Callable[[Observation], bool]) -> Observation:
    async def comes_so_far() -> Observation | None:
        seen = await observe(engine, spec)
        return seen if seen is not None and condition(seen) else None

    found = await eventually(comes_so_far, condition.__name__, seen=lambda: observe(engine, spec))
    assert found is not None
    return found


def is_running(seen: Observation) -> bool:
    return seen.state is RunState.RUNNING


def has_ended(seen: Observation) -> bool:
    return seen.state is RunState.ENDED


def jobs_named(engine: SlurmEngine, spec: JobSpec) -> list[str]:
    """All jobs with the run's name that Slurm has accounted for."""
    name = f"--name=gtm-{spec.run_id}"
    return engine.cluster.run("sacct", "-nXPD", "--starttime=now-1days", name, "--format=JobIDRaw").split()


def ends_accounted_for(engine: SlurmEngine, spec: JobSpec) -> EndReason:
    """What Slurm itself says at last. Where the saved state had the job running, it takes it for lost on its node."""
    states = engine.cluster.run(
        "sacct", "-nXPD", "--starttime=now-1days", f"--name=gtm-{spec.run_id}", "--format=State"
    ).split()
    return {"COMPLETED": EndReason.EXITED, "NODE_FAIL": EndReason.NODE_FAILURE}[states[-1]]


def stand_in(directory: Path, monkeypatch: pytest.MonkeyPatch, program: str, does_first: str) -> None:
    """Put a script before one of Slurm's commands, which it goes on with."""
    folder = directory / "bin"
    folder.mkdir(exist_ok=True)
    script = folder / program
    script.write_text(f'#!/bin/sh\n{does_first}\nexec {shutil.which(program)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    if str(folder) not in os.environ["PATH"]:
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
