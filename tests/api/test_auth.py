"""Signing up, signing in and staying signed in, over HTTP."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http.cookies import Morsel, SimpleCookie
from ipaddress import ip_network
from typing import Any

import bcrypt
import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from app.api.state import AppState
from app.core.config import Settings
from app.core.security import WAITING_LIMIT
from tests.conftest import FakeClock, browser
from tests.factories import PASSWORD, Person, make_user

pytestmark = pytest.mark.anyio

StartService = Callable[[Settings], AbstractAsyncContextManager[FastAPI]]

OURS = {"X-GTM-Request": "1"}
REQUEST = {"X-Request-ID": "0123456789abcdef0123456789abcdef"}


async def login(client: httpx2.AsyncClient, email: str, password: str = PASSWORD, **headers: str) -> httpx2.Response:
    return await client.post("/api/v1/auth/login", data={"username": email, "password": password}, headers=headers)


async def sign_in(client: httpx2.AsyncClient, person: Person) -> dict[str, str]:
    """Leaves the cookie in the client, and returns the header of an access token."""
    answer = await login(client, person.email)
    assert answer.status_code == 200, answer.text
    return bearer(answer)


def bearer(answer: httpx2.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def cookie_of(answer: httpx2.Response) -> Morsel[str]:
    [header] = answer.headers.get_list("set-cookie")
    [morsel] = SimpleCookie(header).values()
    return morsel


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v1/auth/me"), ("PATCH", "/api/v1/auth/me"), ("POST", "/api/v1/auth/password")],
)
async def test_nobody_in_particular_has_no_account(client: httpx2.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, json={})
    assert answer.status_code == 401
    assert answer.json()["code"] == "not-authenticated"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_registering_answers_the_account_without_a_token(client: httpx2.AsyncClient) -> None:
    answer = await client.post(
        "/api/v1/auth/register",
        json={"email": "Sara@Example.COM", "password": PASSWORD, "full_name": "  سارا محمدي  "},
    )
    assert answer.status_code == 201
    account = answer.json()
    assert account.pop("id") > 0
    assert account.pop("created_at") == account.pop("updated_at") == "2026-03-10T12:00:00Z"
    assert account == {
        "email": "sara@example.com",
        "full_name": "سارا محمدی",
        "is_admin": False,
        "is_active": True,
        "locale": None,
    }
    assert "set-cookie" not in answer.headers


async def test_a_taken_address_is_a_conflict(client: httpx2.AsyncClient, user: Person) -> None:
    answer = await client.post("/api/v1/auth/register", json={"email": user.email.upper(), "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (409, "email-taken")
    assert user.email not in answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "no address"),
        ("email", "sara@lab.local"),
        ("email", None),
        ("email", 7),
        ("password", "seven_7"),
        ("password", "password123"),
        ("password", "x1" * 65),
        ("password", 12345678),
        ("password", None),
        ("full_name", ""),
        ("full_name", "x" * 201),
        ("full_name", "two\nlines"),
        ("full_name", "nul\x00"),
        ("full_name", ["Sara"]),
    ],
)
async def test_a_refused_field_is_named_and_never_repeated(
    client: httpx2.AsyncClient, field: str, value: object
) -> None:
    body = {"email": "sara@example.com", "password": PASSWORD, "full_name": "Sara"} | {field: value}
    answer = await client.post("/api/v1/auth/register", json=body)
    assert answer.status_code == 422
    assert [problem["pointer"] for problem in answer.json()["errors"]] == [f"/{field}"]
    if isinstance(value, str) and value:
        assert value not in answer.text


async def test_a_common_password_is_refused_with_the_reason(client: httpx2.AsyncClient) -> None:
    answer = await client.post(
        "/api/v1/auth/register",
        json={"email": "sara@example.com", "password": "گذرواژه1234"},
        headers={"Accept-Language": "en"},
    )
    assert (answer.json()["code"], answer.json()["rule"]) == ("password-refused", "common")
    assert "lists that attackers try first" in answer.json()["errors"][0]["message"]


FORBIDDEN = {
    "id": 1,
    "is_admin": True,
    "is_active": True,
    "token_version": 9,
    "password_hash": "x",
    "created_at": "2020-01-01T00:00:00Z",
    "status": "COMPLETED",
    "user_id": 1,
    "reserved_seconds": 0,
    "used_seconds": 0,
    "role": "admin",
}


@pytest.mark.parametrize("field", FORBIDDEN)
async def test_nobody_gives_themselves_what_they_may_not_have(
    client: httpx2.AsyncClient, as_user: httpx2.AsyncClient, user: Person, state: AppState, field: str
) -> None:
    extra = {field: FORBIDDEN[field]}
    answers = [
        await client.post("/api/v1/auth/register", json={"email": "new@example.com", "password": PASSWORD} | extra),
        await as_user.patch("/api/v1/auth/me", json={"full_name": "New name"} | extra),
        await as_user.post(
            "/api/v1/auth/password", json={"current_password": PASSWORD, "new_password": PASSWORD + "!"} | extra
        ),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert [problem["pointer"] for problem in answer.json()["errors"]] == [f"/{field}"]
    async with state.database.autocommit() as connection:
        rows = (await connection.execute(text("SELECT id, full_name, is_admin, token_version FROM users"))).all()
    assert [tuple(row) for row in rows] == [(user.id, user.full_name, False, 1)]


async def test_signing_in_answers_a_token_and_a_cookie(client: httpx2.AsyncClient, user: Person) -> None:
    answer = await login(client, user.email.upper())
    assert answer.status_code == 200
    facts_of_the_engine = {"executor", "places_gpus", "jobs_run_as_service", "jobs_share_a_user", "clock_rate"}
    assert answer.json().keys() == {"access_token", "token_type", "expires_in", "user", *facts_of_the_engine}
    assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("bearer", 900)
    cookie = cookie_of(answer)
    assert cookie.key == "gtm_refresh"
    assert (cookie["path"], cookie["samesite"].lower(), cookie["max-age"]) == ("/api/v1/auth", "strict", "604800")
    assert cookie["httponly"]
    assert not cookie["secure"]
    assert not cookie["domain"]
    assert cookie.value not in answer.text
    me = await client.get("/api/v1/auth/me", headers=bearer(answer))
    assert (me.status_code, me.json()["email"]) == (200, user.email)
    assert answer.json()["user"] == me.json()


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://test"])
async def test_a_form_of_another_page_leaves_the_browser_signed_in_as_it_was(
    client: httpx2.AsyncClient, user: Person, origin: str
) -> None:
    answer = await login(client, user.email, Origin=origin)
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    ours = await login(client, user.email, Origin=origin, **OURS)
    assert cookie_of(ours).key == "gtm_refresh"


async def test_the_oauth2_fields_of_other_clients_are_accepted(client: httpx2.AsyncClient, user: Person) -> None:
    form = {
        "grant_type": "password",
        "username": user.email,
        "password": PASSWORD,
        "scope": "",
        "client_id": "string",
        "client_secret": "string",
    }
    assert (await client.post("/api/v1/auth/login", data=form)).status_code == 200


@pytest.mark.parametrize("form", [{"grant_type": "password"}, {"username": "a@example.com"}, {"password": "x"}])
async def test_a_sign_in_without_name_or_password_is_no_sign_in(
    client: httpx2.AsyncClient, form: dict[str, str]
) -> None:
    assert (await client.post("/api/v1/auth/login", data=form)).status_code == 422


async def test_digits_in_passwords_are_not_folded(client: httpx2.AsyncClient, state: AppState) -> None:
    person = await make_user(state, password="پلاک ۱۲۳ خیابان")
    assert (await login(client, person.email, "پلاک 123 خیابان")).status_code == 401
    assert (await login(client, person.email, "پلاک ۱۲۳ خیابان")).status_code == 200


async def test_all_refused_sign_ins_are_the_same_to_the_byte_and_cost_the_same(
    client: httpx2.AsyncClient, state: AppState, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    disabled = await make_user(state)
    async with state.database.autocommit() as connection:
        await connection.execute(text("UPDATE users SET is_active = false WHERE id = :id"), {"id": disabled.id})
    runs: list[bytes] = []
    check = bcrypt.checkpw
    monkeypatch.setattr(bcrypt, "checkpw", lambda given, stored: runs.append(stored[:7]) or check(given, stored))  # type: ignore[func-returns-value]
    tries = [
        (user.email, "wrong"),
        ("unknown@example.com", PASSWORD),
        ("no address", PASSWORD),
        (disabled.email, PASSWORD),
        (user.email, "و" * 5000),
        ("x" * 5000, "\x00"),
    ]
    answers = [await login(client, *attempt, **REQUEST) for attempt in tries]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert len({frozenset(answer.headers.items()) for answer in answers}) == 1
    assert len(runs) == len(tries)
    assert len(set(runs)) == 1


async def test_too_many_failures_are_told_to_wait(client: httpx2.AsyncClient, user: Person, clock: FakeClock) -> None:
    for _ in range(10):
        assert (await login(client, user.email, "wrong")).status_code == 401
    answer = await login(client, user.email)
    assert (answer.status_code, answer.json()["code"]) == (429, "too-many-attempts")
    assert answer.headers["retry-after"] == "300"
    clock.advance(minutes=5)
    assert (await login(client, user.email)).status_code == 200


async def test_a_forwarded_address_of_nobody_trusted_is_not_believed(app: FastAPI, user: Person) -> None:
    async with browser(app) as client:
        for number in range(10):
            await login(client, f"unknown{number}@example.com", **{"X-Forwarded-For": f"198.51.100.{number}"})
        answer = await login(client, user.email, **{"X-Forwarded-For": "198.51.100.77"})
    assert answer.status_code == 429


async def test_renewing_takes_the_cookie_and_replaces_it(
    client: httpx2.AsyncClient, user: Person, clock: FakeClock
) -> None:
    first = await login(client, user.email)
    clock.advance(seconds=31)
    second = await client.post("/api/v1/auth/refresh", headers=OURS)
    assert second.status_code == 200
    assert second.json()["expires_in"] == 900
    assert cookie_of(second).value != cookie_of(first).value
    for answer in (first, second):
        me = await client.get("/api/v1/auth/me", headers=bearer(answer))
        assert (me.status_code, me.json()) == (200, second.json()["user"])


async def test_a_renewal_tells_who_is_there_now(as_admin: httpx2.AsyncClient, app: FastAPI, user: Person) -> None:
    """A page needs one call to know the person, whose rights and name may have changed since signing in."""
    async with browser(app) as client:
        assert (await login(client, user.email)).json()["user"]["is_admin"] is False
        change = {"is_admin": True, "full_name": "Neda"}
        await as_admin.patch(f"/api/v1/admin/users/{user.id}", json=change)
        renewed = (await client.post("/api/v1/auth/refresh", headers=OURS)).json()
    assert {name: renewed["user"][name] for name in change} == change


async def test_reloading_again_and_again_signs_nobody_out(
    client: httpx2.AsyncClient, user: Person, clock: FakeClock
) -> None:
    """Each reload gives up the request before it: the service has answered, and the browser has not heard it."""
    await login(client, user.email)
    for _ in range(3):
        clock.advance(minutes=15)
        shown = {"Cookie": f"gtm_refresh={client.cookies['gtm_refresh']}"}
        client.cookies.clear()
        for _ in range(5):
            lost = await client.post("/api/v1/auth/refresh", headers=OURS | shown)
            assert lost.status_code == 200
            client.cookies.clear()
            clock.advance(seconds=1)
        heard = await client.post("/api/v1/auth/refresh", headers=OURS | shown)
        assert cookie_of(heard).value == cookie_of(lost).value
        assert (await client.get("/api/v1/auth/me", headers=bearer(heard))).status_code == 200


async def test_two_tabs_that_renew_at_once_both_go_on(
    client: httpx2.AsyncClient, user: Person, clock: FakeClock
) -> None:
    """They share one jar of cookies, in which the last answer wins."""
    await login(client, user.email)
    for _ in range(3):
        clock.advance(minutes=15)
        shown = {"Cookie": f"gtm_refresh={client.cookies['gtm_refresh']}"}
        client.cookies.clear()
        tabs = await asyncio.gather(*(client.post("/api/v1/auth/refresh", headers=OURS | shown) for _ in range(2)))
        assert len({cookie_of(tab).value for tab in tabs}) == 1
        for tab in tabs:
            assert (await client.get("/api/v1/auth/me", headers=bearer(tab))).status_code == 200


async def test_a_stolen_cookie_signs_out_thief_and_owner(
    client: httpx2.AsyncClient, user: Person, clock: FakeClock
) -> None:
    stolen = {"Cookie": f"gtm_refresh={cookie_of(await login(client, user.email)).value}"}
    clock.advance(seconds=31)
    owner = await client.post("/api/v1/auth/refresh", headers=OURS)
    owners_cookie = {"Cookie": f"gtm_refresh={cookie_of(owner).value}"}
    clock.advance(seconds=31)
    client.cookies.clear()
    assert (await client.post("/api/v1/auth/refresh", headers=OURS | stolen)).status_code == 401
    assert (await client.post("/api/v1/auth/refresh", headers=OURS | owners_cookie)).status_code == 401
    assert (await client.get("/api/v1/auth/me", headers=bearer(owner))).status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/auth/refresh", "/api/v1/auth/logout"])
@pytest.mark.parametrize("headers", [{}, {"X-GTM-Request": ""}, {"X-GTM-Request": "2"}])
async def test_the_cookie_alone_does_nothing(
    client: httpx2.AsyncClient, user: Person, path: str, headers: dict[str, str]
) -> None:
    token = await sign_in(client, user)
    answer = await client.post(path, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/X-GTM-Request"
    assert (await client.get("/api/v1/auth/me", headers=token)).status_code == 200
    assert (await client.post("/api/v1/auth/refresh", headers=OURS)).status_code == 200


@pytest.mark.parametrize("cookie", [None, "", "x", "A" * 64, "A" * 5000, '"'])
async def test_without_a_cookie_of_ours_there_is_nothing_to_renew(
    client: httpx2.AsyncClient, cookie: str | None
) -> None:
    sent = {} if cookie is None else {"Cookie": f"gtm_refresh={cookie}"}
    answer = await client.post("/api/v1/auth/refresh", headers=OURS | sent)
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")
    assert (await client.post("/api/v1/auth/logout", headers=OURS | sent)).status_code == 204


async def test_signing_out_ends_token_and_cookie_at_once(client: httpx2.AsyncClient, user: Person) -> None:
    token = await sign_in(client, user)
    shown = {"Cookie": f"gtm_refresh={client.cookies['gtm_refresh']}"}
    answer = await client.post("/api/v1/auth/logout", headers=OURS)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (cookie_of(answer).value, cookie_of(answer)["max-age"]) == ("", "0")
    assert (await client.get("/api/v1/auth/me", headers=token)).status_code == 401
    assert (await client.post("/api/v1/auth/refresh", headers=OURS | shown)).status_code == 401


async def test_over_tls_the_cookie_is_secure(app: FastAPI, user: Person) -> None:
    transport = httpx2.ASGITransport(app, client=("192.0.2.10", 50000))
    async with httpx2.AsyncClient(transport=transport, base_url="https://service.test") as client:
        cookie = cookie_of(await login(client, user.email))
        assert cookie.key == "__Secure-gtm_refresh"
        assert cookie["secure"]
        assert (await client.post("/api/v1/auth/refresh", headers=OURS)).status_code == 200


@pytest.mark.parametrize(
    ("address", "scheme", "is_secure"),
    [
        ("192.0.2.10", "https", True),
        ("192.0.2.10", "http, https", True),
        ("192.0.2.10", "http", False),
        ("192.0.2.99", "https", False),
        ("a socket", "https", False),
    ],
)
async def test_a_trusted_proxy_says_whether_the_connection_was_encrypted(
    state: AppState, start_service: Any, user: Person, address: str, scheme: str, is_secure: bool
) -> None:
    settings = state.settings.model_copy(update={"trusted_proxies": (ip_network("192.0.2.10/32"),)})
    async with (
        start_service(settings) as app,
        browser(app, address=address, **{"X-Forwarded-Proto": scheme}) as client,
    ):
        cookie = cookie_of(await login(client, user.email))
    assert bool(cookie["secure"]) is is_secure
    assert cookie.key.startswith("__Secure-") is is_secure


async def test_people_change_their_own_name_and_language(as_user: httpx2.AsyncClient) -> None:
    changed = await as_user.patch("/api/v1/auth/me", json={"full_name": "سارا", "locale": "fa"})
    assert (changed.json()["full_name"], changed.json()["locale"]) == ("سارا", "fa")
    assert (await as_user.patch("/api/v1/auth/me", json={})).json() == changed.json()
    cleared = await as_user.patch("/api/v1/auth/me", json={"locale": None})
    assert (cleared.json()["full_name"], cleared.json()["locale"]) == ("سارا", None)
    assert (await as_user.get("/api/v1/auth/me")).json() == cleared.json()
    assert (await as_user.patch("/api/v1/auth/me", json={"locale": "de"})).status_code == 422


async def test_changing_the_password_refuses_older_tokens_and_keeps_this_session(
    app: FastAPI, client: httpx2.AsyncClient, user: Person
) -> None:
    token = await sign_in(client, user)
    async with browser(app) as elsewhere:
        token_elsewhere = await sign_in(elsewhere, user)
        body = {"current_password": PASSWORD, "new_password": "گذرواژهٔ تازهٔ من"}
        answer = await client.post("/api/v1/auth/password", json=body, headers=token)
        assert (answer.status_code, answer.content) == (204, b"")
        for old in (token, token_elsewhere):
            assert (await client.get("/api/v1/auth/me", headers=old)).status_code == 401
        assert (await elsewhere.post("/api/v1/auth/refresh", headers=OURS)).status_code == 401
    renewed = await client.post("/api/v1/auth/refresh", headers=OURS)
    assert (await client.get("/api/v1/auth/me", headers=bearer(renewed))).status_code == 200
    assert (await login(client, user.email)).status_code == 401
    assert (await login(client, user.email, "گذرواژهٔ تازهٔ من")).status_code == 200


async def test_a_wrong_current_password_is_told_at_its_field(as_user: httpx2.AsyncClient) -> None:
    body = {"current_password": "wrong", "new_password": "گذرواژهٔ تازهٔ من"}
    answer = await as_user.post("/api/v1/auth/password", json=body)
    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["rule"]) == ("password-refused", "wrong")
    assert [problem["pointer"] for problem in answer.json()["errors"]] == ["/current_password"]
    assert (await as_user.get("/api/v1/auth/me")).status_code == 200


async def test_more_passwords_than_can_wait_are_turned_away_for_a_moment(
    client: httpx2.AsyncClient, state: AppState, user: Person
) -> None:
    release = threading.Event()
    places = (os.cpu_count() or 1) + WAITING_LIMIT
    others = [asyncio.create_task(state.passwords._run(release.wait)) for _ in range(places)]
    await asyncio.sleep(0)
    answer = await login(client, user.email)
    release.set()
    await asyncio.gather(*others)
    assert (answer.status_code, answer.json()["code"]) == (503, "service-busy")
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.usefixtures("database")
class TestWhoCanRegister:
    @staticmethod
    async def register(app: FastAPI, email: str) -> httpx2.Response:
        async with browser(app) as client:
            return await client.post("/api/v1/auth/register", json={"email": email, "password": PASSWORD})

    async def test_where_registration_is_closed_nobody_does(
        self, settings: Settings, start_service: StartService
    ) -> None:
        async with start_service(settings.model_copy(update={"registration": "closed"})) as app:
            answer = await self.register(app, "sara@example.org")
            async with browser(app) as client:
                about = (await client.get("/api/v1/about")).json()
        assert (answer.status_code, answer.json()["code"]) == (403, "registration-closed")
        assert about["registration"] == "closed"

    @pytest.mark.parametrize(
        ("email", "status"),
        [
            ("sara@example.org", 201),
            ("Sara@LAB.example.com", 201),
            ("sara@lab.example.org", 422),
            ("sara@example.org.evil.com", 422),
            ("example.org@evil.com", 422),
        ],
    )
    async def test_of_some_domains_only_their_people_do(
        self, settings: Settings, start_service: StartService, email: str, status: int
    ) -> None:
        domains = {"registration": "domains", "registration_domains": ("example.org", "lab.example.com")}
        async with start_service(settings.model_copy(update=domains)) as app:
            answer = await self.register(app, email)
        assert answer.status_code == status, answer.text
        if status == 422:
            assert answer.json()["code"] == "email-domain-refused"
            assert answer.json()["errors"][0]["pointer"] == "/email"
            assert "example.org" in answer.json()["detail"]

    async def test_domains_have_to_be_named_and_to_be_domains(self) -> None:
        usual = {"_env_file": None, "registration": "domains"}
        assert Settings(**usual, registration_domains="xn--bcher-kva.example").registration_domains == (
            "bücher.example",
        )
        assert Settings(**usual, registration_domains="Example.org, lab.ir").registration_domains == (
            "example.org",
            "lab.ir",
        )
        for wrong in ("", "example", "@example.org", "a b.org"):
            with pytest.raises(ValueError, match=r"(?i)registration.domains"):
                Settings(**usual, registration_domains=wrong)
