"""Lists as CSV files. Where more rows follow in another file, a `Link` header leads there."""

import asyncio
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive

from app.api.deps import AnyUser, Now, State
from app.api.draining import DRAINED
from app.api.pagination import Cursor, Page
from app.api.state import AppState
from app.domain.identity import Caller
from app.schemas.exports import Sheet
from app.services import exports
from app.services.exports import Listing

CSV_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}, "example": "id,…\r\n17,…\r\n"}}}
}


@dataclass(frozen=True, slots=True)
class Exporter:
    """Answers the person who asks with a list as a file."""

    caller: Caller
    state: AppState
    page: Page
    today: date

    async def send(self, listing: Listing, sheet: Sheet) -> Response:
        export = await exports.begin(
            self.state.database,
            self.caller,
            listing,
            last_id=self.page.last_id,
            sheet=sheet,
            zone=self.state.settings.zone,
            clock=self.state.clock,
        )
        headers = {"Content-Disposition": f'attachment; filename="{sheet.name}-{self.today.isoformat()}.csv"'}
        if export.last_id is not None:
            headers["Link"] = self.page.next_link(export.last_id)
        return Download(export.chunks, media_type="text/csv", headers=headers)


class Download(StreamingResponse):
    """A file that its client may give up, but that outlasts the order to stop: cut there, it would look complete."""

    async def listen_for_disconnect(self, receive: Receive) -> None:
        message = await receive()
        while message["type"] != "http.disconnect":
            message = await receive()
        if message is DRAINED:
            await asyncio.Future()


async def get_exporter(
    request: Request, response: Response, user: AnyUser, state: State, now: Now, cursor: Cursor = None
) -> Exporter:
    page = Page(request, response, exports.ROWS_IN_A_FILE, cursor)
    return Exporter(user, state, page, today=now.astimezone(state.settings.zone).date())


Export = Annotated[Exporter, Depends(get_exporter)]
