"""Whatever a client sends, the answer is a refusal that does not repeat it, or it is kept just as it was sent."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI

from app.api.state import AppState
from app.core.clock import Clock
from app.core.config import Settings
from app.main import create_app
from tests.api.nasty import CANARY, EXACT, MARKED, RAW_BODIES, VALUES, dealt
from tests.api.operations import BODIES, FORMS, HEADERS, Operation, a_place_for, operations_of
from tests.conftest import FakeClock, browser
from tests.factories import PASSWORD, Person, make_fleet, make_user, sign_in
from tests.streams import open_stream

pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
SPEAKABLE = re.compile(r"[A-Za-z0-9_-]{1,64}")
ON_THE_WIRE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
"""What servers let pass in the value of a header."""

EMPTY_BODIES = (b"", b"null", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}")
"""No object, or one without fields: enough where no field is required."""

Body = dict[str, Any]
Headers = dict[str, bytes]


@pytest.fixture(scope="module")
async def lenient(settings: Settings, _session_clock: Clock) -> AsyncIterator[FastAPI]:
    """A service that nobody exhausts: neither the throttle nor the quota ends an experiment."""
    changes = {
        "login_failure_limit": 1_000_000,
        "default_monthly_gpu_hours": 1_000_000,
        "trusted_proxies": (ip_network("192.0.2.0/24"),),
    }
    app = create_app(settings.model_copy(update=changes), _session_clock)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def app(lenient: FastAPI, database: object, clock: FakeClock) -> FastAPI:  # noqa: ARG001 - emptied, reset
    await make_fleet(lenient.state.gtm)
    return lenient


@dataclass
class Target:
    """One operation, and something for it to act on. `kept` reads back what it has written."""

    operation: Operation
    path: str
    body: Body
    headers: Headers
    kept: Callable[[Any], Awaitable[Body]]
    means_the_same: Mapping[str, Callable[[Any, Any], bool]] = field(default_factory=dict)


class Laboratory:
    """Makes targets, and asks as an admin unless the target is somebody's own."""

    def __init__(self, app: FastAPI, client: httpx2.AsyncClient, admin: Person) -> None:
        self.app = app
        self.client = client
        self.admin = admin
        self.state: AppState = app.state.gtm

    async def target(self, label: str) -> Target:
        """A new one, for an operation with a JSON body."""
        operation = Operation(*label.split(" "))
        owner = await make_user(self.state)
        path = await a_place_for(operation, self.state, owner, self.admin)
        target = Target(operation, path, json.loads(json.dumps(BODIES[label])), {}, self._nothing)
        match label:
            case "POST /api/v1/jobs":
                target.kept = lambda job: self._read(f"/api/v1/jobs/{job['id']}")
                target.means_the_same = {"name": _is_name, "estimated_hours": _is_to_the_second}
            case "POST /api/v1/jobs/{job_id}/cancel":
                target.kept = lambda job: self._last_event(job["id"], "reason")
            case "POST /api/v1/admin/jobs/{job_id}/approve":
                target.kept = lambda job: self._last_event(job["id"], "note")
            case "POST /api/v1/admin/jobs/{job_id}/reject":
                target.kept = lambda job: self._last_event(job["id"], "reason")
                target.means_the_same = {"reason": _is_trimmed}
            case "POST /api/v1/admin/jobs/{job_id}/refund":
                target.kept = lambda _: self._last_entry(owner)
                target.means_the_same = {"reason": _is_trimmed}
            case "POST /api/v1/admin/jobs/decisions":
                place = await a_place_for(Operation("", "{job_id}"), self.state, owner, self.admin)
                target.body["decisions"][0] |= {"job_id": int(place)}
                target.kept = self._decision
            case "POST /api/v1/auth/register":
                target.body["email"] = f"guest{owner.id}@example.com"
                target.kept = lambda user: self._read(f"/api/v1/admin/users/{user['id']}")
                target.means_the_same = {"full_name": _is_name, "email": _is_address, "password": _is_secret}
            case "PATCH /api/v1/auth/me":
                target.headers = await self._authorization(owner)
                target.kept = lambda user: self._read(f"/api/v1/admin/users/{user['id']}")
                target.means_the_same = {"full_name": _is_name}
            case "POST /api/v1/auth/password":
                target.headers = await self._authorization(owner)
                target.kept = lambda _: self._password_of(owner, target)
            case "PATCH /api/v1/admin/users/{user_id}":
                target.kept = lambda user: self._read(f"/api/v1/admin/users/{user['id']}")
                target.means_the_same = {"full_name": _is_name, "is_admin": _is_left_or, "is_active": _is_left_or}
            case "PUT /api/v1/admin/users/{user_id}/quota" | "POST /api/v1/admin/users/{user_id}/quota/adjustments":
                target.kept = lambda _: self._last_entry(owner)
                target.means_the_same = dict.fromkeys(("hours", "limit_hours"), _is_to_the_second) | {
                    "reason": _is_trimmed
                }
            case "POST /api/v1/admin/gpus/{gpu_id}/drain":
                target.kept = self._drained
                target.means_the_same = {"reason": _is_trimmed}
        return target

    async def send(self, target: Target, body: Body) -> httpx2.Response:
        content = json.dumps(body).encode()
        headers = {"Content-Type": b"application/json", **target.headers}
        return await self.client.request(target.operation.method, target.path, content=content, headers=headers)

    async def _authorization(self, person: Person) -> Headers:
        return {"Authorization": f"Bearer {(await sign_in(self.state, person)).access_token}".encode()}

    async def _nothing(self, _: Any) -> Body:
        return {}

    async def _read(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, f"{path} cannot be read any more: {answer.text}"
        return answer.json()

    async def _last_event(self, job_id: int, name: str) -> Body:
        return {name: (await self._read(f"/api/v1/jobs/{job_id}/events"))[-1]["note"]}

    async def _last_entry(self, person: Person) -> Body:
        path = f"/api/v1/admin/users/{person.id}/quota"
        entry = (await self._read(f"{path}/entries?limit=1"))[0]
        limit = (await self._read(path))["limit_hours"]
        return {"reason": entry["note"], "hours": entry["used_hours"], "limit_hours": limit}

    async def _decision(self, results: Any) -> Body:
        [result] = results
        if result["status"] != 200:
            return {}
        job = await self._read(f"/api/v1/jobs/{result['job_id']}")
        verb = {"APPROVED": "approve", "REJECTED": "reject"}[job["status"]]
        decision = {"job_id": job["id"], "action": verb, "note": job["decision_note"]}
        return {f"decisions/0/{name}": value for name, value in decision.items()}

    async def _drained(self, gpu: Any) -> Body:
        [found] = [each for each in await self._read("/api/v1/admin/gpus") if each["id"] == gpu["id"]]
        return {"reason": found["drain_reason"]}

    async def _password_of(self, person: Person, target: Target) -> Body:
        """The new one, if it opens the account."""
        new_password = target.body["new_password"]
        form = {"username": person.email, "password": new_password}
        answer = await self.client.post("/api/v1/auth/login", data=form)
        return {"new_password": new_password} if answer.status_code == 200 else {"new_password": "another one"}


@pytest.fixture
async def lab(app: FastAPI) -> AsyncIterator[Laboratory]:
    state: AppState = app.state.gtm
    admin = await make_user(state, is_admin=True)
    async with browser(app, token=(await sign_in(state, admin)).access_token) as client:
        yield Laboratory(app, client, admin)


@pytest.mark.parametrize("label", BODIES)
async def test_a_field_takes_what_it_keeps_and_refuses_the_rest(lab: Laboratory, label: str) -> None:
    target = await lab.target(label)
    accepted = refused = 0
    first = FIELDS.index((label, next(iter(_fields(target.body)))))
    for number, pointer in enumerate(_fields(target.body), first):
        for value in [*dealt(number, 10), *VALUES[number % 3 :: 3]]:
            body = _with(target.body, pointer, value)
            answer = await lab.send(target, body)
            if answer.status_code >= 400:
                _assert_is_a_refusal(answer, f"{label}, {pointer} = {value!r:.80}")
                refused += 1
                continue
            target.body = body
            kept = await target.kept(answer.json() if answer.content else None)
            if pointer in kept:
                same = target.means_the_same.get(pointer, _is_exactly)
                assert same(value, kept[pointer]), f"{label}: {pointer} = {value!r} is kept as {kept[pointer]!r}"
            accepted += 1
            target = await lab.target(label)
    assert accepted > 0
    assert refused > 15


async def test_every_field_of_every_body_is_among_those_tried(lenient: FastAPI) -> None:
    document = lenient.openapi()
    for label, body in BODIES.items():
        method, path = label.split(" ")
        schema = document["paths"][path][method.lower()]["requestBody"]["content"]["application/json"]["schema"]
        assert _declared(document, schema) == set(_fields(body)), label


@pytest.mark.parametrize("label", [*BODIES, *FORMS])
async def test_a_body_that_is_no_good_is_refused(lab: Laboratory, label: str) -> None:
    operation = Operation(*label.split(" "))
    path = operation.at(job_id=1, user_id=lab.admin.id, gpu_id=1)
    is_form = label in FORMS
    content_type = {"Content-Type": "application/x-www-form-urlencoded" if is_form else "application/json"}
    for body in RAW_BODIES:
        answer = await lab.client.request(operation.method, path, content=body, headers=content_type)
        is_harmless = body in EMPTY_BODIES and answer.status_code < 300
        assert is_harmless or 400 <= answer.status_code < 500, f"{label}, {body!r:.60}: {answer.text}"
    too_large = b'{"name": "' + b"x" * MEBIBYTE + b'"}'
    answer = await lab.client.request(operation.method, path, content=too_large, headers=content_type)
    assert (answer.status_code, answer.json()["code"]) == (413, "content-too-large")


@pytest.mark.parametrize(
    ("content_type", "content"),
    [
        ("application/x-www-form-urlencoded", b"username=%00&password=%00"),
        ("application/x-www-form-urlencoded", b"username=%ed%a0%80&password=%ff%fe"),
        ("application/x-www-form-urlencoded", b"username=a&username=b&password=c&password=d"),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % number for number in range(5000))),
        ("application/x-www-form-urlencoded", b"=&=&==&%&%zz=%zz"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"username=a&password=b"),
        ("application/x-www-form-urlencoded; charset=nonsense", b"username=%C3%A9&password=b"),
        ("multipart/form-data", b"--x\r\n\r\n--x--"),
        ("multipart/form-data; boundary=", b"----"),
        ("multipart/form-data; boundary=x", b"not a part at all"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\na'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\na\r\n'
            b'--x\r\nContent-Disposition: form-data; name="password"; filename="../b"\r\n\r\nb\r\n--x--\r\n',
        ),
        ("multipart/form-data; boundary=" + "x" * 300, b"--" + b"x" * 300),
        ("multipart/form-data; boundary=\xff", b"--\xff"),
    ],
)
async def test_a_form_that_is_no_good_is_refused(lab: Laboratory, content_type: str, content: bytes) -> None:
    headers = {"Content-Type": content_type.encode("latin-1")}
    answer = await lab.client.post("/api/v1/auth/login", content=content, headers=headers)
    _assert_is_a_refusal(answer, content_type)


async def test_the_fields_of_a_sign_in_take_everything_and_repeat_nothing(lab: Laboratory) -> None:
    names = ("username", "password", "grant_type", "scope", "client_id", "client_secret")
    for number, name in enumerate(names):
        for value in dealt(number, 6):
            form = {"username": "sara@example.com", "password": "wrong", name: value}
            content = "&".join(f"{key}={_quoted(text)}" for key, text in form.items())
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = await lab.client.post("/api/v1/auth/login", content=content, headers=headers)
            assert answer.status_code in (401, 422), f"{name} = {value!r:.80}: {answer.text}"
            _assert_is_a_refusal(answer, f"{name} = {value!r:.80}")


async def test_the_name_of_a_field_is_repeated_only_if_it_is_a_plain_word(lab: Laboratory) -> None:
    target = await lab.target("POST /api/v1/jobs")
    for name in [*EXACT, *MARKED]:
        answer = await lab.send(target, {**target.body, name: CANARY})
        assert answer.status_code == 422, f"a field {name!r:.80} is accepted"
        if not SPEAKABLE.fullmatch(name):
            assert CANARY not in answer.text, f"{name!r:.80} is repeated"


async def test_every_parameter_of_every_operation_takes_or_refuses_everything(lab: Laboratory) -> None:
    tried: set[str] = set()
    spots = list(_parameters(lab.app))
    assert len(spots) > 50
    for number, (operation, place, name) in enumerate(spots):
        for value in dealt(number, 20):
            tried.add(value)
            what = f"{operation}, {place} {name} = {value!r:.80}"
            ids = {"job_id": 1, "user_id": lab.admin.id, "gpu_id": 1}
            path = operation.path.format_map({**ids, name: _quoted(value)} if place == "path" else ids)
            query = f"{path}?{name}={_quoted(value)}" if place == "query" else path
            headers = {key: text.encode() for key, text in HEADERS.get(str(operation), {}).items()}
            if place == "header":
                headers |= _header(name, value)
            await _ask(lab, operation, query, headers, what)
    assert tried == {*EXACT, *MARKED}


REQUEST_HEADERS = [
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Authorization",
    "Cache-Control",
    "Content-Type",
    "Cookie",
    "Forwarded",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "Origin",
    "Range",
    "Referer",
    "User-Agent",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Request-ID",
]
ADDRESSES = [
    "fe80::1%eth0", "fe80::1%25eth0", "[::1]:8080", "::ffff:192.0.2.1", "192.0.2.1:80", "0x7f.1", "127.1", "1.2.3.4/8",
    "999.1.1.1", "unknown", "_hidden", "::", "::%", "1.2.3.4, 192.0.2.1", ",", ", ,", "::1, fe80::2%lo, 192.0.2.5",
]  # fmt: skip


@pytest.mark.parametrize("name", REQUEST_HEADERS)
async def test_every_header_takes_or_refuses_everything(lab: Laboratory, name: str) -> None:
    """For a page, a list, and the operation that writes down where its caller came from."""
    registration = BODIES["POST /api/v1/auth/register"]
    values = [*(ADDRESSES if "For" in name else ()), *dealt(REQUEST_HEADERS.index(name), 6)]
    for number, value in enumerate(values):
        header = _header(name, value)
        if not header:
            continue
        what = f"{name}: {value!r:.80}"
        for path in ("/ui/index.html", "/api/v1/jobs"):
            answer = await lab.client.get(path, headers=header)
            assert answer.status_code < 500, f"{what} on {path}: {answer.text}"
            assert answer.status_code < 400 or CANARY not in answer.text, f"{what} on {path} is repeated"
        body = {**registration, "email": f"guest{number}@example.com"}
        answer = await lab.client.post("/api/v1/auth/register", json=body, headers=header)
        expected = (201, 415) if name == "Content-Type" else (201,)
        assert answer.status_code in expected, f"{what}: {answer.text}"


async def test_a_peer_whose_address_has_a_zone_can_sign_up_and_in(lab: Laboratory) -> None:
    """Link-local peers of IPv6 have one, and PostgreSQL's `inet` does not know it."""
    async with browser(lab.app, address="fe80::1%eth0") as client:
        answer = await client.post("/api/v1/auth/register", json=BODIES["POST /api/v1/auth/register"])
        assert answer.status_code == 201, answer.text
        form = {"username": "new@example.com", "password": PASSWORD}
        answer = await client.post("/api/v1/auth/login", data=form)
        assert answer.status_code == 200, answer.text
    entries = (await lab.client.get("/api/v1/admin/audit?action=login.succeeded")).json()
    assert [entry["address"] for entry in entries[:1]] == ["fe80::1"]


async def test_every_path_is_an_address_or_is_not(lab: Laboratory) -> None:
    prefixes = ("/", "/ui/", "/docs/", "/api/v1/", "/api/v1/jobs/1/", "/openapi.json/")
    for number, prefix in enumerate(prefixes):
        for value in dealt(number, 6):
            answer = await lab.client.get(prefix + _quoted(value))
            what = f"{prefix}{value!r:.80}: {answer.status_code}"
            assert answer.status_code in (200, 307, 308, 404, 422), what
            assert answer.status_code < 400 or CANARY not in answer.text, what


@pytest.mark.parametrize("method", ["TRACE", "PROPFIND", "A" * 300, "*"])
async def test_a_made_up_method_is_not_allowed(lab: Laboratory, method: str) -> None:
    for operation in operations_of(lab.app):
        if "{" in operation.path:
            continue
        path = "/ui/index.html" if operation.path == "/ui" else operation.path
        answer = await lab.client.request(method, path)
        assert answer.status_code == 405, f"{method} {path}: {answer.text}"
        assert operation.method in answer.headers["Allow"].split(", ")


async def test_a_page_is_found_under_persian_digits_and_links_to_the_next(lab: Laboratory) -> None:
    """The link repeats the path, and a header is not made for Persian."""
    for reason in ("first", "second", "third"):
        body = {"hours": 1, "reason": reason}
        answer = await lab.client.post(f"/api/v1/admin/users/{lab.admin.id}/quota/adjustments", json=body)
        assert answer.status_code == 200, answer.text
    persian = str(lab.admin.id).translate(str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹"))
    notes: list[str] = []
    path = f"/api/v1/admin/users/{quote(persian)}/quota/entries?limit=۱"
    while path:
        answer = await lab.client.get(path)
        assert answer.status_code == 200, answer.text
        notes += [entry["note"] for entry in answer.json()]
        path = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    assert notes[:3] == ["third", "second", "first"]


async def _ask(lab: Laboratory, operation: Operation, path: str, headers: Headers, what: str) -> None:
    if operation.path == "/api/v1/events":
        texts = {name: value.decode("utf-8", "ignore") for name, value in headers.items()}
        async with open_stream(lab.app, path, authorization=lab.client.headers["Authorization"], **texts) as stream:
            assert stream.status in (200, 422), what
        return
    body = BODIES.get(str(operation))
    answer = await lab.client.request(operation.method, path, headers=headers, json=body)
    assert answer.status_code < 500, f"{what}: {answer.text}"
    if answer.status_code >= 400:
        _assert_is_a_refusal(answer, what)


def _assert_is_a_refusal(answer: httpx2.Response, what: str) -> None:
    assert 400 <= answer.status_code < 500, f"{what}: {answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json", what
    assert CANARY not in answer.text, f"{what} is repeated: {answer.text}"


def _fields(body: Mapping[str, Any], above: str = "") -> Iterable[str]:
    """Where values stand, such as `name` or `decisions/0/note`; the lists as well."""
    for name, value in body.items():
        yield above + name
        if isinstance(value, list) and isinstance(value[0], dict):
            yield from _fields(value[0], f"{above}{name}/0/")
        elif isinstance(value, list):
            yield f"{above}{name}/0"


FIELDS = [(label, pointer) for label, body in BODIES.items() for pointer in _fields(body)]


def _declared(document: Mapping[str, Any], schema: Mapping[str, Any], above: str = "") -> set[str]:
    for option in schema.get("anyOf", ()):
        if "$ref" in option:
            schema = option
    schema = _resolved(document, schema)
    names: set[str] = set()
    for name, inner in schema["properties"].items():
        names.add(above + name)
        if inner.get("type") == "array" and "properties" not in _resolved(document, inner["items"]):
            names.add(f"{above}{name}/0")
        elif inner.get("type") == "array":
            names |= _declared(document, inner["items"], f"{above}{name}/0/")
    return names


def _resolved(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    named: Mapping[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return named


def _with(body: Body, pointer: str, value: Any) -> Body:
    changed: Any = json.loads(json.dumps(body))
    place, parts = changed, pointer.split("/")
    for part in parts[:-1]:
        place = place[int(part) if part.isdigit() else part]
    place[int(parts[-1]) if isinstance(place, list) else parts[-1]] = value
    return changed  # type: ignore[no-any-return]


def _parameters(app: FastAPI) -> Iterable[tuple[Operation, str, str]]:
    for path, methods in app.openapi()["paths"].items():
        for method, described in methods.items():
            for parameter in described.get("parameters", ()):
                yield Operation(method.upper(), path), parameter["in"], parameter["name"]


def _quoted(value: str) -> str:
    """With its dots, too: clients resolve `..` before they ask."""
    return quote(value, safe="", errors="surrogatepass").replace(".", "%2E")


def _header(name: str, value: str) -> Headers:
    """Nothing, if no server would let it pass."""
    raw = value.encode("utf-8", "surrogatepass")
    return {name: raw} if ON_THE_WIRE.fullmatch(raw) and raw == raw.strip() else {}


def _is_exactly(sent: Any, kept: Any) -> bool:
    return type(sent) is type(kept) and sent == kept


def _is_trimmed(sent: Any, kept: Any) -> bool:
    return kept == (sent.strip() if isinstance(sent, str) else sent)


def _is_name(sent: Any, kept: Any) -> bool:
    """Trimmed, and with Persian letters."""
    return kept == (sent.strip().translate(str.maketrans("يىك", "ییک")) if isinstance(sent, str) else sent)


def _is_address(sent: str, kept: str) -> bool:
    return kept.casefold() == sent.strip().casefold()


def _is_secret(_sent: str, kept: object) -> bool:
    raise AssertionError(f"a password was shown: {kept!r}")


def _is_left_or(sent: bool | None, kept: bool) -> bool:
    return sent is None or sent is kept


def _is_to_the_second(sent: float, kept: float) -> bool:
    return not isinstance(sent, bool) and abs(sent - kept) <= 0.5 / 3600 + 1e-9
