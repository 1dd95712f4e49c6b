"""Lists in pages: a signed cursor that carries the last id seen, and a `Link` header that leads to the next page.

No page number and no total: both cost a scan of everything before the page.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Depends, Query, Request, Response

from app.api.state import state_of
from app.domain.errors import InvalidCursor
from app.schemas.text import FoldedInt

ID_BYTES = 8
SIGNATURE_BYTES = 16
PAGING_PARAMETERS = frozenset({"cursor", "limit"})

Row = TypeVar("Row")


class Page:
    """One page of a list: ask the query for `fetch_limit` rows after (in its order) `last_id`, then `cut` them."""

    def __init__(self, request: Request, response: Response, limit: int, cursor: str | None) -> None:
        self._request = request
        self._response = response
        self.limit = limit
        self.last_id = None if cursor is None else self._verified(cursor)

    @property
    def fetch_limit(self) -> int:
        """One row more than is shown tells whether there is a next page."""
        return self.limit + 1

    def cut(self, rows: Sequence[Row], id_of: Callable[[Row], int] = attrgetter("id")) -> Sequence[Row]:
        """The rows to show; sets the `Link` header if there are more."""
        if len(rows) <= self.limit:
            return rows
        shown = rows[: self.limit]
        self._response.headers["Link"] = self.next_link(id_of(shown[-1]))
        return shown

    def next_link(self, last_id: int) -> str:
        """The header's value, for a route that builds its own response."""
        parameters = [pair for pair in self._request.query_params.multi_items() if pair[0] != "cursor"]
        query = urlencode([*parameters, ("cursor", self._signed(last_id))])
        return f'<{quote(self._path)}?{query}>; rel="next"'

    @property
    def _path(self) -> str:
        path: str = self._request.scope["path"]
        return path

    def _signed(self, last_id: int) -> str:
        position = last_id.to_bytes(ID_BYTES)
        return urlsafe_b64encode(position + self._signature(position)).decode("ascii")

    def _verified(self, cursor: str) -> int:
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii"))
        except (NotBase64, UnicodeEncodeError):
            raise InvalidCursor from None
        position, signature = raw[:ID_BYTES], raw[ID_BYTES:]
        if not hmac.compare_digest(signature, self._signature(position)):
            raise InvalidCursor
        return int.from_bytes(position)

    def _signature(self, position: bytes) -> bytes:
        """Bound to the route and its filters, so that a cursor cannot be carried over to another list."""
        key = state_of(self._request.scope).settings.signing_key
        filters = sorted(pair for pair in self._request.query_params.multi_items() if pair[0] not in PAGING_PARAMETERS)
        subject = f"cursor:{self._path}?{urlencode(filters)}:".encode()
        return hmac.digest(key.encode(), subject + position, "sha256")[:SIGNATURE_BYTES]


Cursor = Annotated[str | None, Query(max_length=64, description="From the `Link` header of the page before.")]


async def get_page(
    request: Request,
    response: Response,
    limit: Annotated[FoldedInt, Query(ge=1, le=200, description="Rows in a page.")] = 50,
    cursor: Cursor = None,
) -> Page:
    return Page(request, response, limit, cursor)


PageParams = Annotated[Page, Depends(get_page)]
