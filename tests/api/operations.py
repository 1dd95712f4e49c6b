"""Every operation of the service, read from the application itself, and how each is asked in a way that succeeds.

A new route is found by itself, and what is tested for all operations is tested for it. If it takes a body, `BODIES`
must say which: until then those tests fail.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx2
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.api.state import AppState
from tests.factories import PASSWORD, Person, approve_job, make_job, make_token, run_job, sign_in
from tests.streams import open_stream

STATIC_FILES = "/ui"

JOB = {
    "name": "train-resnet",
    "gpu_type": "A100",
    "num_gpus": 1,
    "estimated_hours": 2.5,
    "command": "python train.py",
    "data_location": "/data/imagenet",
    "is_sensitive": True,
    "justification": "Thesis, chapter 3",
}

BODIES: Mapping[str, Mapping[str, Any]] = {
    "POST /api/v1/jobs": JOB,
    "POST /api/v1/jobs/validate": JOB,
    "POST /api/v1/jobs/{job_id}/cancel": {"reason": "Wrong data"},
    "POST /api/v1/auth/register": {"email": "new@example.com", "password": PASSWORD, "full_name": "Neda"},
    "PATCH /api/v1/auth/me": {"full_name": "Sara A.", "locale": "en"},
    "POST /api/v1/auth/password": {"current_password": PASSWORD, "new_password": "another-River-72-lantern"},
    "POST /api/v1/auth/tokens": {"name": "nightly runs", "scopes": ["jobs:read"], "expires_in_days": 90},
    "POST /api/v1/admin/jobs/{job_id}/approve": {"note": "Go ahead", "digest": None},
    "POST /api/v1/admin/jobs/{job_id}/reject": {"reason": "No data agreement"},
    "POST /api/v1/admin/jobs/{job_id}/refund": {"gpu_hours": 0.25, "reason": "The disk of node1 was full"},
    "POST /api/v1/admin/jobs/decisions": {
        "decisions": [{"job_id": 1, "action": "reject", "note": "Too long", "digest": None}]
    },
    "PATCH /api/v1/admin/users/{user_id}": {"is_admin": False, "is_active": True, "full_name": "Sara B."},
    "PUT /api/v1/admin/users/{user_id}/quota": {"limit_hours": 120, "reason": "Thesis deadline"},
    "POST /api/v1/admin/users/{user_id}/quota/adjustments": {"hours": 1.5, "reason": "Counted by hand"},
    "POST /api/v1/admin/gpus/{gpu_id}/drain": {"reason": "Fan replacement"},
}
FORMS: Mapping[str, Mapping[str, str]] = {
    "POST /api/v1/auth/login": {"username": "nobody@example.com", "password": PASSWORD},
}
HEADERS: Mapping[str, Mapping[str, str]] = {
    "POST /api/v1/auth/refresh": {"X-GTM-Request": "1"},
    "POST /api/v1/auth/logout": {"X-GTM-Request": "1"},
}


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path with its parameters' names, such as `GET /api/v1/jobs/{job_id}`."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_of_admins(self) -> bool:
        return self.path.startswith("/api/v1/admin/")

    @property
    def is_of_the_owner_alone(self) -> bool:
        """Even admins find nothing here that is another's."""
        return "{session_id}" in self.path or "{token_id}" in self.path

    def at(self, **ids: int | UUID) -> str:
        """The path with these ids for its parameters."""
        return self.path.format_map(ids)


def operations_of(app: FastAPI) -> list[Operation]:
    """All of them, `GET /ui` standing for the static files."""
    found = set()
    for route in iter_route_contexts(app.routes):
        assert route.path is not None
        methods = {"GET"} if route.path == STATIC_FILES else route.methods
        assert methods, f"{route.path} has no methods: is it a mount, or a WebSocket, that these tests do not know?"
        found |= {Operation(method, route.path) for method in methods - {"HEAD"}}
    return sorted(found, key=lambda operation: (operation.path, operation.method))


def arguments_of(operation: Operation, document: Mapping[str, Any]) -> dict[str, Any]:
    """For the HTTP client: a body, form and headers with which the operation succeeds."""
    label = str(operation)
    described = document["paths"].get(operation.path, {}).get(operation.method.lower(), {})
    arguments: dict[str, Any] = {"headers": dict(HEADERS.get(label, {}))}
    if label in FORMS:
        arguments["data"] = dict(FORMS[label])
    elif "requestBody" in described:
        arguments["json"] = dict(BODIES[label])
    return arguments


async def ask(app: FastAPI, client: httpx2.AsyncClient, operation: Operation, path: str) -> tuple[int, str]:
    """Status and `code` of the answer to a request that is well-formed, or to its beginning if it is a stream."""
    if operation.method == "GET":
        authorization = client.headers.get("Authorization", "")
        async with open_stream(app, path, authorization=authorization) as stream:
            is_problem = stream.headers.get("content-type") == "application/problem+json"
            text = (await stream.read_to_end()).decode() if is_problem else ""
        return stream.status, _code_in(text)
    answer = await client.request(operation.method, path, **arguments_of(operation, app.openapi()))
    return answer.status_code, _code_in(answer.text)


async def a_place_for(operation: Operation, state: AppState, owner: Person, admin: Person) -> str:
    """The operation's path with ids under which it finds something to act on. Needs a fleet."""
    ids: dict[str, int | UUID] = {}
    if "{job_id}" in operation.path:
        ids["job_id"] = job_id = (await make_job(state, owner)).id
        if operation.path.endswith("/start"):
            await approve_job(state, job_id, admin)
        if operation.path.endswith("/refund"):
            await run_job(state, job_id, admin, charged_seconds=3600)
    if "{user_id}" in operation.path:
        ids["user_id"] = owner.id
    if "{gpu_id}" in operation.path:
        ids["gpu_id"] = await _some_gpu(state)
    if "{session_id}" in operation.path:
        ids["session_id"] = await _some_session(state, owner)
    if "{token_id}" in operation.path:
        ids["token_id"] = (await make_token(state, owner)).id
    return operation.at(**ids)


async def _some_gpu(state: AppState) -> int:
    async with state.database.autocommit() as connection:
        found = await connection.exec_driver_sql("SELECT min(id) FROM gpus")
        gpu_id: int = found.scalar_one()
        return gpu_id


async def _some_session(state: AppState, owner: Person) -> UUID:
    refresh_token = (await sign_in(state, owner)).refresh_token
    assert refresh_token is not None
    return refresh_token.session_id


def _code_in(text: str) -> str:
    found = re.search(r'"code":"([a-z-]+)"', text)
    return found[1] if found else ""
