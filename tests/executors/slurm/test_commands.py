import asyncio
import os
import signal
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from app.executors.slurm.commands import CommandFailed, CommandRunner, CommandTrouble, end_with_us
from tests.waiting import becomes

pytestmark = pytest.mark.anyio

SOON = timedelta(seconds=0.3)
LATER = timedelta(minutes=10)


async def test_a_command_sees_nothing_of_the_services_environment() -> None:
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": "canary", "SBATCH_ACCOUNT": "x", "SLURM_CONF": "/s.conf"}
    runner = CommandRunner(LATER, environment)

    seen = dict(line.split("=", 1) for line in (await runner.ask(["env"])).splitlines())

    assert seen.keys() == {"PATH", "SLURM_CONF", "LC_ALL", "SLURM_TIME_FORMAT"}
    assert (seen["LC_ALL"], seen["SLURM_TIME_FORMAT"]) == ("C", "%s")


async def test_output_errors_exit_code_and_input_are_passed() -> None:
    output = await CommandRunner(LATER).run_once(
        ["sh", "-c", "cat; echo oh >&2; umask; exit 3"], stdin="سلام\n".encode()
    )

    assert (output.text, output.error_text, output.exit_code) == ("سلام\n0027\n", "oh\n", 3)


async def test_a_disk_without_room_makes_no_answer_a_shorter_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")

    assert await CommandRunner(LATER).ask(["seq", "3"]) == "1\n2\n3\n"


async def test_a_question_that_fails_tells_why() -> None:
    with pytest.raises(CommandFailed, match="sh: no answer"):
        await CommandRunner(LATER).ask(["sh", "-c", "echo no answer >&2; exit 1"])
    with pytest.raises(CommandFailed, match="sh: exit code 4"):
        await CommandRunner(LATER).ask(["sh", "-c", "exit 4"])
    with pytest.raises(CommandTrouble, match="No such file"):
        await CommandRunner(LATER).ask(["/nowhere/squeue"])


async def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(CommandTrouble, match=r"did not answer within 0\.3 s"):
        await CommandRunner(SOON).run(["sh", "-c", f"trap '' TERM; sleep 3600 & echo $! >{tmp_path}/pid; wait"])

    await gone(await written(tmp_path / "pid"))


async def test_a_command_whose_caller_is_cancelled_is_killed(tmp_path: Path) -> None:
    asking = asyncio.create_task(CommandRunner(LATER).run(["sh", "-c", f"echo $$ >{tmp_path}/pid; exec sleep 60"]))
    pid = await written(tmp_path / "pid")

    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    await gone(pid)


async def test_a_submission_does_not_outlive_a_killed_service(tmp_path: Path) -> None:
    program = (
        "import asyncio; from datetime import timedelta; from app.executors.slurm.commands import CommandRunner\n"
        f"command = ['sh', '-c', 'echo $$ >{tmp_path}/pid; exec sleep 60']\n"
        "asyncio.run(CommandRunner(timedelta(minutes=10)).run_once(command, stdin=b''))"
    )
    service = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    pid = await written(tmp_path / "pid")

    service.send_signal(signal.SIGKILL)
    await service.wait()

    await gone(pid)


async def test_a_submission_ends_in_time_whoever_is_gone(tmp_path: Path) -> None:
    argv = [*end_with_us(SOON), "sh", "-c", f"trap '' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.1; done"]
    process = await asyncio.create_subprocess_exec(*argv, start_new_session=True)

    assert await process.wait() != 0
    await gone(await written(tmp_path / "pid"))


async def written(path: Path) -> int:
    await becomes(lambda: number_in(path) is not None, f"{path} holds a number")
    return number_in(path) or 0


def number_in(path: Path) -> int | None:
    text = path.read_text().strip() if path.exists() else ""
    return int(text) if text else None


async def gone(pid: int) -> None:
    await becomes(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
