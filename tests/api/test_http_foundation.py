"""What every response has, whatever the route: headers, request ids, static files, transactions, identity."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from sqlalchemy import text

from app.api.deps import (
    UNKNOWN_ADDRESS,
    AdminUser,
    Autocommit,
    ClientAddress,
    Now,
    RequestId,
    SignedInUser,
    Transaction,
)
from app.api.state import AppState
from app.core.config import Settings
from app.domain.errors import NotFound
from tests.api.probes import add_failure, add_route
from tests.conftest import FakeClock, browser
from tests.factories import Person
from tests.streams import open_stream

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clock")]

COUNT_MARKS = text("SELECT count(*) FROM login_failures WHERE subject = :mark")
MARK = text("INSERT INTO login_failures (subject, failed_at) VALUES (:mark, now())")


def assert_has_all_headers(headers: httpx2.Headers | dict[str, str]) -> None:
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert re.fullmatch(r"[0-9a-f]{32}", headers["x-request-id"])
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("method", "path", "status", "caching"),
    [
        ("GET", "/livez", 200, "no-store"),
        ("GET", "/health", 200, "no-store"),
        ("GET", "/metrics", 200, "no-store"),
        ("GET", "/openapi.json", 200, "no-store"),
        ("GET", "/", 307, "no-store"),
        ("GET", "/docs", 200, "no-cache"),
        ("GET", "/ui/index.html", 200, "no-cache"),
        ("GET", "/ui/vendor/swagger-ui-dist@5.35.0/swagger-ui.css", 200, "public, max-age=31536000, immutable"),
        ("GET", "/ui/vendor/swagger-ui-dist@5.35.0/nothing.css", 404, "no-store"),
        ("GET", "/nothing", 404, "no-store"),
        ("PUT", "/api/v1/jobs", 405, "no-store"),
        ("OPTIONS", "/api/v1/jobs", 405, "no-store"),
        ("GET", "/api/v1/jobs", 401, "no-store"),
        ("POST", "/api/v1/auth/register", 422, "no-store"),
    ],
)
async def test_every_response_has_the_security_headers(
    client: httpx2.AsyncClient, method: str, path: str, status: int, caching: str
) -> None:
    answer = await client.request(method, path, headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == status
    assert answer.headers["cache-control"] == caching
    assert_has_all_headers(answer.headers)


async def test_an_unforeseen_failure_has_the_headers_too(probe: FastAPI) -> None:
    async with browser(probe) as client:
        answer = await client.get(add_failure(probe, RuntimeError("no")))
    assert answer.status_code == 500
    assert answer.headers["cache-control"] == "no-store"
    assert_has_all_headers(answer.headers)


async def test_a_stream_has_the_headers_and_is_not_stored(
    app: FastAPI, user: Person, token_for: Callable[[Person], Awaitable[str]]
) -> None:
    async with open_stream(app, "/api/v1/events", token=await token_for(user)) as stream:
        assert stream.status == 200
        assert stream.headers["cache-control"] == "no-store"
        assert_has_all_headers(stream.headers)


async def test_a_clients_request_id_is_kept_if_it_is_harmless(probe: FastAPI) -> None:
    async def echo(request_id: RequestId) -> str:
        return request_id

    path = add_route(probe, echo)
    async with browser(probe) as client:
        answer = await client.get(path, headers={"X-Request-ID": "order-17.b:3_x"})
        assert answer.headers["x-request-id"] == "order-17.b:3_x"
        assert answer.json() == "order-17.b:3_x"
        for harmful in ("x" * 65, "a b", 'a"b', "a\tb", "é", ""):
            answer = await client.get(path, headers={"X-Request-ID": harmful.encode()})
            assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_the_root_leads_to_the_user_interface(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/", follow_redirects=True)
    assert answer.url.path == "/ui/index.html"
    assert 'dir="rtl"' in answer.text


async def test_an_unchanged_file_is_not_sent_again(client: httpx2.AsyncClient) -> None:
    first = await client.get("/ui/index.html")
    again = await client.get("/ui/index.html", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize("path", ["/ui/../app/main.py", "/ui/%2e%2e/app/main.py", "/ui/..%2fpyproject.toml", "/ui/%00"])
async def test_nothing_outside_the_frontend_is_served(client: httpx2.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_a_bad_range_gets_the_whole_file(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/ui/index.html", headers={"Range": "bytes=99999-1"})
    assert answer.status_code == 200


async def test_a_transaction_is_committed_before_the_answer_leaves(probe: FastAPI, state: AppState) -> None:
    async def write(connection: Transaction) -> str:
        await connection.execute(MARK, {"mark": "committed"})
        return "written"

    path = add_route(probe, write, methods=["POST"])
    seen_when_the_answer_began: list[int] = []

    async def observed(scope: Any, receive: Any, send: Any) -> None:
        async def observe(message: Any) -> None:
            if message["type"] == "http.response.start":
                async with state.database.autocommit() as connection:
                    seen_when_the_answer_began.append(
                        (await connection.execute(COUNT_MARKS, {"mark": "committed"})).scalar_one()
                    )
            await send(message)

        await probe(scope, receive, observe)

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(observed), base_url="http://service.test") as client:
        assert (await client.post(path)).status_code == 200
    assert seen_when_the_answer_began == [1]


@pytest.mark.parametrize("failure", [NotFound(), RuntimeError("no")])
async def test_a_transaction_is_rolled_back_by_any_failure(probe: FastAPI, state: AppState, failure: Exception) -> None:
    async def write(connection: Transaction) -> None:
        await connection.execute(MARK, {"mark": "rolled back"})
        raise failure

    async with browser(probe) as client:
        await client.post(add_route(probe, write, methods=["POST"]))
    async with state.database.autocommit() as connection:
        assert (await connection.execute(COUNT_MARKS, {"mark": "rolled back"})).scalar_one() == 0


async def test_no_request_holds_two_connections(
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]],
    settings: Settings,
    user: Person,
    token_for: Callable[[Person], Awaitable[str]],
) -> None:
    """With a pool of two, twenty requests that each held one and waited for another would wait for ever."""

    async def whoami(user: SignedInUser, connection: Transaction) -> int:
        await connection.execute(text("SELECT pg_sleep(0.002)"))
        return user.user_id

    async with start_service(settings.model_copy(update={"database_pool_size": 2})) as app:
        path = add_route(app, whoami)
        async with browser(app, token=await token_for(user)) as client:
            answers = await asyncio.gather(*(client.get(path) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_stream_holds_no_connection(
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]],
    settings: Settings,
    user: Person,
    token_for: Callable[[Person], Awaitable[str]],
) -> None:
    token = await token_for(user)
    async with (
        start_service(settings.model_copy(update={"database_pool_size": 2})) as app,
        open_stream(app, "/api/v1/events", token=token),
        open_stream(app, "/api/v1/events", token=token),
        open_stream(app, "/api/v1/events", token=token),
        browser(app, token=token) as client,
    ):
        assert (await client.get("/api/v1/auth/me")).status_code == 200


async def test_rights_are_in_the_signature(
    probe: FastAPI, user: Person, admin: Person, token_for: Callable[[Person], Awaitable[str]]
) -> None:
    async def for_admins(admin: AdminUser) -> int:
        return admin.user_id

    path = add_route(probe, for_admins)

    async def ask(token: str | None) -> httpx2.Response:
        async with browser(probe, token=token) as client:
            return await client.get(path)

    assert (await ask(None)).json()["code"] == "not-authenticated"
    assert (await ask("nonsense")).json()["code"] == "not-authenticated"
    assert (await ask(await token_for(user))).json()["code"] == "admin-required"
    assert (await ask(await token_for(admin))).json() == admin.id


async def test_now_is_the_services_own_clock(probe: FastAPI, clock: FakeClock) -> None:
    async def tell(now: Now) -> str:
        return now.isoformat()

    path = add_route(probe, tell)
    clock.advance(days=400)
    async with browser(probe) as client:
        assert (await client.get(path)).json() == "2027-04-14T12:00:00+00:00"


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ("", "192.0.2.10", "203.0.113.5", "192.0.2.10"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.0/8", "10.0.0.1", "198.51.100.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.0/8", "10.0.0.1", "203.0.113.5, 10.0.0.2", "203.0.113.5"),
        ("10.0.0.0/8", "10.0.0.1", "not an address", "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.0/8", "192.0.2.10", "10.0.0.9", "192.0.2.10"),
        ("", "::ffff:192.0.2.10", "", "192.0.2.10"),
        ("", "2001:db8::1", "", "2001:db8::1"),
        ("", "/run/service.sock", "", UNKNOWN_ADDRESS),
    ],
)
async def test_the_clients_address_is_the_peers_unless_a_trusted_proxy_speaks(
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]],
    settings: Settings,
    trusted: str,
    peer: str,
    forwarded: str,
    address: str,
) -> None:
    async def tell(address: ClientAddress) -> str:
        return address

    trusting = Settings(_env_file=None, **{**settings.model_dump(), "trusted_proxies": trusted})
    async with start_service(trusting) as app:
        path = add_route(app, tell)
        async with browser(app, address=peer) as client:
            headers = {"X-Forwarded-For": forwarded} if forwarded else {}
            assert (await client.get(path, headers=headers)).json() == address


async def test_a_read_leaves_no_transaction_open(probe: FastAPI) -> None:
    async def read(connection: Autocommit) -> bool:
        first = (await connection.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one()
        return first != (await connection.execute(text("SELECT pg_current_xact_id()::text"))).scalar_one()

    async with browser(probe) as client:
        assert (await client.get(add_route(probe, read))).json() is True


async def test_basic_and_other_schemes_are_no_token(app: FastAPI, user: Person) -> None:
    basic = base64.b64encode(f"{user.email}:{user.password}".encode()).decode()
    async with browser(app, Authorization=f"Basic {basic}") as client:
        assert (await client.get("/api/v1/auth/me")).status_code == 401


async def test_a_stream_ends_when_the_service_is_told_to_stop(
    start_service: Callable[[Settings], AbstractAsyncContextManager[FastAPI]], settings: Settings
) -> None:
    async def forever() -> AsyncIterator[str]:
        while True:
            yield "still here"
            await asyncio.sleep(3600)

    async with start_service(settings) as app:
        path = add_route(app, forever, response_class=EventSourceResponse)
        drain = next(layer.kwargs["drain"] for layer in app.user_middleware if "drain" in layer.kwargs)
        async with open_stream(app, path) as stream:
            assert await stream.read_until() == b'data: "still here"\n\n'
            drain.begin()
            assert await stream.read_to_end() == b""
