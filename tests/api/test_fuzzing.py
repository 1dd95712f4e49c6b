"""schemathesis makes requests of every kind that the OpenAPI document allows and forbids, and compares the answers.

It reaches the service in its own thread and event loop, with a database of its own. What it finds is told with the
`curl` command that repeats it.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema
from schemathesis.python.asgi import get_client, shutdown_lifespans

from app.api.state import AppState
from app.core.config import Settings
from app.db.queries import lease
from app.main import create_app
from tests.conftest import make_settings
from tests.factories import make_fleet, make_job, make_user, sign_in

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
EXAMPLES = 100 if IS_LONG else 8
"""Random requests of each operation, beside those that the document itself gives."""
EVERY_PATH = ""
ADMINS_LISTS, ADMINS_ACTS = "^/api/v1/admin/(jobs|audit)", "^/api/v1/admin/(?!jobs|audit)"
PATHS_OF_ALL = "^(?!/api/v1/admin/)"
FEWEST_CASES = {
    ("anonymous", EVERY_PATH): 350,
    ("user", EVERY_PATH): 350,
    ("admin", ADMINS_LISTS): 60,
    ("admin", ADMINS_ACTS): 100,
    ("admin", PATHS_OF_ALL): 150,
}
"""In the long form, all boundaries and all methods are tried as well: some thousand cases more."""
REFUSALS = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]
"""Those that schemathesis expects, and 413: what is too long in a field can make the whole body too large."""

NEVER_ENDS = {"include-name": "GET /api/v1/jobs/{job_id}/log", "parameters": {"follow": False}}
ENDS_ITSELF = {
    "include-name": "DELETE /api/v1/auth/sessions/{session_id}",
    "parameters": {"session_id": "00000000-0000-0000-0000-000000000007"},
}
"""What it has read of its own session it would use."""
LOOK_LIKE_AN_ID = [
    {
        "include-name": operation,
        "checks": {"unsupported_method": {"enabled": False}, "allow_header_conformance": {"enabled": False}},
    }
    for operation in (
        "POST /api/v1/jobs/validate",
        "POST /api/v1/auth/sessions/end-others",
        "GET /api/v1/admin/users/standing",
    )
]
"""Such as `GET /jobs/validate`, which is allowed and names what has no number."""


@pytest.fixture
def settings(fresh_database_url: str, tmp_path: Path) -> Settings:
    """Neither the throttle nor the quota ends the experiment."""
    changes = {"login_failure_limit": 1_000_000, "default_monthly_gpu_hours": 1_000_000}
    return make_settings(fresh_database_url, tmp_path).model_copy(update=changes)


@pytest.fixture
def tokens(settings: Settings) -> Mapping[str, str]:
    return asyncio.run(_prepare(settings))


@pytest.fixture(autouse=True)
def _stop_services() -> Iterator[None]:
    yield
    shutdown_lifespans()


@pytest.mark.parametrize(("who", "paths"), FEWEST_CASES)
def test_the_service_does_what_its_document_says(
    settings: Settings, tokens: Mapping[str, str], who: str, paths: str
) -> None:
    headers = {"Authorization": f"Bearer {tokens[who]}"} if who in tokens else {}
    config = SchemathesisConfig.from_dict(
        {
            "seed": 1404,
            "workers": 1,
            "continue-on-failure": True,
            "headers": headers,
            "request-timeout": 10,
            "max-stream-events": 1,
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "no-shrink": True},
            "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": IS_LONG}},
            "checks": {
                "positive_data_acceptance": {"enabled": False},
                "negative_data_rejection": {"expected-statuses": [*REFUSALS, "5xx"]},
            },
            "operations": [{"exclude-path-regex": paths, "enabled": False}, NEVER_ENDS, ENDS_ITSELF, *LOOK_LIKE_AN_ID],
        }
    )
    app = create_app(settings)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    cases, found = 0, list[str]()
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                cases += len(event.recorder.cases)
                found += _failures_of(event)
            case events.NonFatalError() | events.FatalError():
                found.append(str(vars(event)))
    assert found == [], "\n\n".join(found)
    assert cases >= FEWEST_CASES[who, paths]
    with get_client(app) as client:
        answer = client.get("/api/v1/auth/me", headers=headers)
    assert answer.status_code == (200 if headers else 401), "the rights were lost on the way"


def _failures_of(scenario: Any) -> Iterator[str]:
    """One text for each check that failed, ending in the command that repeats it."""
    for checks in scenario.recorder.checks.values():
        for check in checks:
            if check.failure_info is not None:
                failure: Failure = check.failure_info.failure
                repeated = check.failure_info.code_sample
                yield f"{scenario.recorder.label}: {failure.title}\n{failure.message}\n{repeated}"


async def _prepare(settings: Settings) -> Mapping[str, str]:
    """A fleet, a dispatcher's lease, a user with jobs, an admin; the access tokens of both."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        state: AppState = app.state.gtm
        await make_fleet(state)
        user, admin = await make_user(state), await make_user(state, is_admin=True)
        for _ in range(3):
            await make_job(state, user)
        async with state.database.autocommit() as connection:
            await lease.acquire(connection, holder="test", ttl=timedelta(hours=1))
        return {
            "user": (await sign_in(state, user)).access_token,
            "admin": (await sign_in(state, admin)).access_token,
        }
