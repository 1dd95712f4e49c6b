"""The service over HTTP: JSON in, JSON out, and every way to fail as a CommandError.

A GET is repeated with growing pauses while the service does not answer (for `retry_seconds`), and so is a POST under an
Idempotency-Key. No other POST is: nobody could tell whether the first one was carried out.
"""

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from gtm import VERSION
from gtm.errors import HINTS, CommandError, NotSignedIn, Refused, Unreachable

if TYPE_CHECKING:
    import httpx2

API = "/api/v1"
PAGE_LIMIT = 200
"""The largest page that the service gives."""

AWAY = frozenset({429, 502, 503, 504})
"""Statuses that say: not now."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0

Parameters = Mapping[str, Any]
"""Of a query; None is left out, a list is repeated."""


@dataclass(frozen=True)
class Waiting:
    """How a service that is away is waited for; tests put their own clock in."""

    retry_seconds: float
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random


@dataclass(frozen=True)
class Service:
    """The API at `url`, as the owner of `token` or as nobody. Paths are those under `/api/v1`: `/jobs/42`."""

    url: str
    token: str | None
    waiting: Waiting
    language: str = "en"
    say: Callable[[str], None] = lambda _: None
    """Told when it waits: people should know why nothing happens."""
    log: Callable[[str], None] = lambda _: None
    """Told each request with its id, for `--verbose`."""
    _clients: "list[httpx2.Client]" = field(default_factory=list, repr=False)

    def get(self, path: str, params: Parameters | None = None) -> Any:
        return _json(self.request("GET", path, params=params, repeat=True))

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """None for an answer without content. Only with an `idempotency_key` is it repeated."""
        own = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        repeat = idempotency_key is not None
        return _json(
            self.request("POST", path, json=body, data=form, headers={**own, **(headers or {})}, repeat=repeat)
        )

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return _json(self.request("PUT", path, json=body))

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        return _json(self.request("PATCH", path, json=body))

    def delete(self, path: str) -> Any:
        return _json(self.request("DELETE", path))

    def pages(self, path: str, params: Parameters | None = None, *, limit: int | None = None) -> Iterator[Any]:
        """The rows of a list, `limit` at most, fetched page by page as they are asked for."""
        left = limit
        query = {**(params or {}), "limit": min(PAGE_LIMIT, limit or PAGE_LIMIT)}
        while True:
            answer = self.request("GET", path, params=query, repeat=True)
            for row in _json(answer):
                if left == 0:
                    return
                yield row
                left = None if left is None else left - 1
            cursor = _next_cursor(answer)
            if cursor is None or left == 0:
                return
            query["cursor"] = cursor

    @contextmanager
    def stream(
        self, path: str, params: Parameters | None = None, *, silence_seconds: float | None = None
    ) -> "Iterator[httpx2.Response]":
        """An answer that is read while it comes. Raises as `get` does, once: who follows knows where to go on.

        Silence for `silence_seconds` ends it, with Unreachable; None waits for ever.
        """
        import httpx2  # most of the start's time, and `--help` does not need it

        patience = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=silence_seconds)
        began = time.monotonic()
        try:
            with self._client().stream("GET", API + path, params=_present(params), timeout=patience) as answer:
                self._note(answer, began)
                if answer.status_code >= 300:
                    answer.read()
                    self._refuse(answer)
                yield answer
        except httpx2.TransportError as error:
            raise self._unreachable(error) from None

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Parameters | None = None,
        json: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
    ) -> "httpx2.Response":
        """The answer, of a status below 300. Raises CommandError for everything else."""
        import httpx2

        pauses = Pauses(self.waiting)
        while True:
            began = time.monotonic()
            try:
                answer = self._client().request(
                    method, API + path, params=_present(params), json=json, data=data, headers=headers
                )
            except httpx2.TransportError as error:
                failure: CommandError = self._unreachable(error)
                pause = pauses.next()
            else:
                self._note(answer, began)
                if answer.status_code < 300:
                    return answer
                if answer.status_code not in AWAY:
                    self._refuse(answer)
                failure = self._refusal(answer)
                pause = pauses.next(at_least=_retry_after_seconds(answer))
            if not repeat or pause is None:
                raise failure
            if pauses.is_first:
                self.say(f"{failure.message} Trying again for up to {self.waiting.retry_seconds:.0f} s …")
            self.waiting.sleep(pause)

    def close(self) -> None:
        while self._clients:
            self._clients.pop().close()

    def _client(self) -> "httpx2.Client":
        import httpx2

        if not self._clients:
            headers = {"Accept-Language": self.language, "User-Agent": f"gtm/{VERSION}"}
            if self.token is not None:
                headers["Authorization"] = f"Bearer {self.token}"
            self._clients.append(
                httpx2.Client(
                    base_url=self.url,
                    headers=headers,
                    timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
                    **_without_needless_tls(self.url),
                )
            )
        return self._clients[0]

    def _note(self, answer: "httpx2.Response", began: float) -> None:
        milliseconds = (time.monotonic() - began) * 1000
        request_id = answer.headers.get("X-Request-ID", "none")
        request = answer.request
        self.log(
            f"{request.method} {request.url.path} {answer.status_code}, {milliseconds:.0f} ms, request id {request_id}"
        )

    def _refuse(self, answer: "httpx2.Response") -> None:
        raise self._refusal(answer)

    def _refusal(self, answer: "httpx2.Response") -> CommandError:
        status = answer.status_code
        if "Location" in answer.headers and 300 <= status < 400:
            return Unreachable(
                f"{self.url} sends us on to {answer.headers['Location']} instead of answering.",
                hint="if you trust it, make it your address: gtm config set url URL",
            )
        problem = _problem(answer)
        if problem is None:
            return Unreachable(f"{self.url} answered HTTP {status}, not as GPU Task Manager does.")
        if status == 401:
            return self._not_signed_in(problem)
        return Refused(status, problem)

    def _not_signed_in(self, problem: Mapping[str, Any]) -> CommandError:
        """Of a token, the service's own sentence (about access tokens) would not help; of a password it does."""
        code = str(problem.get("code", "not-authenticated"))
        if self.token is None:
            return NotSignedIn(str(problem.get("detail", "")), code=code, hint=HINTS.get(code, "gtm login"))
        return NotSignedIn(
            f"{self.url} does not accept your token any more: it was revoked, it expired, or the account was disabled. "
            "Log in again.",
            code=code,
        )

    def _unreachable(self, error: "httpx2.TransportError") -> Unreachable:
        return Unreachable(f"{self.url} does not answer ({reason_of(error)}).")


@dataclass
class Pauses:
    """Growing pauses, each somewhere between its half and its whole so that clients do not come back all at once."""

    waiting: Waiting
    _taken: int = 0
    _waited_seconds: float = 0.0
    _began: float | None = None

    @property
    def is_first(self) -> bool:
        return self._taken == 1

    def next(self, at_least: float = 0.0) -> float | None:
        """Seconds until the next try; None when the time is up."""
        now = self.waiting.clock()
        self._began = now if self._began is None else self._began
        longest: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**self._taken)
        pause = max(at_least, longest * (0.5 + self.waiting.jitter() / 2))
        if now - self._began + pause > self.waiting.retry_seconds:
            return None
        self._taken += 1
        return pause


def reason_of(error: BaseException) -> str:
    """In a few words: `connection refused`, `certificate verify failed: self-signed certificate`."""
    import httpx2

    if isinstance(error, httpx2.TimeoutException):
        return "it took too long"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return _few_words(cause.strerror)
        cause = cause.__cause__ or cause.__context__
    return _few_words(str(error)) or type(error).__name__


def _few_words(text: str) -> str:
    """Without what OpenSSL and the system put around theirs: `[SSL: …]`, `[Errno 111]`, `(_ssl.c:992)`."""
    bare = re.sub(r"^\[[^]]*\] ", "", text.split(" (_ssl.c", maxsplit=1)[0]).rstrip(".")
    return bare[:1].lower() + bare[1:]


def _without_needless_tls(url: str) -> dict[str, Any]:
    """Over http:// no certificate is ever looked at, and to read the system's takes longer than a request."""
    if not url.startswith("http://"):
        return {}
    import ssl

    return {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}


def _present(params: Parameters | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}


def _json(answer: "httpx2.Response") -> Any:
    if answer.status_code == 204 or not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        origin = f"{answer.request.url.scheme}://{answer.request.url.netloc.decode()}"
        raise Unreachable(f"{origin} answers, but not as GPU Task Manager does.") from None


def _problem(answer: "httpx2.Response") -> Mapping[str, Any] | None:
    """The problem document, or None where somebody else (a proxy, another program) answered."""
    if not answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        return None
    try:
        document = answer.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _next_cursor(answer: "httpx2.Response") -> str | None:
    """Of the `Link` header only the cursor is used, so that no answer can send the token elsewhere."""
    link = answer.links.get("next")
    return None if link is None else dict(parse_qsl(urlsplit(link["url"]).query)).get("cursor")


def _retry_after_seconds(answer: "httpx2.Response") -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else 0.0
