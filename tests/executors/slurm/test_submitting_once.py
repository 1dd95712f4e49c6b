"""What becomes of a run when `sbatch` cannot be believed. Slurm's commands are scripts here, its queue is a file."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from pwd import getpwuid

import pytest

from app.core.config import Settings
from app.domain.execution import JobSpec, LaunchError, Observation, RunState, TimeKeeping
from app.executors.slurm.commands import CommandTrouble
from app.executors.slurm.executor import LARGEST_JSON_BYTES, SlurmExecutor
from app.executors.slurm.options import read_options
from tests.executors.engines import MovableClock, make_spec
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

TAKES_IT = (
    'name=$(echo "$*" | sed "s/.*--job-name=\\([^ ]*\\).*/\\1/"); '
    'echo "$(id -u)|7|$name|PENDING|0|0||0||Priority|" >>queue'
)
SQUEUE = 'case "$*" in *--json*) exit 1;; *) cat queue 2>/dev/null || true;; esac'
NO_ACCOUNTS = "echo Slurm accounting storage is disabled >&2; exit 1"
LONG_ENOUGH = timedelta(seconds=31)


class StandIn:
    """Commands that do as a test wants, and note that they were called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = MovableClock()
        (folder / "logs").mkdir()
        (folder / "bin").mkdir()
        self.does("sbatch", f"{TAKES_IT}; echo 7")
        self.does("squeue", SQUEUE)
        self.does("sacct", NO_ACCOUNTS)
        self.does("scancel", "true")
        self.does("sinfo", "true")
        self.options = read_options(Settings(executor="slurm", slurm_log_dir=folder / "logs"))

    def does(self, command: str, what: str) -> None:
        script = self.folder / "bin" / command
        script.write_text(f"#!/bin/sh\ncd {self.folder}\necho {command} >>calls\n{what}\n")
        script.chmod(0o755)

    def calls(self, command: str) -> int:
        calls = self.folder / "calls"
        return calls.read_text().split().count(command) if calls.exists() else 0

    def executor(self) -> SlurmExecutor:
        """A new one, as after a crash: it remembers nothing."""
        return SlurmExecutor(self.options, self.clock)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return StandIn(tmp_path)


@pytest.fixture
def spec() -> JobSpec:
    return make_spec(num_gpus=1, slots=[])


async def test_a_run_is_submitted_without_a_look_by_whoever_comes_first(slurm: StandIn, spec: JobSpec) -> None:
    executor = slurm.executor()

    await executor.start(spec)
    await executor.start(spec)

    assert (slurm.calls("sbatch"), slurm.calls("squeue")) == (1, 0)


async def test_of_two_that_go_to_submit_a_run_at_once_one_does(slurm: StandIn) -> None:
    """Both have found that nobody was there before, and wait for the sizes of the nodes."""
    spec = make_spec(num_gpus=2, slots=[])
    slurm.does("sinfo", "until [ -e door ]; do sleep 0.01; done")
    starts = [asyncio.create_task(slurm.executor().start(spec)) for _ in range(2)]

    async def both_wait() -> bool:
        return slurm.calls("sinfo") == 2

    await eventually(both_wait)
    (slurm.folder / "door").touch()
    outcomes = await asyncio.gather(*starts, return_exceptions=True)

    assert slurm.calls("sbatch") == 1
    assert None in outcomes


@pytest.mark.parametrize(
    "answer", ["exit 1", "kill -KILL $$", "echo Submitted", "true", "echo 'Zero Bytes' >&2; exit 1"]
)
async def test_a_job_that_was_made_although_sbatch_failed_is_found_by_its_name(
    slurm: StandIn, spec: JobSpec, answer: str
) -> None:
    slurm.does("sbatch", f"{TAKES_IT}; {answer}")
    executor = slurm.executor()

    await executor.start(spec)

    seen = (await executor.poll([spec.run_id]))[spec.run_id]
    assert (seen.state, seen.queue_reason, seen.engine_job_id) == (RunState.STARTING, "Priority", "7")
    await slurm.executor().start(spec)
    assert slurm.calls("sbatch") == 1


async def test_an_attempt_of_which_nothing_is_found_is_repeated_after_a_while_and_not_before(
    slurm: StandIn, spec: JobSpec
) -> None:
    slurm.does("sbatch", "echo 'Socket timed out' >&2; exit 1")
    with pytest.raises(CommandTrouble, match="Socket timed out"):
        await slurm.executor().start(spec)
    slurm.does("sbatch", f"{TAKES_IT}; echo 7")

    with pytest.raises(CommandTrouble, match="not known yet"):
        await slurm.executor().start(spec)
    assert slurm.calls("sbatch") == 1

    slurm.clock.advance(LONG_ENOUGH)
    await slurm.executor().start(spec)
    assert slurm.calls("sbatch") == 2


async def test_while_nobody_can_be_asked_nothing_is_submitted_again(slurm: StandIn, spec: JobSpec) -> None:
    slurm.does("sbatch", "echo 'Unable to contact slurm controller' >&2; exit 1")
    slurm.does("squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    for _ in range(3):
        with pytest.raises(CommandTrouble, match="Unable to contact"):
            await slurm.executor().start(spec)
        slurm.clock.advance(LONG_ENOUGH)

    slurm.does("squeue", SQUEUE)
    slurm.does("sacct", "echo 'sacct: error: slurmdbd: Connection refused' >&2; exit 1")
    with pytest.raises(CommandTrouble, match="Connection refused"):
        await slurm.executor().start(spec)

    assert slurm.calls("sbatch") == 1


async def test_a_run_that_was_accounted_for_is_not_submitted_again(slurm: StandIn, spec: JobSpec) -> None:
    slurm.does("sbatch", "exit 1")
    slurm.does("sacct", accounts_with(f"9|{os.geteuid()}|COMPLETED|0:0|100|110|10||n1|None|gtm-{spec.run_id}"))

    await slurm.executor().start(spec)

    assert slurm.calls("sbatch") == 1


async def test_a_run_that_began_is_not_submitted_again_although_slurm_forgot_it(slurm: StandIn, spec: JobSpec) -> None:
    slurm.does("sbatch", "exit 1")
    with pytest.raises(CommandTrouble):
        await slurm.executor().start(spec)
    (slurm.folder / "logs" / f"{spec.run_id}.began").symlink_to("9 n1:0 3f")
    slurm.clock.advance(LONG_ENOUGH)
    executor = slurm.executor()

    await executor.start(spec)

    assert slurm.calls("sbatch") == 1
    assert await executor.poll([spec.run_id]) == {}


async def test_a_refusal_is_final_and_tells_slurms_words(slurm: StandIn, spec: JobSpec) -> None:
    slurm.does("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1")
    executor = slurm.executor()

    for _ in range(2):
        with pytest.raises(LaunchError, match=r"^Slurm refused the job: Invalid qos specification\.$"):
            await executor.start(spec)

    assert slurm.calls("sbatch") == 1
    assert (slurm.folder / "logs" / f"{spec.run_id}.began").readlink() == Path("never")


async def test_a_run_that_was_stopped_before_it_was_submitted_never_is(slurm: StandIn, spec: JobSpec) -> None:
    await slurm.executor().stop(spec.run_id, timedelta(seconds=1))

    for _ in range(2):
        with pytest.raises(LaunchError, match=r"^The run was cancelled before it was submitted\.$"):
            await slurm.executor().start(spec)

    assert (slurm.calls("sbatch"), slurm.calls("scancel")) == (0, 0)


async def test_what_slurm_cannot_be_asked_about_is_no_end(slurm: StandIn, spec: JobSpec) -> None:
    executor = slurm.executor()
    await executor.start(spec)
    slurm.does("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")

    with pytest.raises(CommandTrouble):
        await executor.poll([spec.run_id])


async def test_an_empty_queue_that_tells_of_an_error_is_no_answer(slurm: StandIn, spec: JobSpec) -> None:
    """As 22.05 does, with exit code 0, while its controller is away. Text tells the truth."""
    executor = slurm.executor()
    await executor.start(spec)
    unreachable = '{"errors": [{"error": "Unable to contact slurm controller"}], "jobs": []}'
    slurm.does(
        "squeue", f"case \"$*\" in *--json*) echo '{unreachable}';; *) echo 'Unable to contact' >&2; exit 1;; esac"
    )

    with pytest.raises(CommandTrouble, match="Unable to contact"):
        await executor.poll([spec.run_id])


async def test_without_accounts_the_controllers_record_settles(slurm: StandIn, spec: JobSpec) -> None:
    executor = slurm.executor()
    await executor.start(spec)
    (slurm.folder / "queue").write_text(
        f"{os.geteuid()}|7|gtm-{spec.run_id}|FAILED|100|112|n1|768|gres/gpu=1|NonZeroExitCode|\n"
    )

    seen = (await executor.poll([spec.run_id]))[spec.run_id]

    assert (seen.state, seen.exit_code, seen.elapsed) == (RunState.ENDED, 3, timedelta(seconds=12))


async def test_a_job_of_somebody_else_with_the_name_of_a_run_is_not_the_run(slurm: StandIn, spec: JobSpec) -> None:
    """Everybody sees the names in the queue, and can give them to jobs of their own."""
    executor = slurm.executor()
    await executor.start(spec)
    somebody = os.geteuid() + 1
    with (slurm.folder / "queue").open("a") as queue:
        queue.write(f"{somebody}|8|gtm-{spec.run_id}|COMPLETED|100|101|n1|0|gres/gpu=1|None|\n")
    slurm.does("sacct", accounts_with(f"8|{somebody}|COMPLETED|0:0|100|101|1||n1|None|gtm-{spec.run_id}"))

    seen = (await executor.poll([spec.run_id]))[spec.run_id]
    assert (seen.state, seen.engine_job_id) == (RunState.STARTING, "7")
    seen = (await (await adopted(slurm, spec)).poll([spec.run_id]))[spec.run_id]
    assert (seen.state, seen.engine_job_id) == (RunState.STARTING, "7")

    (slurm.folder / "queue").write_text(f"{somebody}|8|gtm-{spec.run_id}|COMPLETED|100|101|n1|0|gres/gpu=1|None|\n")
    assert await (await adopted(slurm, spec)).poll([spec.run_id]) == {}


async def test_no_job_of_somebody_else_keeps_a_run_from_being_cancelled(slurm: StandIn, spec: JobSpec) -> None:
    slurm.does("scancel", 'echo "$*" >asked')
    executor = slurm.executor()
    await executor.start(spec)

    await executor.stop(spec.run_id, timedelta(seconds=1))

    assert (slurm.folder / "asked").read_text() == f"--user={getpwuid(os.geteuid()).pw_name} --name=gtm-{spec.run_id}\n"


async def test_a_folder_that_cannot_be_written_to_keeps_nothing_from_being_cancelled_or_settled(
    slurm: StandIn, spec: JobSpec
) -> None:
    """Its disk is full, or its owner has closed it. Here it is no folder at all: root could write to any."""
    executor = slurm.executor()
    other = make_spec(num_gpus=1, slots=[])
    await executor.start(spec)
    await executor.start(other)
    (slurm.folder / "logs").rename(slurm.folder / "away")
    (slurm.folder / "logs").touch()

    with pytest.raises(CommandTrouble, match="cancelled in Slurm"):
        await executor.stop(spec.run_id, timedelta(seconds=1))
    assert slurm.calls("scancel") == 1

    me = os.geteuid()
    (slurm.folder / "queue").write_text(
        f"{me}|7|gtm-{spec.run_id}|CANCELLED|100|100||0||None|\n{me}|8|gtm-{other.run_id}|RUNNING|100|900|n1|0||None|\n"
    )
    seen = await executor.poll([spec.run_id, other.run_id])

    assert (seen[spec.run_id].state, seen[other.run_id].state) == (RunState.ENDED, RunState.RUNNING)


async def test_whoever_waits_for_a_queue_that_gives_no_answer_shares_one_attempt(slurm: StandIn, spec: JobSpec) -> None:
    """Else everybody who reads a log would ask again after all the others, and the dispatcher last."""
    executor = slurm.executor()
    await executor.start(spec)
    slurm.does("squeue", "sleep 0.3; exit 1")

    polls = await asyncio.gather(*(executor.poll([spec.run_id]) for _ in range(10)), return_exceptions=True)

    assert all(isinstance(answer, CommandTrouble) for answer in polls)
    assert slurm.calls("squeue") == 2  # the one attempt asks for JSON, and for text


async def test_more_json_than_can_be_read_in_passing_is_not_read(slurm: StandIn, spec: JobSpec) -> None:
    executor = slurm.executor()
    await executor.start(spec)
    much = f"head -c {LARGEST_JSON_BYTES + 1} /dev/zero | tr '\\0' ' '; echo '{{\"jobs\": []}}'"
    slurm.does("squeue", f'case "$*" in *--json*) {much};; *) cat queue;; esac')

    assert (await executor.poll([spec.run_id]))[spec.run_id].queue_reason == "Priority"


async def test_a_refused_repetition_leaves_no_earlier_attempt_that_could_begin(slurm: StandIn, spec: JobSpec) -> None:
    slurm.does("sbatch", "exit 1")
    with pytest.raises(CommandTrouble):
        await slurm.executor().start(spec)
    slurm.clock.advance(LONG_ENOUGH)

    with pytest.raises(LaunchError, match="No shell"):
        await slurm.executor().start(replace(spec, environment={"no name": ""}))

    assert (slurm.folder / "logs" / f"{spec.run_id}.began").readlink() == Path("never")


async def test_an_attempt_in_another_users_name_is_forbidden_before_the_next(slurm: StandIn, spec: JobSpec) -> None:
    """The settings were changed meanwhile: each attempt has a link of its own, in the folder of its user."""
    logs = slurm.folder / "logs"
    (logs / "sara").mkdir()
    note = {"at": slurm.clock().timestamp(), "login": "sara", "uid": os.geteuid() + 1}
    (logs / f"{spec.run_id}.submitted").write_text(json.dumps(note))
    slurm.clock.advance(LONG_ENOUGH)

    await slurm.executor().start(spec)

    assert (logs / "sara" / f"{spec.run_id}.began").readlink() == Path("never")
    assert not (logs / f"{spec.run_id}.began").is_symlink()
    assert slurm.calls("sbatch") == 1


async def test_a_run_that_is_younger_than_the_last_look_is_on_its_way(slurm: StandIn, spec: JobSpec) -> None:
    executor, older = slurm.executor(), make_spec(num_gpus=1, slots=[])
    await executor.start(older)
    await executor.poll([older.run_id])
    await executor.start(spec)

    seen = await executor.poll([spec.run_id])

    assert (seen[spec.run_id].state, slurm.calls("squeue")) == (RunState.STARTING, 2)  # JSON, of no use, and text


async def test_the_end_of_a_repetition_is_not_the_end_of_the_run(slurm: StandIn, spec: JobSpec) -> None:
    """Slurm had forgotten that the job ran, and started it once more: that one was refused by the link."""
    executor, me = slurm.executor(), os.geteuid()
    await executor.start(spec)
    (slurm.folder / "logs" / f"{spec.run_id}.began").symlink_to("7 n1:0 3f")
    (slurm.folder / "logs" / f"{spec.run_id}.refused").symlink_to("7 n1:0 a5")
    (slurm.folder / "queue").write_text(f"{me}|7|gtm-{spec.run_id}|FAILED|100|101|n1|15|gres/gpu=1|None|\n")

    assert await executor.poll([spec.run_id]) == {}


async def test_what_scontrol_tells_is_reserved_and_slurms_defaults_without_it(slurm: StandIn) -> None:
    slurm.options = replace(slurm.options, commands=replace(slurm.options.commands, scontrol=None))
    assert await slurm.executor().time_keeping() == TimeKeeping(60, 30 + 30)
    slurm.does("scontrol", "case $2 in config) echo 'KillWait = 300 sec'; echo 'OverTimeLimit = 1 min';; esac")
    slurm.options = read_options(Settings(executor="slurm", slurm_log_dir=slurm.folder / "logs"))
    assert await slurm.executor().time_keeping() == TimeKeeping(60, 30 + 60 + 300)
    slurm.does("scontrol", "echo 'slurm_load_ctl_conf error' >&2; exit 1")
    assert await slurm.executor().time_keeping() == TimeKeeping(60, 30 + 30)


async def test_a_run_that_held_its_gpus_was_not_refused_whatever_its_marks_say(slurm: StandIn, spec: JobSpec) -> None:
    """The folder is its owner's: a job can make that link itself, and name GPUs in the other that it never had."""
    executor, me = slurm.executor(), os.geteuid()
    await executor.start(spec)
    (slurm.folder / "logs" / f"{spec.run_id}.began").symlink_to("7 n1:0 3f")
    (slurm.folder / "logs" / f"{spec.run_id}.refused").symlink_to("7 n1:0 a5")
    (slurm.folder / "queue").write_text(f"{me}|7|gtm-{spec.run_id}|FAILED|100|3700|n1|15|gres/gpu=1|None|\n")
    seen = (await executor.poll([spec.run_id]))[spec.run_id]
    assert (seen.state, seen.elapsed) == (RunState.ENDED, timedelta(hours=1))


async def test_an_end_waits_a_moment_for_the_accounts_which_measured_it(slurm: StandIn, spec: JobSpec) -> None:
    executor, me = slurm.executor(), os.geteuid()
    await executor.start(spec)
    slurm.does("sacct", "true")
    (slurm.folder / "queue").write_text(f"{me}|7|gtm-{spec.run_id}|CANCELLED|100|110|n1|15|gres/gpu=1|None|\n")

    assert (await executor.poll([spec.run_id]))[spec.run_id].state is RunState.RUNNING

    slurm.does("sacct", accounts_with(f"7|{me}|CANCELLED by {me}|0:0|100|114|14||n1|None|gtm-{spec.run_id}"))
    seen = await comes_to_its_end(executor, spec)
    assert (seen.elapsed, seen.message) == (timedelta(seconds=14), None)


async def test_without_accounts_a_run_is_measured_for_as_long_as_it_was_seen_running(
    slurm: StandIn, spec: JobSpec
) -> None:
    """The controller counts to the moment of the cancellation only, though the script may ignore it."""
    executor, me, begun = slurm.executor(), os.geteuid(), int(slurm.clock().timestamp())
    await executor.start(spec)
    row = f"{me}|7|gtm-{spec.run_id}|{{}}|{begun}|{begun + 10}|n1|15|gres/gpu=1|None|\n"
    (slurm.folder / "queue").write_text(row.format("COMPLETING"))
    slurm.clock.advance(timedelta(seconds=25))
    assert (await executor.poll([spec.run_id]))[spec.run_id].state is RunState.RUNNING

    (slurm.folder / "queue").write_text(row.format("CANCELLED"))

    assert (await comes_to_its_end(executor, spec)).elapsed == timedelta(seconds=25)


async def comes_to_its_end(executor: SlurmExecutor, spec: JobSpec) -> Observation:
    for _ in range(400):
        seen = (await executor.poll([spec.run_id]))[spec.run_id]
        if seen.state is RunState.ENDED:
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"the run did not end, but came to {seen}")


async def adopted(slurm: StandIn, spec: JobSpec) -> SlurmExecutor:
    executor = slurm.executor()
    await executor.adopt([spec])
    return executor


def accounts_with(row: str) -> str:
    """An `sacct` that writes this row with the delimiter that it is told."""
    return (
        f"""delimiter=$(echo "$*" | sed 's/.*--delimiter=\\([^ ]*\\).*/\\1/'); echo '{row}' | sed "s/|/$delimiter/g\""""
    )
