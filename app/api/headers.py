"""The security headers that every response carries."""

from starlette.types import Message

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
]
NO_STORE = (b"cache-control", b"no-store")
CACHE_CONTROL = b"cache-control"


def add_headers(message: Message, request_id: bytes, *, is_stream: bool = False) -> None:
    """Complete an `http.response.start`. Files say themselves how they are cached; all else is not stored."""
    headers = list(message["headers"])
    if is_stream:
        headers = [header for header in headers if header[0] != CACHE_CONTROL]
    if not any(name == CACHE_CONTROL for name, _ in headers):
        headers.append(NO_STORE)
    message["headers"] = [*headers, *SECURITY_HEADERS, (b"x-request-id", request_id)]
