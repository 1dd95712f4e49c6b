"""`gtm ps`, `show` and `cancel`."""

from datetime import timedelta

import pytest

from tests.client.runner import Gtm
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio


async def test_ps_lists_what_has_not_ended_and_with_all_the_rest(sara: Gtm, desk: Desk, user: Person) -> None:
    ended, waiting = [await desk.submit(user) for _ in range(2)]
    await desk.cancel(user, ended)
    assert [job["id"] for job in sara("ps", "-o", "json").json] == [waiting]
    assert [job["id"] for job in sara("ps", "--all", "-o", "jsonl").jsonl] == [waiting, ended]
    assert sara("ps", "--status", "cancelled", "-o", "id").out == f"{ended}\n"
    assert "There is no status SLEEPING" in sara("ps", "--status", "SLEEPING", code=2).err


async def test_ps_tells_that_there_are_more_than_its_limit(sara: Gtm, desk: Desk, user: Person) -> None:
    for _ in range(3):
        await desk.submit(user)
    outcome = sara("ps", "--limit", "2")
    assert len(outcome.lines) == 1 + 2
    assert "There are more than these 2: --limit 0 shows all." in outcome.err
    assert len(sara("ps", "--limit", "0", "-o", "id").lines) == 3
    assert sara("ps", "--limit", "3").err == ""


async def test_a_job_list_in_a_pipe_is_tabs_and_no_colour(sara: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user, name="a\u202ename")
    heading, line = sara("ps").lines
    assert heading.split("\t")[:3] == ["ID", "Name", "Status"]
    assert line.split("\t")[:4] == [str(job_id), "a\\u202ename", "PENDING", "A100:1"]
    assert "\x1b" not in line


async def test_an_admin_sees_the_jobs_of_one_or_of_all(
    sara: Gtm, reza: Gtm, desk: Desk, user: Person, admin: Person
) -> None:
    hers, his = await desk.submit(user), await desk.submit(admin)
    assert reza("ps", "-o", "id").out == f"{his}\n"
    assert reza("ps", "--user", user.email.upper(), "-o", "id").out == f"{hers}\n"
    assert reza("ps", "--user", user.id, "-o", "id").out == f"{hers}\n"
    assert {job["id"] for job in reza("ps", "--user", "all", "-o", "json").json} == {hers, his}
    assert "Nobody has the e-mail" in reza("ps", "--user", "nobody@example.org", code=3).err
    sara("ps", "--user", "all", code=4)


async def test_ps_can_be_watched_on_a_terminal_only(sara: Gtm, desk: Desk, user: Person) -> None:
    assert "--watch needs a terminal" in sara("ps", "--watch", code=2).err
    await desk.submit(user, name="first")
    with sara.on_terminal("ps", "--watch") as terminal:
        terminal.expect("first")
        await desk.submit(user, name="second")
        terminal.expect("second")
        terminal.type("\x03")
        assert terminal.wait() == 130


async def test_show_tells_what_a_job_is_and_what_happened_to_it(
    sara: Gtm, desk: Desk, user: Person, admin: Person
) -> None:
    job_id = await desk.submit(user, command="python train.py\n# the end")
    await desk.approve(admin, job_id)
    outcome = sara("show", job_id)
    assert "Status\tAPPROVED\n" in outcome.out
    assert "Decided by\tReza Karimi <reza@example.org>\n" in outcome.out
    assert "TRANSITION\tAPPROVED\tReza Karimi <reza@example.org>" in outcome.out
    assert "Approved; waits for an admin to start it. " in outcome.err
    assert f"Next: gtm logs -f {job_id}, or gtm cancel {job_id}" in outcome.err


async def test_another_users_job_is_not_found(sara: Gtm, desk: Desk, admin: Person) -> None:
    job_id = await desk.submit(admin)
    for command in ("show", "logs", "wait", "cancel", "resubmit"):
        outcome = sara(command, job_id, code=3)
        assert "[not-found]" in outcome.err
        assert outcome.out == ""


async def test_times_are_local_and_can_be_jalali(sara: Gtm, desk: Desk, user: Person) -> None:
    await desk.submit(user)
    [job] = sara("ps", "-o", "json").json
    year = int(job["created_at"][:4])
    assert f"\t{year}-" in sara("ps").out
    assert any(f"\t{year - offset}-" in sara("ps", "--calendar", "jalali").out for offset in (621, 622))
    assert job["created_at"].endswith("Z")


async def test_a_job_that_waits_is_cancelled_at_once(sara: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user)
    outcome = sara("cancel", job_id, "--reason", "wrong data")
    assert outcome.err == f"Job {job_id} is CANCELLED.\nNext: gtm show {job_id}\n"
    assert "wrong data" in sara("show", job_id).out


async def test_of_several_jobs_each_is_cancelled_or_told_why_not(
    sara: Gtm, desk: Desk, user: Person, admin: Person
) -> None:
    mine, rejected = await desk.submit(user), await desk.submit(user)
    await desk.reject(admin, rejected)
    outcome = sara("cancel", rejected, mine, 999_999_999, "-o", "id", code=5)
    assert outcome.out == f"{mine}\n"
    assert f"{rejected}: " in outcome.err
    assert "[job-state-conflict]" in outcome.err
    assert "999999999: " in outcome.err


async def test_on_a_terminal_it_is_asked_first_what_it_costs(
    sara: Gtm, desk: Desk, user: Person, admin: Person
) -> None:
    job_id = await desk.submit(user, command="sleep 2520000", time_limit=timedelta(hours=700))
    with sara.on_terminal("cancel", job_id) as terminal:
        terminal.expect("is PENDING: nothing is charged, 700 GPU-hours are released.")
        terminal.type("n\n")
        terminal.expect("Nothing was cancelled.")
        assert terminal.wait() == 1
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    with sara.on_terminal("cancel", job_id) as terminal:
        terminal.expect("what it has run is charged, about")
        terminal.type("y\n")
        terminal.expect("is being stopped")
        assert terminal.wait() == 0


async def test_numbers_may_be_written_in_persian_digits(sara: Gtm, reza: Gtm, desk: Desk, user: Person) -> None:
    persian = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    job_id = str(await desk.submit(user))
    assert sara("show", job_id.translate(persian), "-o", "id").out == f"{job_id}\n"
    assert sara("cancel", job_id.translate(persian), "-o", "id").out == f"{job_id}\n"
    assert reza("admin", "quota", user.email, "--limit", "۱٫۵", "--reason", "x", "--json").json["limit_hours"] == 1.5
    assert "Invalid value for 'JOB'" in sara("show", "۰", code=2).err
