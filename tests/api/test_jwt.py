"""Access tokens that somebody else made, or changed. Each of them is refused like no token at all."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx2
import jwt
import pytest

from app.api.state import AppState
from app.core.security import CLAIMS, RefreshToken
from tests.conftest import BEGINNING, SECRET, FakeClock
from tests.factories import Person, sign_in

pytestmark = pytest.mark.anyio

MOMENT = int(BEGINNING.timestamp())

Claims = dict[str, Any]


@pytest.fixture
async def token(user: Person, token_for: Callable[[Person], Awaitable[str]]) -> str:
    """A good one, to be spoiled."""
    return await token_for(user)


@pytest.fixture
def claims(token: str) -> Claims:
    good: Claims = jwt.decode(token, options={"verify_signature": False})
    return good


async def status_of(client: httpx2.AsyncClient, token: str | bytes) -> int:
    value = b"Bearer " + (token if isinstance(token, bytes) else token.encode())
    answer = await client.get("/api/v1/auth/me", headers={"Authorization": value})
    if answer.status_code == 401:
        assert answer.json()["code"] == "not-authenticated"
    return answer.status_code


def signed(claims: Claims, key: str = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers=header or None)


def segment(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


async def test_a_token_made_here_is_good(client: httpx2.AsyncClient, token: str, claims: Claims) -> None:
    assert claims.keys() == set(CLAIMS)
    assert not claims.keys() & {"role", "is_admin", "email"}
    assert await status_of(client, token) == 200
    assert await status_of(client, signed(claims)) == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, "HS256", "HS384", "RS256", ["HS256"]])
async def test_a_token_without_a_signature_is_refused(
    client: httpx2.AsyncClient, claims: Claims, algorithm: object
) -> None:
    unsigned = f"{segment({'alg': algorithm, 'typ': 'JWT'})}.{segment(claims)}."
    assert await status_of(client, unsigned) == 401
    assert await status_of(client, unsigned.rstrip(".")) == 401


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
async def test_another_algorithm_under_the_right_key_is_refused(
    client: httpx2.AsyncClient, claims: Claims, algorithm: str
) -> None:
    long_enough = SECRET * 2
    assert await status_of(client, signed(claims, long_enough, algorithm)) == 401
    header, payload = segment({"alg": algorithm, "typ": "JWT"}), segment(claims)
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    mac = hmac.digest(SECRET.encode(), f"{header}.{payload}".encode(), digest)
    signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    assert await status_of(client, f"{header}.{payload}.{signature}") == 401


@pytest.mark.parametrize("key", [SECRET[:-1] + "x", SECRET.lower(), SECRET + " ", "x" * 32])
async def test_another_key_is_refused(client: httpx2.AsyncClient, claims: Claims, key: str) -> None:
    assert await status_of(client, signed(claims, key)) == 401


@pytest.mark.parametrize(
    "header",
    [{"jwk": {"kty": "oct", "k": "eHh4"}}, {"jku": "http://192.0.2.1/keys"}, {"kid": "../../dev/null"}, {"x5u": "x"}],
)
async def test_a_key_that_the_token_brings_along_is_not_used(
    client: httpx2.AsyncClient, claims: Claims, header: dict[str, object]
) -> None:
    assert await status_of(client, signed(claims, "x" * 32, **header)) == 401


@pytest.mark.parametrize("claim", CLAIMS)
async def test_every_claim_is_required(client: httpx2.AsyncClient, claims: Claims, claim: str) -> None:
    assert await status_of(client, signed({name: value for name, value in claims.items() if name != claim})) == 401
    if claim not in ("iss", "sub"):  # PyJWT itself refuses to sign these as null
        assert await status_of(client, signed(claims | {claim: None})) == 401


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", "somebody-else"),
        ("aud", "another-api"),
        ("aud", ["gpu-task-manager-api"]),
        ("aud", ["gpu-task-manager-api", "another-api"]),
        ("typ", "refresh"),
        ("typ", "ACCESS"),
        ("typ", 1),
        ("sub", "0"),
        ("sub", "-1"),
        ("sub", "01"),
        ("sub", "1 OR 1=1"),
        ("sub", "۱"),
        ("sub", ""),
        ("sub", "9" * 30),
        ("sid", "not a uuid"),
        ("sid", ""),
        ("sid", 7),
        ("sid", "26ab7323-419f-4e89-b01e-23b7e2380b68"),
        ("sid", "00000000-0000-0000-0000-000000000000"),
        ("tv", 0),
        ("tv", 2),
        ("tv", -1),
        ("tv", "1"),
        ("tv", 1.0),
        ("tv", True),
        ("tv", 2**64),
        ("tv", [1]),
        ("jti", 7),
        ("exp", MOMENT - 5),
        ("exp", str(MOMENT + 900)),
        ("exp", MOMENT + 900.0),
        ("exp", True),
        ("exp", 10**30),
        ("nbf", MOMENT + 6),
        ("nbf", "now"),
        ("nbf", -(10**30)),
        ("iat", MOMENT + 6),
        ("iat", "now"),
        ("iat", {}),
    ],
)
async def test_a_wrong_claim_under_a_right_signature_is_refused(
    client: httpx2.AsyncClient, claims: Claims, claim: str, value: object
) -> None:
    assert await status_of(client, signed(claims | {claim: value})) == 401


async def test_a_subject_that_is_a_number_is_refused(client: httpx2.AsyncClient, claims: Claims) -> None:
    """PyJWT will not sign one, so it is signed by hand."""
    head, body = segment({"alg": "HS256", "typ": "JWT"}), segment(claims | {"sub": int(claims["sub"])})
    mac = hmac.digest(SECRET.encode(), f"{head}.{body}".encode(), "sha256")
    signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    assert await status_of(client, f"{head}.{body}.{signature}") == 401


async def test_a_payload_that_is_no_object_is_refused(client: httpx2.AsyncClient) -> None:
    for body in ([], "text", 7, None, {"a": {"b": [{}]}}):
        head, payload = segment({"alg": "HS256", "typ": "JWT"}), segment(body)
        mac = hmac.digest(SECRET.encode(), f"{head}.{payload}".encode(), "sha256")
        signature = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
        assert await status_of(client, f"{head}.{payload}.{signature}") == 401


async def test_the_token_of_another_user_s_session_is_refused(
    client: httpx2.AsyncClient, claims: Claims, admin: Person
) -> None:
    assert await status_of(client, signed(claims | {"sub": str(admin.id)})) == 401


async def test_a_token_expires_by_the_service_s_clock(client: httpx2.AsyncClient, token: str, clock: FakeClock) -> None:
    clock.advance(minutes=15, seconds=4)
    assert await status_of(client, token) == 200
    clock.advance(seconds=1)
    assert await status_of(client, token) == 401
    clock.advance(-timedelta(minutes=15, seconds=11))
    assert await status_of(client, token) == 401


async def test_a_refresh_token_is_no_access_token(client: httpx2.AsyncClient, state: AppState, user: Person) -> None:
    signed_in = await sign_in(state, user)
    assert isinstance(signed_in.refresh_token, RefreshToken)
    assert await status_of(client, str(signed_in.refresh_token)) == 401


async def test_every_changed_bit_is_noticed(client: httpx2.AsyncClient, token: str) -> None:
    """One bit of each character; a character that is no base64url any more is covered as well."""
    characters = token.encode("ascii")
    for position in range(len(characters)):
        changed = bytearray(characters)
        changed[position] ^= 1
        assert await status_of(client, bytes(changed)) == 401, position


async def test_every_bit_of_the_last_character_counts(client: httpx2.AsyncClient, token: str) -> None:
    """Two bits of it belong to no byte of the signature, and a lax reader would take four spellings."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in alphabet.replace(token[-1], ""):
        assert await status_of(client, token[:-1] + other) == 401


@pytest.mark.parametrize(
    "value", ["", "x", ".", "..", "...", "a.b.c", "x" * 5000, "é.é.é", "null", "{}", "eyJhbGciOiJIUzI1NiJ9..", "\t"]
)
async def test_anything_else_is_refused(client: httpx2.AsyncClient, value: str) -> None:
    assert await status_of(client, value) == 401


@pytest.mark.parametrize("header", ["Basic dXNlcjpwYXNz", "bearer", "Token abc", "Bearer"])
async def test_another_scheme_is_refused(client: httpx2.AsyncClient, header: str) -> None:
    assert (await client.get("/api/v1/auth/me", headers={"Authorization": header})).status_code == 401


async def test_a_token_elsewhere_than_in_the_header_does_not_count(client: httpx2.AsyncClient, token: str) -> None:
    assert (await client.get("/api/v1/auth/me", headers={"Cookie": f"access_token={token}"})).status_code == 401
    assert (await client.get(f"/api/v1/auth/me?access_token={token}")).status_code in (401, 422)
