"""Pages of a list: follow the `Link` header, and every row comes once."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx2
import pytest
from fastapi import FastAPI

from app.api.state import AppState
from tests.conftest import browser
from tests.factories import Person, make_fleet, make_job

pytestmark = pytest.mark.anyio

ONE_SECOND = timedelta(seconds=1)


@pytest.fixture
async def job_ids(state: AppState, user: Person) -> list[int]:
    """Seven jobs, newest first."""
    await make_fleet(state)
    return [(await make_job(state, user, name=f"job-{number}", time_limit=ONE_SECOND)).id for number in range(7)][::-1]


def next_page(answer: httpx2.Response) -> str | None:
    if "link" not in answer.headers:
        return None
    match = re.fullmatch(r'<(/[^>]*)>; rel="next"', answer.headers["link"])
    assert match
    return match[1]


async def test_following_the_links_gives_every_row_once(as_user: httpx2.AsyncClient, job_ids: list[int]) -> None:
    seen: list[int] = []
    address: str | None = "/api/v1/jobs?limit=3"
    sizes = []
    while address:
        answer = await as_user.get(address)
        sizes.append(len(answer.json()))
        seen += [job["id"] for job in answer.json()]
        address = next_page(answer)
    assert sizes == [3, 3, 1]
    assert seen == job_ids


async def test_a_page_that_ends_exactly_at_the_end_has_no_next(as_user: httpx2.AsyncClient, job_ids: list[int]) -> None:
    answer = await as_user.get("/api/v1/jobs", params={"limit": len(job_ids)})
    assert [job["id"] for job in answer.json()] == job_ids
    assert next_page(answer) is None


async def test_the_link_keeps_filters_and_limit(as_user: httpx2.AsyncClient, job_ids: list[int]) -> None:
    answer = await as_user.get("/api/v1/jobs", params={"limit": "۲", "status": ["PENDING", "RUNNING"]})
    address = next_page(answer)
    assert address is not None
    parameters = httpx2.URL(address).params
    assert parameters.get_list("status") == ["PENDING", "RUNNING"]
    assert parameters["limit"] == "۲"
    again = await as_user.get(address)
    assert [job["id"] for job in again.json()] == job_ids[2:4]


async def test_the_limit_may_change_on_the_way(as_user: httpx2.AsyncClient, job_ids: list[int]) -> None:
    address = next_page(await as_user.get("/api/v1/jobs?limit=2"))
    assert address is not None
    cursor = httpx2.URL(address).params["cursor"]
    answer = await as_user.get("/api/v1/jobs", params={"limit": 4, "cursor": cursor})
    assert [job["id"] for job in answer.json()] == job_ids[2:6]


@pytest.mark.usefixtures("job_ids")
async def test_a_cursor_belongs_to_its_list_and_filters(
    app: FastAPI, as_user: httpx2.AsyncClient, admin: Person, token_for: Callable[[Person], Awaitable[str]]
) -> None:
    address = next_page(await as_user.get("/api/v1/jobs?limit=2"))
    assert address is not None
    cursor = httpx2.URL(address).params["cursor"]
    for path in ("/api/v1/jobs?status=PENDING", "/api/v1/quota/entries?"):
        answer = await as_user.get(f"{path}&cursor={cursor}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-cursor")
    async with browser(app, token=await token_for(admin)) as client:
        answer = await client.get("/api/v1/admin/jobs", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-cursor")


@pytest.mark.usefixtures("job_ids")
async def test_a_cursor_cannot_be_made_up(as_user: httpx2.AsyncClient) -> None:
    address = next_page(await as_user.get("/api/v1/jobs?limit=2"))
    assert address is not None
    cursor = httpx2.URL(address).params["cursor"]
    made_up = ["", "x", "!!!!", "AAAA", cursor[:-4], cursor + "AAAA", cursor.swapcase(), "۱۲۳۴", "\x00", "A" * 64]
    for text in made_up:
        answer = await as_user.get("/api/v1/jobs", params={"cursor": text})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-cursor"), text
    answer = await as_user.get("/api/v1/jobs", params={"cursor": "A" * 65})
    assert answer.json()["errors"][0]["pointer"] == "/query/cursor"


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "1.5", "", "9" * 400])
async def test_the_limit_is_from_1_to_200(as_user: httpx2.AsyncClient, limit: str) -> None:
    answer = await as_user.get("/api/v1/jobs", params={"limit": limit})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/query/limit"]


async def test_an_unknown_query_parameter_is_refused(as_user: httpx2.AsyncClient) -> None:
    answer = await as_user.get("/api/v1/jobs", params={"stauts": "PENDING", "limit": "5"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/query/stauts", "message": "There is no such query parameter."}]
