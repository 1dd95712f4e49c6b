"""A job's page: why it waits, what it prints while it runs, why it failed, and everything that happened to it."""

import re
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Page, Request, expect

from app.api.state import AppState
from app.services import jobs, runs
from tests.browser.conftest import Visitor
from tests.browser.service import Service
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.factories import ORIGIN, Person, make_user
from tests.services.desk import Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

SAY = words("en")
LOG = ".log-content"
MOST = 2**40
MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "${alert(1)} {{7*7}} <%= 7*7 %>",
    "\u202egpj.exe\u2066 <b onmouseover=alert(1)>bold</b>",
    "</textarea><svg/onload=alert(1)>",
)
TERMINAL = {
    b"\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\n": "red and plain\n",
    b" 10%\r 50%\r100%\r\ndone\r\n": "100%\ndone\n",
    b"\xff\xfe broken \xc3\n": "\ufffd\ufffd broken \ufffd\n",
}


async def run_of(desk: Desk, owner: Person, admin: Person, command: str, *, hours: float = 1, **facts: Any) -> int:
    """A simulated hour passes in a second."""
    job_id = await desk.submit(owner, command=command, time_limit=timedelta(hours=hours), **facts)
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    return job_id


async def ended(desk: Desk, job_id: int) -> None:
    async def has_ended() -> bool:
        return (await desk.job(job_id)).finished_at is not None

    await eventually(has_ended)


async def whole_log(state: AppState, reader: Person, job_id: int) -> str:
    async with state.database.autocommit() as connection:
        run = await runs.find(connection, reader.caller, job_id)
    return (await runs.read_log(state.engine, run, offset=0, limit=MOST)).data.decode()


async def shown_log(page: Page) -> str:
    text: str = await page.locator(LOG).evaluate("element => element.textContent")
    return text


async def is_at_end(page: Page) -> bool:
    found: bool = await page.locator(".log").evaluate("log => log.scrollHeight - log.scrollTop - log.clientHeight < 8")
    return found


async def test_a_job_is_followed_from_request_to_end(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    earlier = await desk.submit(user)
    job_id = await desk.submit(user, command="python train.py  #SIM duration=50% lines=20")
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    now = page.locator("#now")
    await expect(now).to_contain_text("1 earlier request waits as well")
    await expect(page.locator("#run")).to_be_hidden()
    await desk.cancel(user, earlier)
    await desk.approve(admin, job_id)
    await expect(page.locator("#headline .status")).to_have_text("Approved")
    await desk.start(admin, job_id)
    await expect(page.locator("#headline .status")).to_have_text("Completed")
    await expect(page.locator(".log-state")).to_contain_text("Complete")
    await expect(page.get_by_role("log")).to_contain_text("Exit code 0.")
    await expect(now).to_contain_text("no real GPU was used")
    story = await page.locator("#timeline li").all_inner_texts()
    assert [line.split("\n")[0] for line in story] == [
        "\u2068Sara Ahmadi\u2069 submitted the job.",
        "\u2068Sara Ahmadi\u2069 approved it.",
        "\u2068Sara Ahmadi\u2069 started it.",
        "It completed.",
    ]
    await expect(page.locator("#got-facts")).to_contain_text("node1: 0")
    await expect(page.locator("#got-facts")).to_contain_text("0.5 GPU-hours")


async def test_a_job_that_is_not_ones_own_is_not_found(
    visitor: Visitor, state: AppState, user: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("answer: 4(04|22) GET /api/v1/jobs/")
    other = await desk.submit(await make_user(state))
    page = await visitor(user)
    for address in (f"?id={other}", "?id=999999", "?id=x", ""):
        await page.goto(f"/ui/job.html{address}")
        await expect(page.locator("h1")).to_have_text("No such job")
    await page.click(".empty a")
    await page.wait_for_url("**/ui/jobs.html")


async def test_the_log_grows_pauses_and_goes_on(
    visitor: Visitor, state: AppState, user: Person, admin: Person, desk: Desk
) -> None:
    command = "python train.py  #SIM lines=9000 duration=99%"
    job_id = await run_of(desk, user, admin, command, hours=720, name="آموزش مدل")
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.get_by_role("log")).to_contain_text("epoch")
    await expect(page.locator(".log-state")).to_contain_text("Live")

    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".log-state")).to_contain_text("Paused")
    paused = await shown_log(page)

    async def has_grown() -> bool:
        return len(await whole_log(state, user, job_id)) > len(paused.encode()) + 200

    await eventually(has_grown)
    assert await shown_log(page) == paused
    await page.get_by_role("button", name="Resume").click()
    await expect(page.locator(".log-state")).to_contain_text("Live")

    await desk.cancel(user, job_id)
    await expect(page.locator("#headline .status")).to_have_text("Cancelled")
    await expect(page.locator(".log-state")).to_contain_text("Complete")
    assert await shown_log(page) == await whole_log(state, user, job_id)
    assert await is_at_end(page)


async def test_a_log_goes_on_after_a_restart_without_gap_or_repetition(
    visitor: Visitor, service: Service, state: AppState, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow("failed: ", "answer: 50")
    command = "python train.py  #SIM lines=20000 duration=99%"
    job_id = await run_of(desk, user, admin, command, hours=720, name="گفتار فارسی")
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.get_by_role("log")).to_contain_text("epoch")
    await service.stop()
    await expect(page.locator(".log-state")).to_contain_text("Connection lost")
    await service.start()
    await expect(page.locator(".log-state")).to_contain_text("Live")
    await desk.cancel(user, job_id)
    await expect(page.locator(".log-state")).to_contain_text("Complete")
    assert await shown_log(page) == await whole_log(state, user, job_id)


async def test_a_log_opens_at_its_end_and_what_is_before_comes_when_asked_for(
    visitor: Visitor, state: AppState, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await run_of(desk, user, admin, "python train.py  #SIM duration=50% lines=12000")
    await ended(desk, job_id)
    whole = await whole_log(state, user, job_id)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.get_by_role("log")).to_contain_text("Exit code 0.")
    tail = await shown_log(page)
    assert 60_000 < len(tail) <= 65_536
    assert whole.endswith(tail)
    assert await is_at_end(page)

    while await page.locator(".log-earlier").count():
        before = len(await shown_log(page))
        await page.click(".log-earlier")
        await page.wait_for_function(
            "length => document.querySelector('.log-content').textContent.length > length", arg=before
        )
        assert whole.endswith(await shown_log(page))
        assert not await is_at_end(page)
    assert len(whole) > 800_000
    assert await shown_log(page) == whole


async def test_words_are_found_in_the_log_one_after_the_other(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await run_of(desk, user, admin, "python train.py  #SIM duration=50% lines=600")
    await ended(desk, job_id)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.get_by_role("log")).to_contain_text("Exit code 0.")
    count = (await shown_log(page)).count("checkpoint")
    assert count > 10
    found = page.locator("#log-found")
    await page.fill("#log-search", "CHECKPOINT")
    await expect(found).to_have_text(re.compile(rf"\d+ of {count}"))
    assert await current_match_is_in_view(page)
    while await found.inner_text() != f"{count} of {count}":
        await page.keyboard.press("Enter")
    await page.keyboard.press("Enter")
    await expect(found).to_have_text(f"1 of {count}")
    assert await current_match_is_in_view(page)
    await page.keyboard.press("Shift+Enter")
    await expect(found).to_have_text(f"{count} of {count}")
    await page.get_by_role("button", name="Previous match").click()
    await expect(found).to_have_text(f"{count - 1} of {count}")
    assert await page.evaluate("CSS.highlights.get('log-found').size") == count
    await page.fill("#log-search", "(no such thing")
    await expect(found).to_have_text("Not found")
    await expect(page.get_by_role("button", name="Next match")).to_be_disabled()


async def current_match_is_in_view(page: Page) -> bool:
    found: bool = await page.evaluate(
        """() => {
          const [range] = CSS.highlights.get("log-current");
          const place = range.getBoundingClientRect(), log = document.querySelector(".log").getBoundingClientRect();
          const isInHeight = place.top >= log.top && place.bottom <= log.bottom;
          return range.toString() === "checkpoint" && isInHeight && place.left >= log.left && place.right <= log.right;
        }"""
    )
    return found


async def test_a_log_in_pieces_is_the_log(visitor: Visitor, user: Person) -> None:
    """However its bytes are cut, a character stays whole, and every block knows its place in the log."""
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    mistakes = await page.evaluate(
        """async () => {
          const { LogText } = await import("/ui/js/lib/log.js");
          const text = Array.from({ length: 450 }, (_, line) => `سطر ${line} – ژرفا 😀 é\\n`).join("") + "بی‌پایان";
          const bytes = new TextEncoder().encode(text), mistakes = [];
          for (const size of [1, 2, 3, 7, 64, 4096, bytes.length]) {
            const element = document.createElement("pre"), log = new LogText(element);
            for (let from = 0; from < bytes.length; from += size) log.append(bytes.slice(from, from + size));
            if (element.textContent !== text) mistakes.push(`text in pieces of ${size}`);
            for (const { start, end, text: shown } of log.blocks)
              if (new TextDecoder().decode(bytes.slice(start, end)) !== shown.data) mistakes.push(`block of ${size}`);
            log.trim(5000);
            const { first } = log;
            log.prepend(bytes.slice(0, first), 0);
            if (element.textContent !== text) mistakes.push(`text put together again of ${size}`);
          }
          return mistakes;
        }"""
    )
    assert mistakes == []


async def test_a_log_shows_what_a_terminal_would_show_in_the_end(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/jobs.html")
    for printed, shown in TERMINAL.items():
        text = await page.evaluate(
            """async (bytes) => {
              const { LogText } = await import("/ui/js/lib/log.js");
              const element = document.createElement("pre"), log = new LogText(element);
              log.append(new Uint8Array(bytes));
              return element.textContent;
            }""",
            list(printed),
        )
        assert text == shown


async def test_a_failure_says_why_and_how_its_log_ended(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await run_of(desk, user, admin, "python train.py  #SIM exit=7 duration=50% lines=600")
    await ended(desk, job_id)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    now = page.locator("#now")
    await expect(now).to_contain_text("exit code 7")
    await expect(now.locator("dd").first).to_have_text("7")
    await expect(now.locator(".last-lines")).to_contain_text("Exit code 7.")
    assert len((await now.locator(".last-lines").inner_text()).splitlines()) == 20
    await page.click("text=Submit again with changes")
    await page.wait_for_url(f"**/index.html?again={job_id}")
    await expect(page.locator("#command")).to_have_value("python train.py  #SIM exit=7 duration=50% lines=600")


async def test_the_chart_and_its_table_are_loaded_when_they_come_into_view(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await run_of(desk, user, admin, "python train.py  #SIM duration=50% lines=60", num_gpus=2)
    await ended(desk, job_id)
    page = await visitor(user, language="fa", width=360)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if is_for_chart(request) else None)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.locator(".log-state")).to_contain_text("کامل")
    assert asked == []
    await page.locator("#utilisation").scroll_into_view_if_needed()
    await expect(page.locator("#utilisation canvas")).to_have_attribute("aria-label", re.compile("[۱-۹].٪"))
    await page.click("#utilisation summary")
    await expect(page.locator("#utilisation tbody tr").first).to_contain_text("node1:0")
    assert await page.locator("#utilisation .chart").get_attribute("dir") == "ltr"
    assert len(asked) == 2
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360


def is_for_chart(request: Request) -> bool:
    return "chart.umd" in request.url or request.url.endswith("/utilisation")


async def test_cancelling_a_run_says_what_it_costs(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    job_id = await run_of(desk, user, admin, "python train.py  #SIM lines=100 duration=99%", hours=450, num_gpus=2)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await page.locator("#actions").get_by_role("button", name="Cancel").click()
    await expect(page.locator("dialog")).to_contain_text("GPU-hours")
    await page.fill("dialog textarea", "wrong data")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#headline .status")).to_have_text("Cancelled")
    await expect(page.locator("#timeline")).to_contain_text("wrong data")
    await expect(page.locator("#actions").get_by_role("button")).to_have_count(0)


async def test_an_admin_decides_on_the_page_of_a_job(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    job_id = await desk.submit(user, command="sleep 3600")
    page = await visitor(admin)
    await page.goto(f"/ui/job.html?id={job_id}")
    await page.locator("#actions").get_by_role("button", name="Approve").click()
    await page.fill("dialog textarea", "as agreed")
    await page.click("dialog [type=submit]")
    await expect(page.locator("#headline .status")).to_have_text("Approved")
    await expect(page.locator("#asked")).to_contain_text("as agreed")
    await page.locator("#actions").get_by_role("button", name="Start").click()
    await expect(page.locator("#headline .status")).to_have_text("Completed")


async def test_markup_in_what_people_write_is_text(
    visitor: Visitor, state: AppState, user: Person, admin: Person, desk: Desk
) -> None:
    """Scripts, handlers and styles would be trouble, which fails the test."""
    page = await visitor(user)
    for text in MARKUP:
        facts = {"name": text, "justification": text, "data_location": text}
        job_id = await run_of(desk, user, admin, f"{text}\n#SIM exit=1 duration=50%", **facts)
        await ended(desk, job_id)
        await page.goto(f"/ui/job.html?id={job_id}")
        await expect(page.locator(".log-state")).to_contain_text("Complete")
        await expect(page.locator("h1")).to_have_text(text)
        assert text in await page.locator(".command-block").inner_text()
        assert (await page.locator("#asked").inner_text()).count(text) == 3
        assert await page.locator("#job :is(script, img, svg:not(.icon), b)").count() == 0

        rejected = await desk.submit(user, name=text)
        async with state.database.transaction() as connection:
            await jobs.reject(connection, admin.caller, rejected, reason=text, now=state.clock(), origin=ORIGIN)
        await page.goto(f"/ui/job.html?id={rejected}")
        await expect(page.locator("#timeline blockquote")).to_have_text(text)
    await page.goto("/ui/jobs.html")
    await expect(page.locator("#list tbody tr")).to_have_count(2 * len(MARKUP))
    names = await page.locator("#list .job-link").all_inner_texts()
    assert set(names) == set(MARKUP)
    assert all(
        href.startswith("/ui/job.html?id=")
        for href in await page.locator("#list a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    )


async def test_time_is_counted_by_the_clock_of_the_simulation(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    """One simulated hour is one of our seconds here, so a run of 720 hours has minutes left for us to wait."""
    job_id = await desk.submit(user, time_limit=timedelta(hours=720), command="#SIM duration=99%")
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.locator("main")).to_contain_text(re.compile(r"at most\W+\d+ minutes"))


async def test_an_admin_refunds_what_a_job_was_charged(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble
) -> None:
    trouble.allow(r"answer: 409 POST /api/v1/admin/jobs/\d+/refund")
    job_id = await run_of(desk, user, admin, "sleep 1800")
    await ended(desk, job_id)
    owners, page = await visitor(user), await visitor(admin)
    await owners.goto(f"/ui/job.html?id={job_id}")
    await page.goto(f"/ui/job.html?id={job_id}")
    await page.get_by_role("button", name=SAY("job.refund")).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("0.5")
    await dialog.get_by_label(SAY("users.hours")).fill("0.75")
    await dialog.get_by_label(SAY("users.reason")).fill("The disk was full.")
    await dialog.get_by_role("button", name=SAY("job.refund_submit")).click()
    await expect(dialog.locator("#gpu_hours")).to_have_attribute("aria-invalid", "true")
    await dialog.get_by_label(SAY("users.hours")).fill("0.5")
    await dialog.get_by_role("button", name=SAY("job.refund_submit")).click()
    await expect(page.locator("#got-facts")).to_contain_text(SAY("job.refunded"))
    await expect(page.get_by_role("button", name=SAY("job.refund"))).to_have_count(0)
    await expect(owners.get_by_role("button", name=SAY("job.refund"))).to_have_count(0)
    await owners.goto("/ui/profile.html")
    await expect(owners.locator("main")).to_contain_text("The disk was full.")
