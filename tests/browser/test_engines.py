"""What the pages show of real engines: a cluster that queues and places by itself, and this machine without GPUs."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from app.core.config import DispatcherPlacement, Settings
from app.db.queries import gpus
from app.domain.execution import GpuInfo, GpuSlot
from tests.browser.axe import barriers
from tests.browser.chromium import Language
from tests.browser.conftest import Visitor, browsers_for, visitors
from tests.browser.pages import settled
from tests.browser.service import Service, serving
from tests.browser.still_engine import StillEngine
from tests.browser.trouble import Trouble
from tests.browser.words import words
from tests.conftest import SECRET, cloned
from tests.factories import Person, make_user
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio

SAY = words("en")
APP = "tests.browser.still_app:app"
ENVIRONMENTS = {
    "slurm": {"EXECUTOR": "slurm", "DISPATCHER": "external", "SLURM_SUBMIT_AS": "user"},
    "local": {"EXECUTOR": "local", "DISPATCHER": "external", "LOCAL_GPUS": "2xCPU", "LOCAL_TRUST_USERS": "true"},
    "shared": {"EXECUTOR": "local", "DISPATCHER": "external", "LOCAL_GPUS": "2xCPU", "LOCAL_JOB_USER": "nobody"},
}
CLUSTER = [
    *(GpuInfo(GpuSlot("n1", index, f"n1:{index}"), "a100", 0, busy=True) for index in range(3)),
    GpuInfo(GpuSlot("n1", 3, "n1:3"), "a100", 0),
    *(
        GpuInfo(GpuSlot("n2", index, f"n2:{index}"), "a100", 0, offline_reason="drained: fan [root]")
        for index in (0, 1)
    ),
]
STAND_INS = [GpuInfo(GpuSlot("lab", index, f"CPU-lab-{index}"), "CPU", 2**33) for index in range(2)]
UNREADABLE = r"answer: 404 GET /api/v1/jobs/\d+/log"


@pytest.fixture(scope="module", params=["slurm"])
def engine_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def _database_url(server_url: str, template: str, engine_name: str) -> Iterator[str]:
    with cloned(server_url, template, engine_name) as url:
        yield url


@pytest.fixture(scope="module")
async def _running_service(
    _database_url: str, engine_name: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Service]:
    directory = tmp_path_factory.mktemp(engine_name)
    settings = Settings(
        _env_file=None,
        data_dir=directory,
        jwt_secret_key=SECRET,
        executor=ENVIRONMENTS[engine_name]["EXECUTOR"],
        dispatcher=DispatcherPlacement.EXTERNAL,
    )
    async with serving(
        _database_url, directory, ENVIRONMENTS[engine_name], app=APP, engine=StillEngine(settings)
    ) as service:
        yield service


@pytest.fixture
async def service(_running_service: Service, engine_name: str) -> Service:
    """It passes for one with that engine; what the engine would tell, tests write into its database."""
    await _running_service.forget_everything()
    fleet = CLUSTER if engine_name == "slurm" else STAND_INS
    async with _running_service.state.database.transaction() as connection:
        await gpus.sync_inventory(connection, executor=engine_name, gpus=fleet, now=datetime.now(UTC))
    return _running_service


@pytest.fixture
async def visitor(service: Service, chromium: Browser, trouble: Trouble) -> AsyncIterator[Visitor]:
    async with browsers_for(service, chromium) as browsers, visitors(browsers, trouble) as visitor:
        yield visitor


async def approved(desk: Desk, owner: Person, admin: Person, **facts: Any) -> int:
    job_id = await desk.submit(owner, name="train-resnet", **facts)
    await desk.approve(admin, job_id)
    return job_id


async def queued(desk: Desk, owner: Person, admin: Person, **facts: Any) -> int:
    """Handed to the cluster, which tells why it waits and when it begins."""
    job_id = await approved(desk, owner, admin, gpu_type="a100", num_gpus=2, **facts)
    await desk.start(admin, job_id)
    await desk.sql(
        "UPDATE jobs SET launched_at = now(), engine_job_id = '4711', queue_reason = 'Resources', "
        "expected_start_at = now() + interval '3 hours 10 minutes' WHERE id = :id",
        id=job_id,
    )
    return job_id


async def begun(desk: Desk, owner: Person, admin: Person) -> int:
    job_id = await queued(desk, owner, admin)
    await desk.sql(
        "UPDATE jobs SET status = 'RUNNING', started_at = now(), placement = 'n1:0,2', queue_reason = NULL, "
        "expected_start_at = NULL WHERE id = :id",
        id=job_id,
    )
    return job_id


def fact(page: Page, label: str) -> Any:
    return page.locator("dt", has_text=re.compile(f"^{re.escape(label)}$")).locator("xpath=following-sibling::dd[1]")


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_a_job_in_the_clusters_queue_tells_why_and_when_it_begins(
    visitor: Visitor, desk: Desk, user: Person, admin: Person, language: Language
) -> None:
    say = words(language)
    job_id = await queued(desk, user, admin)
    page = await visitor(user, language=language)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.locator(".job-sentence")).to_contain_text("Resources")
    await expect(page.locator(".job-begins")).to_contain_text({"en": "in 3 hours", "fa": "۳ ساعت بعد"}[language])
    await expect(page.locator("#headline .status")).to_have_text(say("job.status.IN_ENGINE_QUEUE"))
    await expect(page.locator("#run")).to_be_hidden()
    await expect(fact(page, say("job.executor"))).to_have_text(f"{say('engine.slurm')} slurm")
    number = fact(page, say("job.engine_job_id"))
    await expect(number.locator("code")).to_have_text("4711")
    await number.get_by_role("button", name=say("job.copy_number")).click()
    await expect(page.locator("#toasts")).to_contain_text(say("toast.copied"))
    await page.goto("/ui/jobs.html")
    await expect(page.locator(".jobs-why")).to_contain_text({"en": "in 3 hours", "fa": "۳ ساعت بعد"}[language])


async def test_a_running_job_tells_where_the_cluster_put_it_and_that_nothing_is_measured(
    visitor: Visitor, desk: Desk, user: Person, admin: Person, service: Service
) -> None:
    job_id = await begun(desk, user, admin)
    (service.directory / f"{job_id}.log").write_text("epoch 1\n", encoding="utf-8")
    await desk.sql("UPDATE jobs SET started_at = now() + interval '1 second' WHERE id = :id", id=job_id)
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(fact(page, SAY("job.gpus")).last).to_have_text("n1: 0, 2")
    await expect(page.locator(".log-content")).to_have_text("epoch 1\n")
    await page.locator("#utilisation").scroll_into_view_if_needed()
    await expect(page.locator("#utilisation-chart")).to_have_text(SAY("utilisation.none"))
    await expect(page.get_by_text(SAY("job.simulated"))).to_have_count(0)
    await desk.sql(
        "UPDATE jobs SET created_at = now() - interval '3 hours', decided_at = now() - interval '2 hours', "
        "started_at = now() - interval '1 hour' WHERE id = :id",
        id=job_id,
    )
    await page.reload()
    await page.locator("#utilisation").scroll_into_view_if_needed()
    await expect(page.locator("#utilisation-chart")).to_contain_text(SAY("utilisation.untold"))
    await expect(page.locator("#utilisation-chart")).to_contain_text("slurm")


@pytest.mark.parametrize("language", ["en", "fa"])
async def test_a_log_out_of_reach_is_said_once_and_read_when_it_is_there(
    visitor: Visitor, desk: Desk, user: Person, admin: Person, service: Service, trouble: Trouble, language: Language
) -> None:
    trouble.allow(UNREADABLE)
    say = words(language)
    job_id = await begun(desk, user, admin)
    path = service.directory / f"{job_id}.log"
    page = await visitor(user, language=language, kept=False)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if f"/jobs/{job_id}/log" in request.url else None)
    await page.clock.install()
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.locator(".log-obstacle")).to_contain_text(str(path))
    await expect(page.locator(".log-state")).to_have_text(say("log.state.unreadable"))
    await expect(page.locator(".log")).to_be_hidden()
    await page.clock.run_for(60_000)
    async with page.expect_request("**/livez"):  # What the page asked for meanwhile has been noticed by then.
        await page.evaluate("() => fetch('/livez')")
    assert len(asked) == 1
    path.write_text("epoch 1\n", encoding="utf-8")
    await page.locator(".log-obstacle").get_by_role("button", name=say("error.retry")).click()
    await expect(page.locator(".log-content")).to_have_text("epoch 1\n")
    await expect(page.locator(".log-obstacle")).to_have_count(0)


async def test_a_failed_job_whose_log_is_out_of_reach_does_not_promise_its_last_lines(
    visitor: Visitor, desk: Desk, user: Person, admin: Person, trouble: Trouble
) -> None:
    trouble.allow(UNREADABLE)
    job_id = await begun(desk, user, admin)
    await desk.sql(
        "UPDATE jobs SET status = 'FAILED', reason = 'NONZERO_EXIT', exit_code = 3, "
        "finished_at = now() + interval '1 second' WHERE id = :id",
        id=job_id,
    )
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.locator(".log-obstacle")).to_be_visible()
    await expect(page.locator(".last-lines")).to_have_count(0)


async def test_the_fleet_shows_the_clusters_own_states_and_nothing_to_click(
    visitor: Visitor, desk: Desk, user: Person, admin: Person
) -> None:
    await begun(desk, user, admin)
    page = await visitor(admin)
    await page.goto("/ui/admin/fleet.html")
    slots = page.locator(".slot")
    states = ["BUSY", "BUSY", "BUSY", "FREE", "OFFLINE", "OFFLINE"]
    await expect(slots.locator(".gpu-state")).to_have_text([SAY(f"fleet.state.{state}") for state in states])
    await expect(slots.get_by_role("link", name="train-resnet")).to_have_count(2)
    await expect(page.locator(".fleet-type")).to_contain_text("3 busy")
    await expect(page.locator(".fleet-type")).not_to_contain_text("each")
    await expect(page.get_by_role("button", name=SAY("fleet.drain_node"))).to_have_count(0)
    await expect(page.get_by_text(SAY("fleet.simulated"))).to_have_count(0)
    await slots.nth(1).get_by_role("button").click()
    details = page.locator(".gpu-details")
    await expect(details).to_contain_text(SAY("fleet.busy_elsewhere"))
    await slots.nth(4).get_by_role("button").click()
    await expect(details).to_contain_text("drained: fan [root]")
    await expect(details).to_contain_text(SAY("fleet.memory_unknown"))
    await expect(details).to_contain_text("scontrol update NodeName=n2 State=DRAIN")
    await expect(details.get_by_role("button", name=SAY("fleet.drain"), exact=True)).to_have_count(0)
    assert await barriers(page) == []


async def test_to_start_is_to_hand_over_where_the_engine_queues(
    visitor: Visitor, desk: Desk, user: Person, admin: Person
) -> None:
    for _ in range(2):
        await approved(desk, user, admin, gpu_type="a100")
    page = await visitor(admin)
    await page.goto("/ui/admin/requests.html?tab=start")
    await expect(page.locator(".tab[aria-current]")).to_contain_text(SAY("requests.tab.hand_over"))
    row = page.locator("#list tbody tr").first
    await row.locator("[data-action=start]").click()
    await expect(page.locator("#toasts")).to_contain_text(SAY("job.toast.hand_over", name="train-resnet"))
    await expect(row).to_contain_text("In the cluster's queue.")
    await expect(row.locator("[data-action=start]")).to_have_count(0)
    await page.locator("#select-all").check()
    await page.locator("[data-bulk=start]").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Hand 1 job to the cluster")
    await dialog.get_by_role("button", name="Hand over 1").click()
    await expect(page.locator("#toasts")).to_contain_text("1 job was handed to the cluster.")


@pytest.mark.parametrize("engine_name", ["local"], indirect=True)
@pytest.mark.parametrize("language", ["en", "fa"])
async def test_where_jobs_run_as_the_service_everybody_concerned_is_warned(
    visitor: Visitor, user: Person, admin: Person, language: Language
) -> None:
    say = words(language)
    page = await visitor(admin, language=language)
    for path in ("/ui/index.html", "/ui/admin/fleet.html"):
        await page.goto(path)
        await expect(page.locator("#notices")).to_contain_text(say("trust.admin"))
        await expect(page.locator("#notices")).to_contain_text(say("trust.remedy.local"))
        await expect(page.locator("#notices button")).to_have_count(0)
        await settled(page)
        assert await barriers(page) == []
    page = await visitor(user, language=language)
    await page.goto("/ui/index.html")
    await expect(page.locator("#submit-form .notice")).to_contain_text(say("trust.submit"))
    await expect(page.locator("#gpu_type-hint")).to_have_text(say("submit.cpu_hint"))
    await expect(page.locator("#notices")).not_to_contain_text(say("trust.admin"))


@pytest.mark.parametrize("engine_name", ["shared"], indirect=True)
async def test_where_everybodys_jobs_run_as_one_user_people_are_warned_of_each_other(
    visitor: Visitor, user: Person, admin: Person
) -> None:
    page = await visitor(admin)
    await page.goto("/ui/index.html")
    for said in ("trust.shared", "trust.remedy.shared"):
        await expect(page.locator("#notices")).to_contain_text(SAY(said))
    page = await visitor(user)
    await page.goto("/ui/index.html")
    await expect(page.locator("#submit-form .notice")).to_contain_text(SAY("trust.submit"))


async def test_a_cluster_where_jobs_run_as_their_owners_needs_no_such_warning(visitor: Visitor, admin: Person) -> None:
    page = await visitor(admin)
    await page.goto("/ui/index.html")
    await expect(page.locator("#submit-form")).to_be_visible()
    await expect(page.locator("#notices")).to_be_empty()
    await expect(page.locator("#submit-form .notice")).to_have_count(0)


@pytest.mark.parametrize("engine_name", ["local"], indirect=True)
async def test_a_chart_of_stand_ins_is_one_of_the_cpu(
    visitor: Visitor, desk: Desk, service: Service, admin: Person
) -> None:
    owner = await make_user(service.state)
    job_id = await approved(desk, owner, admin, gpu_type="CPU")
    await desk.start(admin, job_id)
    (service.directory / f"{job_id}.log").write_text("", encoding="utf-8")
    begin = datetime.now(UTC)
    samples = [
        ((begin + timedelta(seconds=5 * step)).isoformat(), "lab", 0, 0.25, 2**20)
        for step in (*range(30), *range(90, 99))
    ]
    (service.directory / f"{job_id}.json").write_text(json.dumps(samples), encoding="utf-8")
    page = await visitor(owner)
    await page.goto(f"/ui/job.html?id={job_id}")
    await expect(page.locator("#utilisation-title")).to_have_text(SAY("utilisation.cpu_title"))
    await page.locator("#utilisation").scroll_into_view_if_needed()
    await expect(page.locator("#utilisation-chart")).to_contain_text(
        SAY("utilisation.cpu_facts", average="25%", memory="1\u00a0MiB")
    )
    await page.locator("#utilisation-chart summary").click()
    heading = page.locator("#utilisation-chart th[scope=col]")
    titles = ("utilisation.time", "job.gpus", "utilisation.cpu_share", "utilisation.memory")
    await expect(heading).to_have_text([SAY(key) for key in titles])


@pytest.mark.parametrize("engine_name", ["local"], indirect=True)
@pytest.mark.parametrize("left_out", [100_000, 10_000_000])
async def test_a_log_whose_middle_was_left_out_shows_each_line_kept_that_can_be_reached(
    visitor: Visitor, desk: Desk, service: Service, user: Person, admin: Person, left_out: int
) -> None:
    job_id = await approved(desk, user, admin, gpu_type="CPU")
    await desk.start(admin, job_id)
    head, tail = (b"".join(b"%s %d\n" % (part, line) for line in range(20_000)) for part in (b"first", b"last"))
    log = service.directory / f"{job_id}.log"
    log.mkdir()
    (log / "log.0").write_bytes(head)
    (log / f"log.{len(head) + left_out}").write_bytes(tail)
    note = f"[{left_out} bytes of output are left out here]\n"
    page = await visitor(user)
    await page.goto(f"/ui/job.html?id={job_id}")
    shown = page.locator(".log-content")
    await expect(shown).to_contain_text("last 19999")
    while await (earlier := page.locator("button.log-earlier")).count():
        before = len(await shown.evaluate("element => element.textContent"))
        await earlier.click()
        await page.wait_for_function(
            "length => document.querySelector('.log-content').textContent.length > length", arg=before
        )
    text = await shown.evaluate("element => element.textContent")
    is_crossed = left_out < 262_144
    assert text == (head.decode() if is_crossed else "") + note + tail.decode()
    await expect(page.get_by_text(SAY("log.left_out"))).to_have_count(0 if is_crossed else 1)
