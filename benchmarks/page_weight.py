"""What it costs to open a page for the first time, and to let a long list follow the news.

Transferred are all bytes that came over the wire, compressed as they came, heads included, until a second after the
page was ready. It is ready when its first data stand in place of the skeletons. It is interactive when it is ready and
no long task (of 50 ms and more) holds up its main thread any longer: at the end of the last one that began within a
second of the page's readiness, or at once. Time counts from the beginning of the navigation; of several loads the
fastest says most about the page, for what else the machine does can only add to it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.async_api import Browser, CDPSession, Page
from sqlalchemy import URL

from benchmarks.postgres import new_database
from benchmarks.report import Finding
from benchmarks.rounds import Effort
from tests.browser.chromium import ADVICE, find_chromium, new_context, running_chromium
from tests.browser.demo import ENVIRONMENT, Lab, make_lab, read_lab
from tests.browser.pages import PageOfOurs, pages_of_ours, settled
from tests.browser.service import Service, serving, sign_in_at_once
from tests.factories import Person, make_user
from tests.services.desk import Desk

LIMIT_BYTES = 350 * 1024
LIMIT_REQUESTS = 25
LIMIT_SHIFT = 0.05
LIMIT_SECONDS = 1.0
SLOWDOWN = 4
QUIET_MS = 1000
ROWS = 200
LIMIT_TASK_MS = 50

OBSERVE = """
window.observed = { shift: 0, longTasks: [], readyAt: null };
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) observed.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => {
  for (const { startTime, duration } of list.getEntries()) observed.longTasks.push([startTime, startTime + duration]);
}).observe({ type: "longtask", buffered: true });
new MutationObserver(() => {
  const isReady = document.querySelector("h1")?.textContent.trim()
    && !document.querySelector(".skeleton, [aria-busy='true']");
  if (isReady) observed.readyAt ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
"""


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """One load with nothing in the cache."""

    transferred: int
    requests: int
    shift: float
    interactive_seconds: float


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    if find_chromium() is None:
        print(f"left out: pages: {ADVICE}")
        return
    with new_database(server_url, "pages") as database, TemporaryDirectory() as directory:
        yield from asyncio.run(_measure(str(database), Path(directory), effort))


async def _measure(database_url: str, directory: Path, effort: Effort) -> Sequence[Finding]:
    await make_lab(database_url, directory)
    async with serving(database_url, directory, ENVIRONMENT) as service, running_chromium() as browser:
        lab = await read_lab(service.state)
        findings = []
        for shown in pages_of_ours():
            loads = [await load_cold(browser, service, lab, shown, slowdown=SLOWDOWN) for _ in range(effort.rounds)]
            findings.append(_first_load(shown, loads))
        findings.append(await _busy_list(browser, service, lab, effort))
        return findings


async def load_cold(browser: Browser, service: Service, lab: Lab, shown: PageOfOurs, *, slowdown: int = 1) -> FirstLoad:
    """Open the page in a new browser, on a wide screen, in Persian."""
    async with _new_page(browser, service, shown.visitor(lab)) as page:
        wire = await Wire.of(page)
        await wire.session.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
        await page.add_init_script(OBSERVE)
        await page.goto(shown.address(lab))
        await settled(page)
        await page.wait_for_timeout(QUIET_MS)
        observed = await page.evaluate("() => observed")
        later = [end for start, end in observed["longTasks"] if start <= observed["readyAt"] + QUIET_MS]
        return FirstLoad(
            transferred=wire.transferred,
            requests=wire.requests,
            shift=observed["shift"],
            interactive_seconds=max([observed["readyAt"], *later]) / 1000,
        )


class Wire:
    """Counts what a page asks for and gets, streams that never end included."""

    def __init__(self, session: CDPSession) -> None:
        self.session = session
        self._received: dict[str, int] = {}

    @classmethod
    async def of(cls, page: Page) -> "Wire":
        wire = cls(await page.context.new_cdp_session(page))
        wire.session.on("Network.requestWillBeSent", wire._asked)
        wire.session.on("Network.responseReceived", wire._answered)
        wire.session.on("Network.dataReceived", wire._came)
        wire.session.on("Network.loadingFinished", wire._finished)
        await wire.session.send("Network.enable")
        return wire

    @property
    def requests(self) -> int:
        return len(self._received)

    @property
    def transferred(self) -> int:
        return sum(self._received.values())

    def _asked(self, event: dict[str, Any]) -> None:
        if event["request"]["url"].startswith("http"):
            self._received.setdefault(event["requestId"], 0)

    def _answered(self, event: dict[str, Any]) -> None:
        self._add(event, event["response"]["encodedDataLength"])

    def _came(self, event: dict[str, Any]) -> None:
        self._add(event, event["encodedDataLength"])

    def _add(self, event: dict[str, Any], size: float) -> None:
        if event["requestId"] in self._received:
            self._received[event["requestId"]] += int(size)

    def _finished(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._received:
            self._received[event["requestId"]] = int(event["encodedDataLength"])


def _first_load(shown: PageOfOurs, loads: Sequence[FirstLoad]) -> Finding:
    transferred, requests = max(load.transferred for load in loads), max(load.requests for load in loads)
    shift, seconds = max(load.shift for load in loads), min(load.interactive_seconds for load in loads)
    met = transferred <= LIMIT_BYTES and requests <= LIMIT_REQUESTS and shift < LIMIT_SHIFT and seconds < LIMIT_SECONDS
    rounds = ", ".join(f"{load.interactive_seconds:.2f}" for load in loads)
    return Finding(
        f"first load of `{shown.name}`",
        f"{transferred / 1024:.0f} KiB, {requests} requests, CLS {shift:.3f}, interactive in {seconds:.2f} s",
        f"≤ {LIMIT_BYTES // 1024} KiB, ≤ {LIMIT_REQUESTS}, < {LIMIT_SHIFT}, < {LIMIT_SECONDS:.0f} s",
        met,
        f"worst of {len(loads)} loads, but the best of the times, {rounds}; CPU slowed down {SLOWDOWN} times",
    )


async def _busy_list(browser: Browser, service: Service, lab: Lab, effort: Effort) -> Finding:
    """One event after the other, each of which changes one of the rows."""
    desk = Desk(service.state)
    owner = await make_user(service.state, email="busy@lab.example.org")
    await desk.set_limit(lab.admin, owner, ROWS * 3600)
    jobs = [await desk.submit(owner, name=f"row-{number}", gpu_type="T4") for number in range(ROWS)]
    async with _new_page(browser, service, owner) as page:
        await page.goto("/ui/jobs.html")
        await settled(page)
        rows = page.locator("tr", has_text="row-")
        while await rows.count() < ROWS:
            before = await rows.count()
            await page.locator("#more").click()
            await page.wait_for_function(
                "(before) => [...document.querySelectorAll('tr')].length > before + 1", arg=before
            )
        await browser.start_tracing(page=page, categories=["toplevel", "devtools.timeline"])
        changed = jobs[:: max(1, ROWS // (8 * effort.rounds))]
        for job_id in changed:
            await desk.cancel(owner, job_id)
            await page.wait_for_timeout(QUIET_MS)
        tasks = _main_thread_tasks(json.loads(await browser.stop_tracing()))
    worst = max(tasks)
    return Finding(
        f"an event that changes one of {ROWS} rows",
        f"{worst:.0f} ms of work at most",
        f"≤ {LIMIT_TASK_MS} ms",
        worst <= LIMIT_TASK_MS,
        f"the longest task of the main thread while {len(changed)} events came, of {len(tasks)} in all",
    )


def _main_thread_tasks(trace: dict[str, Any]) -> list[float]:
    """How long each task of the page's main thread was at work, in milliseconds; not while others had the core."""
    events = trace["traceEvents"]
    mains = {(e["pid"], e["tid"]) for e in events if e.get("args", {}).get("name") == "CrRendererMain"}
    return [
        event.get("tdur", event["dur"]) / 1000
        for event in events
        if event.get("ph") == "X" and event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in mains
    ]


@asynccontextmanager
async def _new_page(browser: Browser, service: Service, person: Person | None) -> AsyncIterator[Page]:
    context = await new_context(browser, service.url, "fa", "light", 1280)
    if person is not None:
        await sign_in_at_once(context, service.url, person)
    try:
        yield await context.new_page()
    finally:
        await context.close()
