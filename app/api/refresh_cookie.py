"""The cookie that renews a session, and what keeps other sites from using it.

`__Host-` would be the stronger name, but it demands `Path=/`, and this cookie has no business outside of
`/api/v1/auth`. A cookie planted by a neighbouring subdomain, which that name would prevent, cannot do more here than
sign a browser out: what it would have to hold is a secret of a session.
"""

from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, Literal

from fastapi import Depends, Header, Request, Response

from app.api.deps import AppSettings
from app.core.config import Settings
from app.services.auth import SignIn

COOKIE_PATH = "/api/v1/auth"
PLAIN_NAME = "gtm_refresh"
SECURE_NAME = f"__Secure-{PLAIN_NAME}"
OUR_HEADER = "X-GTM-Request"

FromOurPages = Annotated[
    Literal["1"],
    Header(
        alias=OUR_HEADER,
        description="Always `1`. Another site's page cannot send it, which keeps that page from using the cookie.",
    ),
]


class RefreshCookie:
    """Reads and writes the cookie of this request. Over TLS it is `Secure`, under another name than without."""

    def __init__(self, request: Request, response: Response, settings: Settings) -> None:
        self._response = response
        self._is_secure = came_over_tls(request, settings)
        self._name = SECURE_NAME if self._is_secure else PLAIN_NAME
        self.value = request.cookies.get(self._name)
        self._is_for_another_page = "origin" in request.headers and request.headers.get(OUR_HEADER) != "1"

    def keep(self, signed_in: SignIn, *, now: datetime) -> None:
        """Hand out the new secret; without one, the cookie that the browser has stays.

        It stays for a page that is not ours, too: a form of another site could sign the browser in as somebody else.
        """
        if signed_in.refresh_token is not None and not self._is_for_another_page:
            self._set(str(signed_in.refresh_token), int((signed_in.session_expires_at - now).total_seconds()))

    def clear(self) -> None:
        self._set("", 0)

    def _set(self, value: str, max_age_seconds: int) -> None:
        self._response.set_cookie(
            self._name,
            value,
            max_age=max_age_seconds,
            path=COOKIE_PATH,
            secure=self._is_secure,
            httponly=True,
            samesite="strict",
        )


async def get_refresh_cookie(request: Request, response: Response, settings: AppSettings) -> RefreshCookie:
    return RefreshCookie(request, response, settings)


Cookie = Annotated[RefreshCookie, Depends(get_refresh_cookie)]


def came_over_tls(request: Request, settings: Settings) -> bool:
    """Whether the browser's connection was encrypted, by our own word or that of a trusted proxy."""
    if request.url.scheme == "https":
        return True
    forwarded = request.headers.get("x-forwarded-proto", "").split(",")[-1].strip().lower()
    return forwarded == "https" and _is_trusted(request, settings)


def _is_trusted(request: Request, settings: Settings) -> bool:
    try:
        peer = ip_address(request.client.host) if request.client else None
    except ValueError:
        return False
    if peer is None:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return any(peer in network for network in settings.trusted_proxies)
