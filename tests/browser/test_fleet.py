"""The fleet: what each GPU does, and taking one or a whole node out of service and back."""

import re
from datetime import timedelta

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Visitor
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SAY = words("en")
REASON = "Its fan has failed."
LONG = timedelta(hours=720)
"""Twelve minutes as simulated time passes here: no run that is looked at ends by itself."""


def node(page: Page, name: str) -> Locator:
    return page.locator("section.node").filter(has=page.get_by_role("heading", name=name, exact=True))


def slot(page: Page, node_name: str, index: int) -> Locator:
    return node(page, node_name).locator(".slot").nth(index)


async def state_is(gpu: Locator, state: str) -> None:
    await expect(gpu.locator(".gpu-state")).to_have_text(SAY(f"fleet.state.{state}"))


async def test_a_gpu_is_drained_with_a_reason_and_resumed(visitor: Visitor, admin: Person) -> None:
    page = await visitor(admin)
    await page.goto("/ui/admin/fleet.html")
    gpu = slot(page, "node3", 1)
    await gpu.get_by_role("button").click()
    await page.locator(".gpu-details").get_by_role("button", name=SAY("fleet.drain"), exact=True).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=SAY("fleet.drain"), exact=True).click()
    await expect(dialog.locator("#drain-reason-error")).to_have_text(SAY("form.required"))
    await dialog.get_by_label(SAY("fleet.drain_reason")).fill(REASON)
    await dialog.get_by_role("button", name=SAY("fleet.drain"), exact=True).click()
    await state_is(gpu, "DRAINED")
    await expect(gpu).to_contain_text(REASON)
    await expect(gpu.get_by_role("button")).to_be_focused()
    await expect(page.locator(".gpu-details")).to_contain_text("Sara Ahmadi")
    await page.locator(".gpu-details").get_by_role("button", name=SAY("fleet.resume"), exact=True).click()
    await state_is(gpu, "FREE")
    await expect(gpu.get_by_role("button")).to_be_focused()


async def test_a_job_that_should_have_ended_is_told_until_it_does(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    page = await visitor(admin)
    job_id = await desk.submit(
        user, name="goes-on", num_gpus=2, time_limit=timedelta(hours=50), command="#SIM duration=99%"
    )
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    await desk.sql("UPDATE jobs SET measured_seconds = 2 * reserved_seconds WHERE id = :id", id=job_id)
    await page.goto("/ui/admin/fleet.html")
    warning = page.get_by_role("alert")
    await expect(warning).to_contain_text("should have ended and still holds GPUs")
    await expect(warning.get_by_role("link", name="goes-on")).to_be_visible()
    await desk.cancel(user, job_id)
    await expect(warning).to_have_count(0)


async def test_a_job_that_the_service_did_not_submit_is_told(visitor: Visitor, admin: Person, desk: Desk) -> None:
    await desk.sql(
        "INSERT INTO foreign_jobs (executor, engine_job_id, name, num_gpus, seen_at)"
        " VALUES ('slurm', '7', 'mine', 4, now())"
    )
    page = await visitor(admin)
    await page.goto("/ui/admin/fleet.html")
    await expect(page.get_by_role("alert")).to_contain_text("7 mine (4 GPUs)")


async def test_a_busy_gpu_shows_its_job_and_is_free_again_without_a_reload(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    page = await visitor(admin)
    await page.goto("/ui/admin/fleet.html")
    watched = slot(page, "node1", 0)
    await watched.get_by_role("button").focus()
    await expect(page.locator(".live-live")).to_be_visible()
    await desk.set_limit(admin, user, 8 * int(LONG.total_seconds()))
    job_id = await desk.submit(user, name="train-resnet", num_gpus=8, time_limit=LONG, command="#SIM duration=99%")
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    await state_is(watched, "BUSY")
    link = watched.get_by_role("link", name="train-resnet")
    await expect(link).to_have_attribute("href", re.compile(rf"/ui/job\.html\?id={job_id}$"))
    await expect(page.locator(".fleet-type").first).to_contain_text("8 busy")
    await desk.cancel(user, job_id)
    await state_is(watched, "FREE")
    await expect(watched.get_by_role("button")).to_be_focused()


async def test_draining_a_node_says_for_each_gpu_what_came_of_it(
    visitor: Visitor, admin: Person, trouble: Trouble
) -> None:
    trouble.allow("failed: POST /api/v1/admin/gpus/")
    page = await visitor(admin)
    await page.goto("/ui/admin/fleet.html")
    third = await slot(page, "node3", 2).get_attribute("data-key")
    await page.route(f"**/admin/gpus/{third}/drain", lambda route: route.abort(), times=1)
    await node(page, "node3").get_by_role("button", name=SAY("fleet.drain_node")).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label(SAY("fleet.drain_reason")).fill(REASON)
    await dialog.get_by_role("button", name=SAY("fleet.drain_node")).click()
    outcomes = dialog.locator(".gpu-outcomes li")
    await expect(outcomes.filter(has_text=SAY("fleet.outcome_done"))).to_have_count(3)
    await expect(outcomes.nth(2)).to_contain_text(SAY("error.network"))
    await dialog.get_by_role("button", name=SAY("fleet.drain_node")).click()
    await expect(dialog).to_have_count(0)
    await expect(node(page, "node3").locator(".slot-drained")).to_have_count(4)
    await node(page, "node3").get_by_role("button", name=SAY("fleet.resume_node")).click()
    await dialog.get_by_role("button", name=SAY("fleet.resume_node")).click()
    await expect(node(page, "node3").locator(".slot-free")).to_have_count(4)


async def test_filters_are_in_the_address(visitor: Visitor, admin: Person, desk: Desk) -> None:
    gpus = await desk.sql("SELECT id FROM gpus WHERE node = 'node2' ORDER BY gpu_index")
    await desk.drain(admin, gpus[3][0])
    page = await visitor(admin)
    await page.goto("/ui/admin/fleet.html")
    await page.locator(".fleet-type").filter(has_text="V100").click()
    await expect(page).to_have_url(re.compile(r"\?type=V100$"))
    await expect(page.locator(".slot")).to_have_count(4)
    await page.locator(".chip.slot-drained").click()
    await expect(page).to_have_url(re.compile(r"\?type=V100&state=DRAINED$"))
    await page.reload()
    await expect(page.locator(".slot")).to_have_count(1)
    await page.get_by_role("button", name=SAY("fleet.clear_filters")).click()
    await expect(page.locator(".slot")).to_have_count(16)
