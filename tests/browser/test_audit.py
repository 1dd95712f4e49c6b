"""The audit log: sentences, filters in the address, details, older entries, a file."""

import re

import pytest
from anyio import Path
from playwright.async_api import expect

from app.db.queries.users import UserChange
from app.domain.audit import AuditAction
from app.services import users
from tests.browser.chromium import Language
from tests.browser.conftest import Visitor
from tests.browser.words import words
from tests.factories import ORIGIN, Person, make_token
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SAY = words("en")
OLD_ENTRIES = """
INSERT INTO audit_entries (actor_process, action, target_type, details)
SELECT 'cli:root', 'job.approved', 'job', '{}' FROM generate_series(1, 60)
"""


def sentence(act: str, job_id: int) -> str:
    target = f"{SAY('audit.target.job', id=str(job_id))} (train-resnet)"
    return SAY(f"audit.act.job.{act}", who="Sara Ahmadi", target=target)


@pytest.mark.parametrize("language", ["fa", "en"])
@pytest.mark.parametrize("action", AuditAction)
def test_every_act_has_its_sentence(language: Language, action: AuditAction) -> None:
    """Which of `{who}` and `{target}` it names, and in which order, is the language's to say."""
    facts = {"who": "W", "target": "T", "name": "N", "limit": "1", "delta": "1", "refunded": "1", "count": "1"}
    sentence = words(language)(f"audit.act.{action}", **facts)
    assert "W" in sentence
    assert words(language)(f"audit.label.{action}")


async def test_filters_are_in_the_address(visitor: Visitor, admin: Person, user: Person, desk: Desk) -> None:
    await desk.reject(admin, await desk.submit(user))
    await desk.approve(admin, job_id := await desk.submit(user))
    page = await visitor(admin)
    await page.goto("/ui/admin/audit.html")
    rows = page.locator(".audit-table tbody tr")
    await expect(rows.filter(has_text=sentence("approved", job_id))).to_have_count(1)
    await page.get_by_label(SAY("audit.filter.action")).select_option("job.rejected")
    await expect(page).to_have_url(re.compile(r"\?action=job\.rejected$"))
    await expect(rows).to_have_count(1)
    await expect(rows.locator(".audit-said")).to_have_text("not now")
    await page.reload()
    await expect(rows).to_have_count(1)
    await page.get_by_label(SAY("audit.filter.to"), exact=True).fill("2020-01-01")
    await expect(page).to_have_url(re.compile(r"&to=2020-01-01$"))
    await page.get_by_role("button", name=SAY("audit.clear_filters")).click()
    await expect(page).to_have_url(re.compile(r"/audit\.html$"))
    await expect(rows.filter(has_text=sentence("approved", job_id))).to_have_count(1)


async def test_the_acts_of_one_person_are_found_by_address(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    await desk.cancel(user, cancelled := await desk.submit(user))
    await desk.approve(admin, approved := await desk.submit(user))
    page = await visitor(admin)
    await page.goto("/ui/admin/audit.html")
    await page.get_by_label(SAY("audit.filter.actor")).fill(user.email)
    await page.get_by_label(SAY("audit.filter.actor")).blur()
    await expect(page).to_have_url(re.compile(rf"\?actor={user.id}$"))
    rows = page.locator(".audit-table tbody tr")
    await expect(rows.filter(has_text=sentence("cancelled", cancelled))).to_have_count(1)
    await expect(rows.filter(has_text=sentence("approved", approved))).to_have_count(0)


async def test_details_tell_what_it_was_before_and_which_request_it_came_by(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    async with desk.state.database.transaction() as connection:
        change = UserChange(full_name="سارا محمدی", fields=frozenset({"full_name"}))
        now = desk.state.clock()
        await users.update(connection, user.id, change, actor=admin.caller.actor, origin=ORIGIN, now=now)
    page = await visitor(admin)
    await page.goto("/ui/admin/audit.html?action=user.renamed")
    row = page.locator(".audit-table tbody tr")
    await expect(row.locator("del")).to_have_text("Sara Ahmadi")
    await expect(row.locator("ins")).to_have_text("سارا محمدی")
    await row.get_by_role("button", name=SAY("audit.details")).click()
    await expect(row.locator(".audit-details")).to_contain_text(str(ORIGIN.request_id))
    await row.get_by_role("button", name=SAY("audit.copy_request_id")).click()
    await expect(page.locator("#toasts")).to_contain_text(SAY("toast.copied"))
    await row.get_by_role("button", name=SAY("audit.only_target")).click()
    await expect(page).to_have_url(re.compile(rf"&target_type=user&target_id={user.id}$"))


async def test_a_personal_token_is_told_of_by_its_name_and_what_it_may_do(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    await make_token(desk.state, user)
    page = await visitor(admin)
    await page.goto("/ui/admin/audit.html?action=token.created")
    row = page.locator(".audit-table tbody tr")
    await expect(row).to_contain_text(SAY("audit.act.token.created", who="Sara Ahmadi", name="nightly runs"))
    await row.get_by_role("button", name=SAY("audit.details")).click()
    scopes = f"{SAY('tokens.scope.jobs:read')} · {SAY('tokens.scope.jobs:write')}"
    await expect(row.locator(".audit-details dd", has_text=scopes)).to_be_visible()
    await expect(row.locator(".audit-details time")).to_be_visible()


async def test_older_entries_follow_newer_ones_appear_and_all_are_in_the_file(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    await desk.sql(OLD_ENTRIES)
    page = await visitor(admin)
    await page.goto("/ui/admin/audit.html?action=job.approved")
    rows = page.locator(".audit-table tbody tr")
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name=SAY("list.more")).click()
    await expect(rows).to_have_count(60)
    await expect(page.locator(".live-live")).to_be_visible()
    await desk.approve(admin, job_id := await desk.submit(user))
    await expect(rows).to_have_count(61)
    await expect(rows.first).to_contain_text(sentence("approved", job_id))
    async with page.expect_download() as download:
        await page.get_by_role("button", name=SAY("action.csv")).click()
    file = await Path(await (await download.value).path()).read_bytes()
    assert file.startswith(b"\xef\xbb\xbf")
    assert file.count(b"job.approved") == 61
