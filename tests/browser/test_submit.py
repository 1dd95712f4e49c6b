"""The form on the dashboard: what a job costs is known before it is sent, and nothing that was typed is lost."""

from asyncio import to_thread
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from app.api.state import AppState
from tests.browser.chromium import DEADLINE_MS, Language
from tests.browser.conftest import Visitor
from tests.browser.service import Service
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.client.runner import Gtm, new_gtm
from tests.factories import Person, make_token
from tests.services.desk import HOUR, Desk

pytestmark = pytest.mark.anyio

FORM = "#submit-form"
SAY = words("en")
ASKED_FOR = """
SELECT name, gpu_type, num_gpus, time_limit_seconds, command, data_location, is_sensitive, justification
FROM jobs ORDER BY id
"""


async def fill(page: Page, *, name: str = "train-resnet", gpus: str = "2", hours: str = "3") -> None:
    await page.fill("#name", name)
    await page.fill("#num_gpus", gpus)
    await page.fill("#estimated_hours", hours)
    await page.fill("#command", "python train.py")


async def jobs_of(state: AppState, person: Person) -> list[tuple[str, int, int]]:
    rows = await Desk(state).sql(
        "SELECT name, num_gpus, time_limit_seconds FROM jobs WHERE user_id = :id ORDER BY id", id=person.id
    )
    return [(row.name, row.num_gpus, row.time_limit_seconds) for row in rows]


@pytest.mark.parametrize(
    ("language", "gpus", "hours", "cost", "status"),
    [("en", "2", "1.5", "3 GPU-hours", "Pending"), ("fa", "۲", "۱٫۵", "۳ ساعت GPU", "در انتظار تأیید")],
)
async def test_a_job_is_submitted_in_the_digits_of_the_page(
    visitor: Visitor, user: Person, state: AppState, language: Language, gpus: str, hours: str, cost: str, status: str
) -> None:
    page = await visitor(user, language=language)
    await page.goto("/ui/index.html")
    await fill(page, gpus=gpus, hours=hours)
    await expect(page.locator(".forecast-cost")).to_contain_text(cost)
    await page.click(f"{FORM} [type=submit]")
    card = page.locator(".job-cards li").filter(has_text="train-resnet")
    await expect(card.locator(".status")).to_have_text(status)
    await expect(page.locator(".legend")).to_contain_text(cost)
    await expect(page.locator("#name")).to_have_value("")
    assert await jobs_of(state, user) == [("train-resnet", 2, 5400)]


async def test_what_is_missing_is_said_at_its_field_and_above_all_fields(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await page.fill("#num_gpus", "two")
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator("#name-error")).to_have_text("Fill this in.")
    await expect(page.locator("#name")).to_be_focused()
    await expect(page.locator(f"{FORM} .form-problem li")).to_have_count(2)
    await page.locator(f"{FORM} .form-problem a", has_text="Command").click()
    await expect(page.locator("#command")).to_be_focused()


async def test_what_the_service_refuses_is_said_at_its_field(visitor: Visitor, user: Person, trouble: Trouble) -> None:
    trouble.allow("answer: 422 POST /api/v1/jobs$")
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await fill(page, gpus="two", hours="1")
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator("#num_gpus-error")).to_be_visible()
    await expect(page.locator(f"{FORM} .form-problem p")).to_have_text(
        "Some of this was not accepted; each reason stands beside its field."
    )
    await expect(page.locator("#num_gpus")).to_be_focused()
    await expect(page.locator("#num_gpus")).to_have_value("two")


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("en", "of this month's quota you have 2 GPU-hours left"), ("fa", "۲ ساعت GPU مانده است")],
)
async def test_over_quota_is_foretold_and_refused_and_nothing_typed_is_lost(
    visitor: Visitor, user: Person, admin: Person, desk: Desk, trouble: Trouble, language: Language, sentence: str
) -> None:
    trouble.allow("answer: 409 POST /api/v1/jobs$")
    await desk.submit(user)
    await desk.set_limit(admin, user, 3 * HOUR)
    page = await visitor(user, language=language)
    await page.goto("/ui/index.html")
    await fill(page, gpus="1", hours="2.5")
    await expect(page.locator("#forecast .notice")).to_contain_text(sentence)
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator(f"{FORM} .form-problem")).to_contain_text(sentence)
    await expect(page.locator("#command")).to_have_value("python train.py")


async def test_a_draft_outlives_a_reload(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await fill(page, name="یک کار نیمه‌کاره", gpus="4")
    await page.reload()
    await expect(page.locator("#name")).to_have_value("یک کار نیمه‌کاره")
    await expect(page.locator("#num_gpus")).to_have_value("4")


async def test_sending_again_after_a_lost_answer_makes_one_job(
    visitor: Visitor, user: Person, state: AppState, trouble: Trouble
) -> None:
    trouble.allow("failed: POST /api/v1/jobs ")
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await fill(page)

    async def lose_the_answer(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await page.route("**/api/v1/jobs", lose_the_answer, times=1)
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator(f"{FORM} .form-problem")).to_contain_text("could not be reached")
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator(".toast-success")).to_be_visible()
    assert len(await jobs_of(state, user)) == 1


async def test_a_job_is_submitted_again_with_changes(
    visitor: Visitor, user: Person, desk: Desk, state: AppState
) -> None:
    job_id = await desk.submit(user, name="sweep-3", num_gpus=3, gpu_type="V100", command="python sweep.py --lr 0.1")
    page = await visitor(user)
    await page.goto(f"/ui/index.html?again={job_id}")
    await expect(page.locator("#name")).to_have_value("sweep-3")
    await expect(page.locator("#gpu_type")).to_have_value("V100")
    await page.fill("#num_gpus", "1")
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator(".toast-success")).to_be_visible()
    assert await jobs_of(state, user) == [("sweep-3", 3, HOUR), ("sweep-3", 1, HOUR)]


async def test_the_curl_line_says_the_same_and_holds_no_token(visitor: Visitor, user: Person) -> None:
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await fill(page, name="it's mine")
    await page.click(f"text={SAY('submit.as_curl')}")
    line = page.locator("#curl")
    await expect(line).to_contain_text('"num_gpus": 2')
    await expect(line).to_contain_text("it'\\''s mine")
    assert "eyJ" not in (await line.text_content() or "")


@pytest.mark.parametrize(
    "command", ["python train.py --epochs 10", "cd /data && python 'x y.py' > \"$HOME/out\"\n\techo \\\\ done  \n"]
)
async def test_the_gtm_line_submits_the_very_same_job(
    visitor: Visitor, user: Person, service: Service, tmp_path: Path, command: str
) -> None:
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await fill(page, name="it's «شبانه» $1", hours="0.333")
    await page.select_option("#gpu_type", "V100")
    await page.fill("#command", command)
    await page.click(f"text={SAY('submit.more')}")
    await page.fill("#justification", "--for the paper\nof *June*")
    await page.fill("#data_location", "/data/brats `ls`")
    await page.check("#is_sensitive")
    await page.click(f"text={SAY('submit.as_curl')}")
    await expect(page.locator("#gtm")).to_contain_text("--sensitive")
    line = str(await page.locator("#gtm").text_content())
    token = await make_token(service.state, user)
    await to_thread(say_in_a_shell, new_gtm(tmp_path, GTM_URL=service.url, GTM_TOKEN=token.secret), line)
    await page.click(f"{FORM} [type=submit]")
    await expect(page.locator(".toast-success")).to_be_visible()
    by_line, by_form = await Desk(service.state).sql(ASKED_FOR)
    assert tuple(by_line) == tuple(by_form)
    assert by_form.command == command


def say_in_a_shell(gtm: Gtm, line: str) -> None:
    with gtm.start_script(f'gtm() {{ $GTM "$@"; }}\n{line}') as shell:
        _, said = shell.communicate(timeout=DEADLINE_MS / 1000)
    assert shell.returncode == 0, said
