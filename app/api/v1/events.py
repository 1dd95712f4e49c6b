"""Live events over one long answer."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api.deps import CurrentUser, State
from app.api.errors import problems
from app.schemas.events import JobChanged, QuotaChanged, StreamReset
from app.services.events import Event, Reset

router = APIRouter(prefix="/events", tags=["events"])

RECONNECT_AFTER_MS = 2000


@router.get("", response_class=EventSourceResponse, responses=problems(401, 503))
async def stream_events(
    user: CurrentUser,
    state: State,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Your job and quota changes as they happen; everybody's if you are an admin.

    `job` and `quota` events say what changed. `reset` says that your place is unknown, or that this is the beginning:
    read what you show again. `Last-Event-ID` resumes without a gap. The stream ends when your session does.
    """
    async for event in state.feed.follow(user, last_event_id):
        yield _wire(event)


def _wire(event: Event | Reset) -> ServerSentEvent:
    identity = str(event.cursor)
    if isinstance(event, Reset):
        reset = StreamReset(cursor=identity)
        return ServerSentEvent(event="reset", data=reset, id=identity, retry=RECONNECT_AFTER_MS)
    if event.job_id is None or event.seq is None or event.to_status is None:
        quota = QuotaChanged(user_id=event.user_id, kind=event.kind, at=event.at)
        return ServerSentEvent(event="quota", data=quota, id=identity)
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
    return ServerSentEvent(event="job", data=job, id=identity)
