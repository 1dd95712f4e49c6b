"""Staying with a job: `logs`, `logs -f`, `submit --follow` and `wait`, whatever happens to the service meanwhile."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from signal import SIGINT
from subprocess import Popen
from typing import IO

import pytest

from app.domain.identity import Scope
from app.services import tokens
from tests.browser.service import Service
from tests.client.runner import Gtm
from tests.factories import ORIGIN, Person, make_token
from tests.services.desk import Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

Run = Callable[..., Awaitable[int]]
FOUR_HOURS = timedelta(hours=4)
THE_LEASE_RUNS_OUT = "UPDATE dispatcher_lease SET expires_at = '-infinity'"


@pytest.fixture
def run(desk: Desk, user: Person, admin: Person) -> Run:
    """Start a job of Sara's: its id. An hour of its time limit is a second."""

    async def started(command: str, time_limit: timedelta = FOUR_HOURS) -> int:
        job_id = await desk.submit(user, command=command, time_limit=time_limit)
        await desk.approve(admin, job_id)
        await desk.start(admin, job_id)
        return job_id

    return started


async def test_a_log_is_printed_byte_for_byte(sara: Gtm, run: Run) -> None:
    job_id = await run("python train.py #SIM duration=10m lines=300")
    sara("wait", job_id)
    log = sara("logs", job_id)
    assert log.err == ""
    assert log.out.count("\n") > 300
    assert log.out.endswith("Exit code 0.\n")
    assert sara("logs", job_id, "--tail", "2").lines == log.lines[-2:]
    assert sara("logs", job_id, "--tail", "250").lines == log.lines[-250:]
    assert sara("logs", job_id, "--tail", "9999").out == log.out
    assert sara("logs", "-f", job_id).out == log.out
    assert sara("logs", "-f", job_id, "--tail", "1").lines == log.lines[-1:]


async def test_a_log_that_has_not_begun_says_why(sara: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user)
    outcome = sara("logs", job_id)
    assert outcome.out == ""
    assert outcome.err == (f"Waits for an admin's decision. No earlier request waits.\nNext: gtm logs -f {job_id}\n")


async def test_following_says_what_a_job_waits_for_and_then_shows_its_log(
    sara: Gtm, desk: Desk, user: Person, admin: Person
) -> None:
    job_id = await desk.submit(user, command="python train.py #SIM duration=30m lines=5")
    with sara.start("logs", "-f", job_id) as following:
        assert await line_of(following.stderr) == (
            f"Job {job_id} is PENDING. Waits for an admin's decision. No earlier request waits.\n"
        )
        await desk.approve(admin, job_id)
        assert (await line_of(following.stderr)).startswith(f"Job {job_id} is APPROVED. Approved; waits for an admin")
        await desk.start(admin, job_id)
        log, messages = await rest_of(following)
    assert following.returncode == 0
    assert log.endswith("Exit code 0.\n")
    assert f"Job {job_id} COMPLETED." in messages


async def test_a_service_that_is_killed_while_a_log_is_followed_loses_and_repeats_nothing(
    sara: Gtm, run: Run, service: Service, desk: Desk
) -> None:
    job_id = await run("python train.py #SIM duration=95% lines=2000", timedelta(hours=6))
    with sara.start("logs", "-f", job_id) as following:
        begun = await line_of(following.stdout)
        service.process.kill()
        await desk.sql(THE_LEASE_RUNS_OUT)
        await service.start()
        rest, messages = await rest_of(following)
    assert following.returncode == 0, messages
    assert begun + rest == sara("logs", job_id).out
    assert rest.count("epoch") == 2000


async def test_a_token_that_is_revoked_ends_the_following(sara: Gtm, run: Run, service: Service, user: Person) -> None:
    token = await make_token(service.state, user, scopes=[Scope.JOBS_READ])
    job_id = await run("sleep 720000", timedelta(hours=700))
    with sara.start("logs", "-f", job_id, GTM_TOKEN=token.secret) as following:
        await line_of(following.stdout)
        async with service.state.database.transaction() as connection:
            await tokens.revoke(connection, user.caller, token.id, now=service.state.clock(), origin=ORIGIN)
        _, messages = await rest_of(following)
    assert following.returncode == 4
    assert "does not accept your token any more" in messages
    assert "Try: gtm login" in messages


async def test_a_reader_that_has_seen_enough_ends_it_quietly(sara: Gtm, run: Run) -> None:
    job_id = await run("python train.py #SIM duration=95% lines=5000", timedelta(hours=2))
    with sara.start("logs", "-f", job_id) as following:
        await line_of(following.stdout)
        assert following.stdout is not None
        following.stdout.close()
        assert await line_of(following.stderr) == ""
    assert following.returncode == 141


async def test_submit_and_follow_on_a_terminal_until_ctrl_c(sara: Gtm, desk: Desk, admin: Person) -> None:
    command = "python train.py #SIM duration=95% lines=3000"
    with sara.on_terminal("submit", "--follow", "--gpus", "A100:1", "--time", "700h", "--", command) as terminal:
        terminal.expect("Submitted job ")
        terminal.expect("No earlier request waits.")
        [[job_id]] = await desk.sql("SELECT id FROM jobs")
        await desk.approve(admin, job_id)
        await desk.start(admin, job_id)
        terminal.expect("] epoch ")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert f"Detached. Job {job_id} goes on." in terminal.seen
    assert f"gtm logs -f {job_id}" in terminal.seen
    assert f"gtm cancel {job_id}" in terminal.seen
    assert sara("show", job_id, "-o", "json").json["status"] == "RUNNING"


async def test_submit_and_follow_ends_as_the_job_does(sara: Gtm, desk: Desk, admin: Person) -> None:
    command = "python train.py #SIM exit=7 duration=10m lines=5"
    with sara.start("submit", "-f", "--gpus", "T4:1", "--time", "1h", "--", command) as following:
        await eventually(lambda: desk.sql("SELECT id FROM jobs"))
        [[job_id]] = await desk.sql("SELECT id FROM jobs")
        await desk.approve(admin, job_id)
        await desk.start(admin, job_id)
        log, messages = await rest_of(following)
    assert following.returncode == 7
    assert log.endswith("Exit code 7.\n")
    assert messages.startswith(f"Submitted job {job_id}\n")
    assert f"Job {job_id} FAILED." in messages


async def test_wait_ends_with_the_jobs_own_exit_code(sara: Gtm, run: Run) -> None:
    ends = {
        "exit 0": (0, "COMPLETED"),
        "exit 42": (42, "FAILED"),
        "python train.py #SIM fault=node-loss duration=1m": (1, "FAILED"),
        "python train.py #SIM signal=9 duration=1m": (1, "FAILED"),
    }
    jobs = {command: await run(command) for command in ends}
    for command, (code, status) in ends.items():
        outcome = sara("wait", jobs[command], "-o", "json", code=code)
        assert [job["status"] for job in outcome.json] == [status], command


async def test_an_interrupt_that_is_ignored_stays_ignored(sara: Gtm, desk: Desk, user: Person, admin: Person) -> None:
    job_id = await desk.submit(user)
    with sara.start_script(f"trap '' INT; exec $GTM wait {job_id}") as waiting:
        assert f"Job {job_id} is PENDING." in await line_of(waiting.stderr)
        waiting.send_signal(SIGINT)
        await desk.reject(admin, job_id)
        _, messages = await rest_of(waiting)
    assert waiting.returncode == 1
    assert f"Job {job_id} REJECTED." in messages


async def test_wait_for_several_ends_as_the_first_that_did_not_end_well(
    sara: Gtm, run: Run, desk: Desk, user: Person, admin: Person
) -> None:
    rejected = await desk.submit(user)
    await desk.reject(admin, rejected)
    well, badly = await run("true"), await run("exit 3")
    outcome = sara("wait", well, badly, rejected, code=3)
    assert f"Job {rejected} REJECTED." in outcome.err
    assert sara("wait", rejected, code=1).out == ""


async def test_wait_gives_up_after_its_timeout(sara: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user)
    outcome = sara("wait", job_id, "--timeout", "1s", code=8)
    assert f"gtm: Job {job_id} is still PENDING." in outcome.err
    assert f"Try: gtm wait {job_id}" in outcome.err


async def test_wait_shows_a_bar_on_a_terminal(sara: Gtm, run: Run, desk: Desk, user: Person) -> None:
    job_id = await run("sleep 2520000", timedelta(hours=700))
    with sara.on_terminal("wait", job_id) as terminal:
        terminal.expect(f"Job {job_id} is RUNNING.")
        await desk.cancel(user, job_id)
        terminal.expect(f"Job {job_id} CANCELLED.")
        assert terminal.wait() == 1
    assert re.search(r"[━╌]{24} +\d+%", terminal.seen)


async def test_ten_submissions_while_the_service_goes_and_comes_are_ten_jobs(sara: Gtm, service: Service) -> None:
    submit = "$GTM submit --parsable --gpus T4:1 --name job-$i -- sleep 60"
    patient = sara.having(GTM_RETRY_SECONDS="600")
    with patient.start_script(f"for i in 1 2 3 4 5 6 7 8 9 10; do {submit} || exit; done") as shell:
        ids = []
        for number in range(10):
            if number in (2, 6):
                service.process.kill()
                await service.start()
            ids.append((await line_of(shell.stdout)).strip())
        _, messages = await rest_of(shell)
    assert shell.returncode == 0, messages
    jobs = sara("ps", "--all", "-o", "json").json
    assert [job["name"] for job in reversed(jobs)] == [f"job-{number}" for number in range(1, 11)]
    assert [str(job["id"]) for job in reversed(jobs)] == ids


async def line_of(stream: IO[str] | None) -> str:
    """The next one that comes."""
    assert stream is not None
    return await asyncio.to_thread(stream.readline)


async def rest_of(process: "Popen[str]") -> tuple[str, str]:
    """What it prints until its end, after the lines that were read: `communicate` would miss what came with them."""
    assert process.stdout is not None
    assert process.stderr is not None
    printed = await asyncio.to_thread(process.stdout.read)
    messages = await asyncio.to_thread(process.stderr.read)
    await asyncio.to_thread(process.wait)
    return printed, messages
