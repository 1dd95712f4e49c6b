"""The queue of requests: decided on by clicking, many at once, by the keyboard alone, and by two admins at a time."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Error, Locator, Page, Route, expect

from app.api.state import AppState
from app.domain.job_request import JobRequest
from tests.browser.axe import barriers
from tests.browser.conftest import Visitor
from tests.browser.pages import settled
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.factories import Person, make_user
from tests.services.desk import HOUR, Desk
from tests.waiting import becomes

pytestmark = pytest.mark.anyio

t = words("en")
LONG = timedelta(hours=80)
"""More than a minute as simulated time passes here."""


async def open_queue(page: Page, address: str = "") -> None:
    await page.goto(f"/ui/admin/requests.html{address}")
    await settled(page)


def row(page: Page, name: str) -> Locator:
    return page.locator("#list tbody tr").filter(has=page.get_by_role("link", name=name, exact=True))


def box(page: Page, name: str) -> Locator:
    return row(page, name).get_by_role("checkbox")


def action(page: Page, name: str, verb: str) -> Locator:
    return row(page, name).locator(f"[data-action={verb}]")


async def answer(page: Page, text: str | None = None) -> None:
    """Fill in the dialog's text, and send it."""
    if text is not None:
        await page.fill("dialog textarea", text)
    await page.click("dialog [type=submit]")


async def submit_all(desk: Desk, owner: Person, names: list[str]) -> dict[str, int]:
    return {name: await desk.submit(owner, name=name) for name in names}


async def has_focus(page: Page, name: str) -> None:
    await expect(row(page, name).locator(":focus")).to_have_count(1)


async def test_a_request_is_approved_with_a_note(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    ids = await submit_all(desk, user, ["first", "second"])
    page = await visitor(admin)
    await open_queue(page)
    await expect(page.locator("#list .job-link")).to_have_text(["first", "second"])
    await action(page, "first", "approve").click()
    async with page.expect_request("**/approve") as sent:
        await answer(page, "Good luck!")
    assert (await sent.value).post_data_json["digest"] == JobRequest.of(await desk.job(ids["first"])).digest.hex()
    await expect(page.locator(".toast-success")).to_contain_text("first")
    await expect(row(page, "first")).to_have_count(0)
    await has_focus(page, "second")
    await expect(page.locator(".navigation-link .count")).to_have_text("1")
    await expect(page.locator(".tab-count")).to_have_text(["1", "1", "0", "2"])
    approved = await desk.job(ids["first"])
    assert (approved.status, approved.decision_note, approved.decided_by) == ("APPROVED", "Good luck!", admin.id)


async def test_a_rejection_needs_a_reason_and_offers_some(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    job_id = await desk.submit(user, name="sweep")
    page = await visitor(admin, language="fa")
    await open_queue(page)
    await action(page, "sweep", "reject").click()
    await page.click("dialog [type=submit]")
    await expect(page.locator("#reject-reason-error")).to_have_text(words("fa")("form.required"))
    await expect(page.locator("#reject-reason")).to_be_focused()
    reason = words("fa")("reject.preset.unclear")
    await page.get_by_role("button", name=reason).click()
    await answer(page)
    await expect(page.locator(".empty-title")).to_have_text(words("fa")("requests.none.decide"))
    rejected = await desk.job(job_id)
    assert (rejected.status, rejected.decision_note) == ("REJECTED", reason)


async def test_an_approved_job_is_started(visitor: Visitor, user: Person, admin: Person, desk: Desk) -> None:
    job_id = await desk.submit(user, name="train", command="#SIM duration=99%", time_limit=LONG)
    await desk.approve(admin, job_id)
    page = await visitor(admin)
    await open_queue(page)
    await page.locator("#tabs a").nth(1).click()
    await expect(page).to_have_url("/ui/admin/requests.html?tab=start")
    await expect(row(page, "train")).to_contain_text("8 of 8 free")
    await action(page, "train", "start").click()
    await expect(page.locator(".empty-title")).to_have_text(t("requests.none.start"))
    assert (await desk.job(job_id)).status == "RUNNING"
    await page.go_back()
    await expect(page.locator(".empty-title")).to_have_text(t("requests.none.decide"))


async def test_a_row_says_what_an_approver_wants_to_know(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    await desk.set_limit(admin, user, 20 * HOUR)
    await desk.reject(admin, await desk.submit(user, name="before"))
    asked = {"num_gpus": 3, "gpu_type": "V100", "command": "python train.py --epochs 10"}
    await desk.submit(user, name="now", is_sensitive=True, justification="For the thesis", **asked)
    page = await visitor(admin)
    await open_queue(page)
    for said in (
        *("3 × V100", "python train.py --epochs 10", "For the thesis", t("requests.sensitive"), "4 of 4 free"),
        *("Sara Ahmadi", user.email, "1 rejected", "3 GPU-hours", "17 of 20 left"),
    ):
        await expect(row(page, "now")).to_contain_text(said)
    assert await row(page, "now").locator(".quota-after").get_attribute("width") == "15"


async def test_many_are_rejected_in_one_dialog(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, state: AppState
) -> None:
    other = await make_user(state, full_name="Reza Karimi")
    ids = {**await submit_all(desk, user, ["one", "two", "three"]), **await submit_all(desk, other, ["four", "five"])}
    page = await visitor(admin)
    await open_queue(page)
    await box(page, "two").click()
    await box(page, "four").click(modifiers=["Shift"])
    await expect(page.locator(".selection-totals")).to_have_text("3 jobs · 3 GPU-hours · 2 people")
    await page.click("[data-bulk=reject]")
    await expect(page.locator("dialog .decision-list li")).to_have_count(3)
    assert await barriers(page) == []
    await answer(page, "The deadline is over.")
    await expect(page.locator(".toast-success")).to_have_text("3 jobs were rejected.")
    await expect(page.locator("#list .job-link")).to_have_text(["one", "five"])
    await expect(box(page, "one")).to_be_focused()
    await row(page, "five").locator(".request-cost").click()
    await expect(box(page, "five")).to_be_focused()
    for name in ("two", "three", "four"):
        assert (await desk.job(ids[name])).decision_note == "The deadline is over."


async def test_the_focus_finds_a_row_though_news_come_while_the_list_is_read_anew(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    await submit_all(desk, user, ["one", "two", "three"])
    page = await visitor(admin)
    await open_queue(page)
    await expect(page.locator(".live-live")).to_be_visible()
    await box(page, "two").click()
    await page.click("[data-bulk=reject]")
    held: list[Route] = []

    async def hold(route: Route) -> None:
        held.append(route)

    await page.route("**/api/v1/admin/jobs?**", hold)
    await answer(page, "The deadline is over.")
    await becomes(lambda: len(held) >= 1, "the list is read after the decision")
    await desk.submit(user, name="four")
    await becomes(lambda: len(held) >= 2, "and again because of the news, be it those of the decision")
    await page.unroute("**/api/v1/admin/jobs?**")
    for route in held:
        with suppress(Error):  # the page has given up all but the newest
            await route.continue_()

    await expect(page.locator("#list .job-link")).to_have_text(["one", "three", "four"])
    await expect(box(page, "one")).to_be_focused()


async def test_what_was_refused_stays_selected_and_says_why(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    for name in ("fits", "too-late", "smaller"):
        gpus = 1 if name == "smaller" else 5
        facts = {"num_gpus": gpus, "command": "#SIM duration=99%", "time_limit": LONG}
        await desk.approve(admin, await desk.submit(user, name=name, **facts))
    page = await visitor(admin)
    await open_queue(page, "?tab=start")
    await page.click("#select-all")
    await page.click("[data-bulk=start]")
    await expect(page.locator("dialog .notice-warning")).to_contain_text("8 free")
    await answer(page)
    await expect(page.locator("dialog h2")).to_have_text("2 of 3 jobs were started")
    await expect(page.locator("dialog .refused")).to_contain_text("The job needs 5 × A100, and 3 can be had now.")
    assert await barriers(page) == []
    await page.keyboard.press("Escape")
    await expect(page.locator("#list .job-link")).to_have_text(["too-late"])
    await expect(box(page, "too-late")).to_be_checked()
    await expect(row(page, "too-late").locator(".row-problem")).to_contain_text("It stays approved")
    assert await barriers(page) == []
    await expect(page.locator("[data-bulk=start]")).to_be_focused()


async def test_the_slower_of_two_admins_reads_who_was_faster(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, state: AppState, trouble: Trouble
) -> None:
    trouble.allow(r"answer: 409 POST /api/v1/admin/jobs/\d+/approve")
    faster = await make_user(state, full_name="Leila Moradi", is_admin=True)
    ids = await submit_all(desk, user, ["wanted", "other"])
    pages = await visitor(admin), await visitor(faster)
    for page in pages:
        await open_queue(page)
        await action(page, "wanted", "approve").click()
    slow, fast = pages
    await answer(fast)
    await expect(row(fast, "wanted")).to_have_count(0)
    await answer(slow)
    await expect(slow.locator("dialog .form-problem")).to_contain_text("Leila Moradi already approved this job")
    await slow.keyboard.press("Escape")
    await expect(row(slow, "wanted")).to_have_count(0)
    await has_focus(slow, "other")
    assert (await desk.job(ids["wanted"])).decided_by == faster.id


async def test_the_queue_is_worked_off_by_the_keyboard_alone(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    ids = await submit_all(desk, user, ["one", "two", "three", "four"])
    page = await visitor(admin)
    await open_queue(page)
    keys = page.keyboard
    await page.focus("#keys")
    await keys.press("Tab")
    await has_focus(page, "one")
    await keys.press("j")
    await keys.press("a")
    await expect(page.locator("dialog [type=submit]")).to_be_focused()
    await keys.press("Enter")
    await expect(row(page, "two")).to_have_count(0)
    await has_focus(page, "three")
    await keys.press("k")
    await keys.press("x")
    await keys.press("j")
    await keys.press("j")
    await keys.press("Shift+X")
    await expect(page.locator(".selection-totals")).to_contain_text("3 jobs")
    await keys.press("r")
    await expect(page.locator("#reject-reason")).to_be_focused()
    await keys.type("not this month")
    await page.locator("dialog [type=submit]").focus()
    await keys.press("Enter")
    await expect(page.locator(".empty-title")).to_be_visible()
    statuses = {name: (await desk.job(job_id)).status for name, job_id in ids.items()}
    assert statuses == {"one": "REJECTED", "two": "APPROVED", "three": "REJECTED", "four": "REJECTED"}


async def test_keys_mean_the_same_on_a_persian_keyboard_and_nothing_while_one_types(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    ids = await submit_all(desk, user, ["one", "two"])
    page = await visitor(admin, language="fa")
    await open_queue(page)
    await box(page, "one").focus()
    await box(page, "one").dispatch_event("keydown", {"key": "ت", "code": "KeyJ"})
    await has_focus(page, "two")
    await box(page, "two").dispatch_event("keydown", {"key": "؟", "code": "Slash", "shiftKey": True})
    await expect(page.locator("dialog .keys kbd")).to_have_count(8)
    assert await barriers(page) == []
    await page.keyboard.press("Escape")
    await has_focus(page, "two")
    await page.keyboard.press("s")
    await expect(page.locator(".toast-info")).to_contain_text(words("fa")("requests.not_now.start"))
    await page.focus("#search")
    await page.keyboard.type("ax?")
    await expect(page.locator("dialog")).to_have_count(0)
    await page.keyboard.press("Control+a")
    await page.keyboard.press("Delete")
    await has_rows(page, 2)
    await box(page, "one").focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"/ui/job.html?id={ids['one']}")


async def test_news_leave_focus_selection_and_scroll_alone(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    names = [f"job-{number}" for number in range(30)]
    ids = await submit_all(desk, user, names)
    page = await visitor(admin)
    await open_queue(page)
    await box(page, "job-2").click()
    await box(page, "job-20").click()
    await action(page, "job-20", "reject").focus()
    before = await row(page, "job-20").bounding_box()
    await desk.approve(admin, ids["job-0"])
    await desk.submit(user, name="newcomer")
    await has_rows(page, 30)
    await expect(row(page, "newcomer")).to_have_count(1)
    await expect(row(page, "job-0")).to_have_count(0)
    await expect(action(page, "job-20", "reject")).to_be_focused()
    await expect(page.locator(".selection-totals")).to_contain_text("2 jobs")
    after = await row(page, "job-20").bounding_box()
    assert before
    assert after
    assert abs(after["y"] - before["y"]) < 2


async def test_a_selected_job_that_somebody_else_decides_on_is_let_go(
    visitor: Visitor, user: Person, admin: Person, desk: Desk
) -> None:
    ids = await submit_all(desk, user, ["one", "two", "three"])
    page = await visitor(admin)
    await open_queue(page)
    await page.click("#select-all")
    await box(page, "two").focus()
    await desk.reject(admin, ids["two"])
    await expect(page.locator(".toast-info")).to_contain_text("1 selected job is no longer yours to decide on")
    await expect(page.locator(".selection-totals")).to_contain_text("2 jobs")
    await has_focus(page, "three")


async def test_the_tab_that_is_open_is_seen_on_a_phone(visitor: Visitor, admin: Person) -> None:
    page = await visitor(admin)
    await page.set_viewport_size({"width": 320, "height": 640})
    await page.goto("/ui/admin/requests.html?tab=all")
    await expect(page.locator("#tabs [aria-current]")).to_be_in_viewport(ratio=0.9)


async def test_filters_stand_in_the_address_and_go_into_the_spreadsheet(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, state: AppState
) -> None:
    other = await make_user(state, full_name="Reza Karimi", email="reza@example.org")
    await submit_all(desk, user, ["vision one", "speech one"])
    await submit_all(desk, other, ["vision two", "speech two"])
    page = await visitor(admin)
    await open_queue(page)
    await page.fill("#search", "vision")
    await has_rows(page, 2)
    await page.fill("#person", "reza")
    await expect(page.locator("#people option")).to_have_attribute("value", "reza@example.org")
    await page.fill("#person", "reza@example.org")
    await expect(page.locator("#list .job-link")).to_have_text(["vision two"])
    await expect(page).to_have_url(f"/ui/admin/requests.html?q=vision&user={other.id}")
    await expect(page.locator(".chosen")).to_contain_text("Reza Karimi")
    async with page.expect_download() as downloading:
        await page.click("#csv")
    content = await asyncio.to_thread(Path(await (await downloading.value).path()).read_text, encoding="utf-8-sig")
    assert ["vision two" in line for line in content.splitlines()] == [False, True]
    await page.fill("#search", "nothing of the kind")
    await expect(page.locator(".empty-title")).to_have_text(t("requests.none.match"))
    await page.get_by_role("button", name=t("requests.clear_filters")).click()
    await has_rows(page, 4)
    await expect(page.locator("#search")).to_have_value("")


async def has_rows(page: Page, count: int) -> None:
    await expect(page.locator("#list tbody tr")).to_have_count(count)
