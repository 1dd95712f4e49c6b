"""What a page has to know about the installation, before and after somebody has signed in."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest
from fastapi import FastAPI

from app.api.state import AppState
from app.core.config import Settings
from app.core.version import VERSION
from app.domain.identity import Scope
from tests.conftest import SECRET, browser
from tests.factories import Person, make_token

pytestmark = pytest.mark.anyio

ABOUT = "/api/v1/about"


FOR_STRANGERS = {
    "password_min_length": 8,
    "password_max_length": 128,
    "registration": "open",
    "registration_domains": [],
}


async def test_a_stranger_is_told_what_it_takes_to_sign_in_or_register(client: httpx2.AsyncClient) -> None:
    answer = await client.get(ABOUT)
    assert (answer.status_code, answer.json()) == (200, FOR_STRANGERS)


async def test_nothing_else_tells_a_stranger_the_release(client: httpx2.AsyncClient) -> None:
    for path in ("/health", "/readyz", "/livez", "/openapi.json", "/docs", "/ui/index.html"):
        answer = await client.get(path)
        assert VERSION not in answer.text, path
        assert "server" not in answer.headers


@pytest.mark.parametrize("scope", Scope)
async def test_a_token_of_any_scope_is_told_everything(
    app: FastAPI, state: AppState, admin: Person, scope: Scope
) -> None:
    token = (await make_token(state, admin, scopes=[scope])).secret
    async with browser(app, token=token) as client:
        assert (await client.get(ABOUT)).json().keys() > FOR_STRANGERS.keys()


async def test_a_token_that_is_no_good_is_refused_rather_than_ignored(app: FastAPI) -> None:
    async with browser(app, token="gtm_" + 43 * "x") as client:
        answer = await client.get(ABOUT)
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


async def test_the_document_says_that_a_sign_in_is_optional(client: httpx2.AsyncClient) -> None:
    operation = (await client.get("/openapi.json")).json()["paths"][ABOUT]["get"]
    assert {} in operation["security"]
    assert any(operation["security"])


async def test_whoever_is_signed_in_is_told_what_this_installation_is(as_user: httpx2.AsyncClient) -> None:
    answer = await as_user.get(ABOUT)
    assert answer.status_code == 200
    assert answer.json() == FOR_STRANGERS | {
        "version": VERSION,
        "executor": "simulated",
        "places_gpus": True,
        "jobs_run_as_service": False,
        "jobs_share_a_user": False,
        "clock_rate": 360.0,
        "dispatch_mode": "manual",
        "quota_calendar": "gregorian",
        "time_zone": "UTC",
        "default_monthly_gpu_hours": 100,
        "allow_local_email": False,
    }


async def test_it_tells_how_this_one_is_set_up_and_nothing_secret(
    settings: Settings,
    user: Person,
    token_for: Callable[[Person], Awaitable[str]],
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]],
) -> None:
    changes = {
        "dispatch_mode": "automatic",
        "quota_calendar": "jalali",
        "time_zone": "Asia/Tehran",
        "default_monthly_gpu_hours": 7.5,
        "registration": "domains",
        "registration_domains": ["example.org"],
        "allow_local_email": True,
    }
    other = Settings(_env_file=None, **{**settings.model_dump(), **changes})
    async with start_service(other) as app, browser(app, token=await token_for(user)) as client:
        answer = await client.get(ABOUT)
    assert answer.json().items() >= changes.items()
    assert SECRET not in answer.text
    assert other.database_url is not None
    assert other.database_url.get_secret_value() not in answer.text
