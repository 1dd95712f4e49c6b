"""Live events over one long answer.

FastAPI would wrap the iteration by itself, but logs an error whenever a client leaves while an event is on its way
(fastapi/fastapi, discussion 15725). So only the format is taken from there.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Header
from fastapi.responses import Response, StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from app.api.deps import JobsReader, State
from app.api.errors import problems
from app.schemas.events import JobChanged, QuotaChanged, StreamReset
from app.services.events import Event, Reset

router = APIRouter(prefix="/events", tags=["events"])

EVENT_STREAM = "text/event-stream"
RECONNECT_AFTER_MS = 2000
KEEP_ALIVE_SECONDS = 15.0
FRAME = {
    "type": "object",
    "required": ["event", "data", "id"],
    "properties": {
        "event": {"enum": ["job", "quota", "reset"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
        "retry": {"type": "integer"},
    },
}


async def get_frames(
    user: JobsReader,
    state: State,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Closed when the answer has ended, however it ended."""
    events = cast(AsyncGenerator[Event | Reset], state.feed.follow(user, last_event_id))
    async with aclosing(_frames(events)) as frames:
        yield frames


@router.get(
    "",
    response_class=Response,
    responses=problems(401, 503) | {200: {"content": {EVENT_STREAM: {"itemSchema": FRAME}}}},
)
async def stream_events(frames: Annotated[AsyncIterator[bytes], Depends(get_frames)]) -> Response:
    """Your job and quota changes as they happen; everybody's if you are an admin.

    `job` and `quota` events say what changed. `reset` says that your place is unknown, or that this is the beginning:
    read what you show again. `Last-Event-ID` resumes without a gap. The stream ends when your session does.
    """
    return StreamingResponse(frames, media_type=EVENT_STREAM, headers={"X-Accel-Buffering": "no"})


async def _frames(events: AsyncGenerator[Event | Reset]) -> AsyncGenerator[bytes]:
    """The events as text. A silence is broken by comments, lest a proxy takes the connection for dead."""
    upcoming = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait((upcoming,), timeout=KEEP_ALIVE_SECONDS)
            if not upcoming.done():
                yield KEEPALIVE_COMMENT
            elif (event := upcoming.result()) is not None:
                yield _frame(event)
                upcoming = asyncio.ensure_future(anext(events, None))
            else:
                return
    finally:
        if not upcoming.cancel():
            await events.aclose()


def _frame(event: Event | Reset) -> bytes:
    identity = str(event.cursor)
    if isinstance(event, Reset):
        reset = StreamReset(cursor=identity)
        return format_sse_event(event="reset", data_str=reset.model_dump_json(), id=identity, retry=RECONNECT_AFTER_MS)
    if event.job_id is None or event.seq is None or event.to_status is None:
        quota = QuotaChanged(user_id=event.user_id, kind=event.kind, at=event.at)
        return format_sse_event(event="quota", data_str=quota.model_dump_json(), id=identity)
    job = JobChanged(
        job_id=event.job_id,
        user_id=event.user_id,
        seq=event.seq,
        kind=event.kind,
        from_status=event.from_status,
        to_status=event.to_status,
        reason=event.reason,
        at=event.at,
    )
    return format_sse_event(event="job", data_str=job.model_dump_json(), id=identity)
