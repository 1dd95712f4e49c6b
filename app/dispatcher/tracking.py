"""The dispatcher's memory of the runs it watches. It can be lost at any moment: the database rebuilds it."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from app.domain.execution import EndReason
from app.domain.job_state import JobStatus

NEVER_POLLED = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class TrackedRun:
    """What settling a run needs, and since when its engine has not known it.

    `measured_seconds` is the longest time that the engine has told of the run; `stopped_for` says why the dispatcher
    has stopped it, where nobody had asked for that.
    """

    job_id: int
    run_id: UUID
    engine: str
    status: JobStatus
    num_gpus: int
    reserved_seconds: int
    measured_seconds: int = 0
    cancelled_as: EndReason | None = None
    unknown_since: datetime | None = None
    stopped_for: str | None = None

    @property
    def longest_hold(self) -> timedelta:
        """The longest that it can hold its GPUs by what was reserved for it."""
        return timedelta(seconds=self.reserved_seconds / self.num_gpus)


class Watchlist:
    """Runs by the time at which it is worth asking about them again."""

    def __init__(self) -> None:
        self._runs: dict[UUID, TrackedRun] = {}
        self._due: list[tuple[datetime, UUID]] = []

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[TrackedRun]:
        return iter(self._runs.values())

    def get(self, run_id: UUID) -> TrackedRun | None:
        return self._runs.get(run_id)

    def add(self, run: TrackedRun) -> None:
        self._runs[run.run_id] = run
        self.ask_again(run.run_id, NEVER_POLLED)

    def discard(self, run_ids: Iterable[UUID]) -> None:
        for run_id in run_ids:
            self._runs.pop(run_id, None)

    def ask_again(self, run_id: UUID, at: datetime) -> None:
        heapq.heappush(self._due, (at, run_id))

    def take_due(self, now: datetime) -> list[UUID]:
        """The runs to ask about now. Each comes back only after `ask_again`."""
        due: dict[UUID, None] = {}
        while self._due and self._due[0][0] <= now:
            _, run_id = heapq.heappop(self._due)
            if run_id in self._runs:
                due[run_id] = None
        return list(due)

    def clear(self) -> None:
        self._runs.clear()
        self._due.clear()


def tracked(row: Row[Any]) -> TrackedRun:
    return TrackedRun(
        job_id=row.id,
        run_id=row.run_id,
        engine=row.executor,
        status=JobStatus(row.status),
        num_gpus=row.num_gpus,
        reserved_seconds=row.reserved_seconds,
        measured_seconds=row.measured_seconds,
        cancelled_as=cancellation(row) if row.cancel_requested_at else None,
        unknown_since=row.unknown_since,
    )


def cancellation(row: Row[Any]) -> EndReason:
    by_owner = row.cancel_requested_by == row.user_id
    return EndReason.CANCELLED_BY_USER if by_owner else EndReason.CANCELLED_BY_ADMIN
