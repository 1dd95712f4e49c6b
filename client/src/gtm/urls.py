"""Addresses of services: one way to write each, so that a token is bound to it, and which of them are safe."""

from urllib.parse import SplitResult, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}
LOOPBACK_NAMES = frozenset({"localhost", "::1"})


def normalised(url: str) -> str:
    """Scheme and host in small letters, no default port, no slash at the end. Raises ValueError with what is wrong."""
    parts = _split(url.strip())
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in LOOPBACK_NAMES or host.endswith(".localhost") or host.startswith("127.")


def is_in_clear(url: str) -> bool:
    """Whether passwords and tokens would cross a network unencrypted."""
    return url.startswith("http://") and not is_loopback(url)


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("must begin with https:// or http://")
    if not parts.hostname:
        raise ValueError("names no host")
    if parts.username or parts.password:
        raise ValueError("must not hold a user's name or password")
    if parts.query or parts.fragment:
        raise ValueError("must end before ? and #")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is no number below 65536") from None
    return parts
