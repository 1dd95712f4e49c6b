"""What watches over the other tests, tried on trouble that is made on purpose."""

import hashlib
from pathlib import Path

import pytest

from tests.browser.conftest import Visitor
from tests.browser.trouble import Trouble
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

VENDOR = Path(__file__).parent / "vendor"
TROUBLE_ON_PURPOSE = {
    "uncaught: Error: on purpose": "() => setTimeout(() => { throw new Error('on purpose') })",
    "console: on purpose": "() => console.error('on purpose')",
    "policy: style-src-attr": "() => { document.body.innerHTML = '<b style=\"color: red\">' }",
    "policy: connect-src": "() => fetch('http://192.0.2.1/').catch(() => {})",
    "dialog: alert on purpose": "() => alert('on purpose')",
    "answer: 401 GET /api/v1/jobs": "() => fetch('/api/v1/jobs').then(() => {})",
}


@pytest.mark.parametrize("line", TROUBLE_ON_PURPOSE)
async def test_trouble_is_noticed(visitor: Visitor, trouble: Trouble, line: str) -> None:
    page = await visitor()
    await page.goto("/livez")
    await page.evaluate(TROUBLE_ON_PURPOSE[line])
    await noticed(trouble, line)
    trouble.allow("console: ", "failed: ", line)


async def test_a_request_without_an_answer_is_noticed(visitor: Visitor, trouble: Trouble) -> None:
    page = await visitor()
    await page.goto("/livez")
    await page.context.set_offline(True)
    await page.evaluate("() => fetch('/api/v1/jobs').catch(() => {})")
    await noticed(trouble, "failed: GET /api/v1/jobs net::ERR_INTERNET_DISCONNECTED")
    trouble.allow("failed: GET /api/v1/jobs")


async def noticed(trouble: Trouble, line: str) -> None:
    async def is_noticed() -> bool:
        return any(seen.startswith(line) for seen in trouble.unforeseen)

    await eventually(is_noticed)


def test_the_accessibility_checker_is_the_one_that_was_published() -> None:
    """`npm pack axe-core@VERSION` has the same files."""
    lines = (VENDOR / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    locked = {name: checksum for checksum, name in (line.split() for line in lines)}
    present = {
        str(path.relative_to(VENDOR)): hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*/*")
    }
    assert present == locked
