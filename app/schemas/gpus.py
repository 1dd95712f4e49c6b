"""The fleet on the wire."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field
from sqlalchemy import Row

from app.schemas.people import Person
from app.schemas.text import Reason, RequestModel, ResponseModel

MemoryBytes = Annotated[int, Field(description="0: the engine does not know.")]


class GpuState(StrEnum):
    FREE = "FREE"
    BUSY = "BUSY"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"
    QUARANTINED = "QUARANTINED"
    CONTENDED = "CONTENDED"
    OFFLINE = "OFFLINE"
    RETIRED = "RETIRED"


class GpuAction(StrEnum):
    DRAIN = "drain"
    RESUME = "resume"


class GpuTypeRead(ResponseModel):
    """A GPU type that jobs may ask for: how many exist, and how many could take a job now."""

    name: str
    total: int
    free: int
    memory_bytes: MemoryBytes


class GpuHolder(ResponseModel):
    """The job on a GPU."""

    id: int
    name: str
    owner: Person


class GpuRead(ResponseModel):
    """One GPU with its state and the job on it.

    DRAINING: it finishes its job and takes no other. OFFLINE: the engine gives it to nobody; `offline_reason` says why.
    BUSY without a job: the engine has given it to somebody whom it does not name. `actions` lists what an admin may do
    to it now: nothing, where the engine gives out its GPUs itself.
    """

    id: int
    node: str
    index: int
    gpu_type: str
    uuid: str
    memory_bytes: MemoryBytes
    executor: str
    state: GpuState
    job: GpuHolder | None
    offline_reason: str | None
    drain_reason: str | None
    drained_at: datetime | None
    drained_by: Person | None
    last_seen_at: datetime
    actions: list[GpuAction]

    @classmethod
    def of(cls, row: Row[Any], *, is_ours: bool) -> Self:
        """Build from a row of the fleet query. `is_ours`: we give it out, and not the engine."""
        state = _state(row)
        holder = None
        if row.job_id is not None:
            owner = Person(id=row.job_user_id, full_name=row.job_owner_full_name, email=row.job_owner_email)
            holder = GpuHolder(id=row.job_id, name=row.job_name, owner=owner)
        drainer = None
        if row.drained_by is not None:
            drainer = Person(id=row.drained_by, full_name=row.drained_by_full_name, email=row.drained_by_email)
        return cls(
            id=row.id,
            node=row.node,
            index=row.gpu_index,
            gpu_type=row.gpu_type,
            uuid=row.uuid,
            memory_bytes=row.memory_bytes,
            executor=row.executor,
            state=state,
            job=holder,
            offline_reason=row.offline_reason,
            drain_reason=row.drain_reason,
            drained_at=row.drained_at,
            drained_by=drainer,
            last_seen_at=row.last_seen_at,
            actions=[action for action, states in ACTIONS.items() if is_ours and state in states],
        )


ACTIONS: Mapping[GpuAction, frozenset[GpuState]] = {
    GpuAction.DRAIN: frozenset({GpuState.FREE, GpuState.BUSY, GpuState.CONTENDED, GpuState.OFFLINE}),
    GpuAction.RESUME: frozenset({GpuState.DRAINING, GpuState.DRAINED, GpuState.QUARANTINED}),
}


class DrainRequest(RequestModel):
    reason: Annotated[Reason, Field(examples=["Fan replacement"])]


def _state(row: Row[Any]) -> GpuState:
    """The one word that says why it takes a job or not; what an admin must act on comes first."""
    if row.retired_at is not None:
        return GpuState.RETIRED
    if row.is_quarantined:
        return GpuState.QUARANTINED
    if row.drained_at is not None:
        return GpuState.DRAINED if row.job_id is None else GpuState.DRAINING
    if row.offline_reason is not None:
        return GpuState.DRAINING if row.is_busy else GpuState.OFFLINE
    if row.job_id is not None or row.is_busy:
        return GpuState.BUSY
    return GpuState.CONTENDED if row.is_contended else GpuState.FREE
