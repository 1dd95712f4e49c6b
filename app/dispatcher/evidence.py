"""What an engine says, checked before it is believed: one run that is told of badly must not hold up the others."""

from dataclasses import replace
from datetime import datetime

from app.domain.execution import Observation, RunState, final_status
from app.domain.job_state import JobStatus, may_move

LONGEST_TEXT = 2000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def admissible(seen: Observation) -> Observation | None:
    """The observation as it can be kept; None: it claims an end without a reason that a run can end for."""
    ends = seen.state is RunState.ENDED
    if ends and (seen.reason is None or not may_move(JobStatus.RUNNING, final_status(seen.reason))):
        return None
    return replace(
        seen,
        message=None if seen.message is None else storable(seen.message),
        queue_reason=None if seen.queue_reason is None else storable(seen.queue_reason),
        placement=None if seen.placement is None else storable(seen.placement),
        engine_job_id=None if seen.engine_job_id is None else storable(seen.engine_job_id),
        started_at=in_some_zone(seen.started_at),
        ended_at=in_some_zone(seen.ended_at),
        expected_start_at=in_some_zone(seen.expected_start_at),
        unchanged_until=in_some_zone(seen.unchanged_until),
        progress=seen.progress if seen.progress is not None and 0 <= seen.progress <= 1 else None,
    )


def storable(text: str) -> str:
    """PostgreSQL keeps neither NUL nor half of a surrogate pair; a page of text is enough for a reason."""
    return text[:LONGEST_TEXT].encode(errors="replace").decode().replace("\0", REPLACEMENT)


def in_some_zone(moment: datetime | None) -> datetime | None:
    """A moment without a zone could be any of a day's."""
    return None if moment is None or moment.tzinfo is None else moment
