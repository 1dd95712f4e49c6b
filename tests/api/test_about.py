"""What a page has to know about the installation, before anybody has signed in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import httpx2
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from app.core.version import VERSION
from tests.conftest import SECRET, browser

pytestmark = pytest.mark.anyio

ABOUT = "/api/v1/about"


async def test_anybody_may_ask_what_this_installation_is(client: httpx2.AsyncClient) -> None:
    answer = await client.get(ABOUT)
    assert answer.status_code == 200
    assert answer.json() == {
        "version": VERSION,
        "executor": "simulated",
        "places_gpus": True,
        "jobs_run_as_service": False,
        "clock_rate": 360.0,
        "dispatch_mode": "manual",
        "quota_calendar": "gregorian",
        "time_zone": "UTC",
        "default_monthly_gpu_hours": 100,
        "password_min_length": 8,
        "password_max_length": 128,
        "registration": "open",
        "registration_domains": [],
        "allow_local_email": False,
    }


async def test_it_tells_how_this_one_is_set_up_and_nothing_secret(
    settings: Settings, start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]]
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
    async with start_service(other) as app, browser(app) as client:
        answer = await client.get(ABOUT)
    assert answer.json().items() >= changes.items()
    assert SECRET not in answer.text
    assert other.database_url is not None
    assert other.database_url.get_secret_value() not in answer.text
