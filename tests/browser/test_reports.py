"""Reports: GPU-hours and waiting times as charts, tables and files for spreadsheets."""

import re

import pytest
from anyio import Path
from playwright.async_api import Page, expect

from tests.browser.conftest import Visitor
from tests.browser.words import words
from tests.factories import Person
from tests.services.desk import HOUR, Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

SAY = words("en")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


async def downloaded(page: Page) -> bytes:
    async with page.expect_download() as download:
        await page.get_by_role("button", name=SAY("action.csv")).click()
    return await Path(await (await download.value).path()).read_bytes()


async def test_the_hours_stand_in_a_chart_a_table_and_a_file(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    await desk.adjust(admin, user, 37 * HOUR)
    page = await visitor(admin)
    await page.goto("/ui/admin/reports.html")
    title = SAY("reports.usage_chart")
    await expect(page.get_by_role("img", name=SAY("reports.chart_label", title=title))).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_title(user.email))
    await expect(row.locator(f"[data-label='{SAY('reports.total')}']")).to_have_text("37")
    await expect(row).to_contain_text("4%")
    file = await downloaded(page)
    assert file.startswith(BYTE_ORDER_MARK)
    assert f"{user.email},Sara Ahmadi,1000.0000,37.0000" in file.decode()


async def test_a_chart_is_drawn_in_the_colours_of_the_theme(
    visitor: Visitor, admin: Person, user: Person, desk: Desk
) -> None:
    await desk.adjust(admin, user, HOUR)
    page = await visitor(admin)
    await page.goto("/ui/admin/reports.html")
    chart = page.locator("canvas")
    await expect(chart).to_have_css("display", "block")
    light = await chart.screenshot()
    await page.emulate_media(color_scheme="dark")
    await expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")

    async def is_drawn_anew() -> bool:
        return await chart.screenshot() != light

    await eventually(is_drawn_anew)


async def test_own_dates_are_typed_in_the_persian_calendar_and_kept_in_the_address(
    visitor: Visitor, admin: Person
) -> None:
    say = words("fa")
    page = await visitor(admin, language="fa")
    await page.goto("/ui/admin/reports.html")
    await page.get_by_role("button", name=say("reports.range.custom")).click()
    first = page.get_by_label(say("reports.from"), exact=True)
    await first.fill("۱۴۰۵/۰۸/۰۱")
    await first.blur()
    await expect(page).to_have_url(re.compile(r"from=2026-10-23"))
    await expect(page.locator("#from-hint")).to_have_text("۲۳ اکتبر ۲۰۲۶")
    await first.fill("۱۴۰۵/۰۷/۳۱")
    await first.blur()
    await expect(page.locator("#from-hint")).to_have_text(say("reports.no_such_day"))
    await expect(page).to_have_url(re.compile(r"from=2026-10-23"))
    await page.reload()
    await expect(first).to_have_value("۱۴۰۵/۰۸/۰۱")
    await page.get_by_role("button", name=say("reports.range.month")).click()
    await page.go_back()
    await expect(first).to_have_value("۱۴۰۵/۰۸/۰۱")


async def test_waiting_times_are_told_by_gpu_type(visitor: Visitor, admin: Person, user: Person, desk: Desk) -> None:
    await desk.reject(admin, await desk.submit(user, gpu_type="V100"))
    await desk.approve(admin, await desk.submit(user, gpu_type="V100"))
    await desk.submit(user, gpu_type="T4")
    page = await visitor(admin)
    await page.goto("/ui/admin/reports.html")
    await page.get_by_role("link", name=SAY("reports.tab.waiting")).click()
    await page.get_by_role("button", name=SAY("reports.by.gpu_type")).click()
    await expect(page).to_have_url(re.compile(r"report=waiting&by=gpu_type"))
    rows = page.locator(".waiting-table tbody tr")
    await expect(rows).to_have_count(2)
    cells = rows.filter(has_text="V100").locator("td")
    assert [await cells.nth(index).inner_text() for index in range(4)] == ["2", "1", "1", "0"]
    await expect(rows.filter(has_text="T4").locator("td").nth(4)).to_have_text("—")
    assert (await downloaded(page)).startswith(BYTE_ORDER_MARK + b"gpu_type,jobs,approved,rejected,started")
