"""Jobs on the wire. Hours are JSON numbers here and whole GPU-seconds everywhere else."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import Row

from app.domain.execution import EndReason, WaitReason
from app.domain.identity import Caller
from app.domain.job_request import JobRequest
from app.domain.job_state import JobAction, JobStatus, available_actions
from app.domain.quota import beyond_limit, hours_from_seconds, seconds_from_hours
from app.domain.scheduling import MOST_COUNTED, PlaceInQueue
from app.schemas.messages import Language, counted, find_message, message
from app.schemas.people import Person
from app.schemas.text import Command, Line, Name, Reason, RequestModel, ResponseModel, Text

JobName = Annotated[Name, Field(min_length=1, max_length=255, examples=["train-resnet"])]
Hours = Annotated[float, Field(gt=0, le=720)]
OptionalNote = Annotated[Text, Field(max_length=2000)] | None

NO_REASONS = frozenset({"None", "Unknown"})
"""What an engine says that has not looked at the job yet."""

REASON_FAMILIES = ("Assoc", "QOS")
"""Slurm has scores of limits of accounts and of QOSs; those without a sentence of their own share one."""


class JobCreate(RequestModel):
    """A request to run a command on GPUs. `estimated_hours` is the wall-time limit at which the run is stopped."""

    name: JobName
    gpu_type: Annotated[Line, Field(min_length=1, max_length=64, examples=["A100"])]
    num_gpus: Annotated[int, Field(ge=1, le=64)] = 1
    estimated_hours: Hours = 1
    command: Annotated[Command, Field(min_length=1, max_length=16_384, examples=["python train.py --epochs 10"])]
    data_location: Annotated[Text, Field(max_length=1024)] | None = None
    is_sensitive: bool = False
    justification: OptionalNote = None

    @model_validator(mode="after")
    def _is_runnable(self) -> Self:
        if seconds_from_hours(self.estimated_hours) < 1:
            raise PydanticCustomError("time_limit_too_short", "estimated_hours must be at least one second")
        return self

    def to_request(self) -> JobRequest:
        return JobRequest(
            name=self.name,
            gpu_type=self.gpu_type,
            num_gpus=self.num_gpus,
            time_limit_seconds=seconds_from_hours(self.estimated_hours),
            command=self.command,
            data_location=self.data_location,
            is_sensitive=self.is_sensitive,
            justification=self.justification,
        )


BeyondLimit = Annotated[
    float,
    Field(
        description="How much of the reservation is beyond GPUs × hours: the engine rounds time limits up, and takes "
        "time to end a run. What is not used comes back."
    ),
]


class GpuPlace(ResponseModel):
    """A GPU by its node and its index there."""

    node: str
    index: int


class JobRead(ResponseModel):
    """A job as this caller may see it. `actions` lists what this caller may do to it now."""

    id: int
    user_id: int
    owner: Person
    name: str
    gpu_type: str
    num_gpus: int
    estimated_hours: float
    command: str
    data_location: str | None
    is_sensitive: bool
    justification: str | None
    digest: str = Field(description="Stands for all that was asked for; an approval can name it.")
    status: JobStatus
    reason: EndReason | None
    wait_reason: WaitReason | None
    reason_text: str | None
    error_message: str | None
    exit_code: int | None
    exit_signal: int | None
    created_at: datetime
    updated_at: datetime
    decided_at: datetime | None
    decided_by: Person | None
    decision_note: str | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_at: datetime | None
    reserved_gpu_hours: float
    reserved_beyond_limit_gpu_hours: BeyondLimit
    charged_gpu_hours: float
    refunded_gpu_hours: float = Field(description="What was refunded of the charge.")
    progress: float | None
    gpus: list[GpuPlace]
    executor: str | None
    run_id: UUID | None
    engine_job_id: str | None = Field(description="The engine's own name for the run, such as Slurm's job number.")
    placement: str | None = Field(description="The GPUs that the engine chose itself.", examples=["n1:0,1 n2:3"])
    queue_reason: str | None = Field(description="Why the engine keeps it in its queue, in the engine's words.")
    expected_start_at: datetime | None = Field(description="When the engine expects to take it out of its queue.")
    actions: list[JobAction]

    @classmethod
    def of(cls, row: Row[Any], caller: Caller, language: Language) -> Self:
        """Build from a row of the jobs query, as `caller` may see it."""
        status = JobStatus(row.status)
        owner_name, owner_email = _owner_of(row, caller)
        waiting = _wait_reason(row, status)
        return cls(
            id=row.id,
            user_id=row.user_id,
            owner=Person(id=row.user_id, full_name=owner_name, email=owner_email),
            name=row.name,
            gpu_type=row.gpu_type,
            num_gpus=row.num_gpus,
            estimated_hours=hours_from_seconds(row.time_limit_seconds),
            command=row.command,
            data_location=row.data_location,
            is_sensitive=row.is_sensitive,
            justification=row.justification,
            digest=JobRequest.of(row).digest.hex(),
            status=status,
            reason=EndReason(row.reason) if row.reason else None,
            wait_reason=waiting,
            reason_text=_reason_text(row, waiting, language),
            error_message=row.error_message,
            exit_code=row.exit_code,
            exit_signal=row.exit_signal,
            created_at=row.created_at,
            updated_at=row.updated_at,
            decided_at=row.decided_at,
            decided_by=_decider_of(row),
            decision_note=row.decision_note,
            started_at=row.started_at,
            finished_at=row.finished_at,
            cancel_requested_at=row.cancel_requested_at,
            reserved_gpu_hours=hours_from_seconds(row.reserved_seconds),
            reserved_beyond_limit_gpu_hours=hours_from_seconds(
                beyond_limit(row.reserved_seconds, row.num_gpus, row.time_limit_seconds)
            ),
            charged_gpu_hours=hours_from_seconds(row.charged_seconds),
            refunded_gpu_hours=hours_from_seconds(row.refunded_seconds),
            progress=None if row.progress is None else round(row.progress, 3),
            gpus=[GpuPlace(node=gpu["node"], index=gpu["index"]) for gpu in row.gpus or ()],
            executor=row.executor,
            run_id=row.run_id,
            engine_job_id=row.engine_job_id,
            placement=row.placement,
            queue_reason=row.queue_reason,
            expected_start_at=row.expected_start_at,
            actions=available_actions(
                status,
                is_admin=caller.is_admin,
                is_owner=row.user_id == caller.user_id,
                cancel_requested=row.cancel_requested_at is not None,
                dispatched=row.run_id is not None,
            ),
        )


class JobWaiting(ResponseModel):
    """Why a job has not started, or is about to stop, and what is ahead of it now; all null where nothing is.

    Of PENDING jobs `pending_ahead` were submitted earlier; of those that are approved and wait for the same GPU type,
    `approved_ahead_same_type` were approved earlier. 1000 means that many or more. Neither promises an order.
    """

    job_id: int
    status: JobStatus
    wait_reason: WaitReason | None
    text: str | None = Field(examples=["Waits for an admin's decision. 2 earlier requests wait as well."])
    since: datetime | None
    pending_ahead: Annotated[int, Field(ge=0, le=MOST_COUNTED)] | None
    approved_ahead_same_type: Annotated[int, Field(ge=0, le=MOST_COUNTED)] | None
    free_gpus: int | None = Field(description="GPUs of the job's type that are free now.")
    held_by: int | None = Field(description="Jobs that hold GPUs of this type.")
    queue_reason: str | None = Field(description="Why the engine keeps it in its queue, in the engine's words.")
    expected_start_at: datetime | None = Field(description="When the engine expects to take it out of its queue.")

    @classmethod
    def of(cls, row: Row[Any], place: PlaceInQueue | None, language: Language) -> Self:
        """Build from a row of the jobs query."""
        status = JobStatus(row.status)
        waiting = _wait_reason(row, status)
        return cls(
            job_id=row.id,
            status=status,
            wait_reason=waiting,
            text=_waiting_text(row, waiting, place, language),
            since=_waits_since(row, waiting),
            pending_ahead=place.pending_ahead if place else None,
            approved_ahead_same_type=place.approved_ahead if place else None,
            free_gpus=place.free_gpus if place else None,
            held_by=place.held_by if place else None,
            queue_reason=row.queue_reason if waiting is WaitReason.IN_ENGINE_QUEUE else None,
            expected_start_at=row.expected_start_at if waiting is WaitReason.IN_ENGINE_QUEUE else None,
        )


class JobForecast(ResponseModel):
    """What submitting this job now would mean. `problem` says why it would be refused."""

    accepted: bool
    reserved_gpu_hours: float
    reserved_beyond_limit_gpu_hours: BeyondLimit
    available_hours_now: float | None = None
    available_hours_after: float | None = None
    free_gpus: int | None = None
    fits_now: bool = False
    problem: "Refusal | None" = None


class Refusal(ResponseModel):
    """A refusal inside an answer: the stable code, and a sentence that says what to do."""

    code: str
    detail: str


class JobEventRead(ResponseModel):
    """One step of a job's life."""

    seq: int
    kind: str
    from_status: JobStatus | None
    to_status: JobStatus
    reason: str | None
    note: str | None
    at: datetime
    actor: Person | None
    actor_process: str | None

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        return cls(
            seq=row.seq,
            kind=row.kind,
            from_status=row.from_status,
            to_status=row.to_status,
            reason=row.reason,
            note=row.note,
            at=row.created_at,
            actor=Person.of_actor(row),
            actor_process=row.actor_process,
        )


class JobCounts(ResponseModel):
    """How many jobs stand in each status."""

    PENDING: int
    APPROVED: int
    RUNNING: int
    COMPLETED: int
    FAILED: int
    REJECTED: int
    CANCELLED: int


class UtilisationRead(ResponseModel):
    """One GPU at one moment: share of time computing (0-1), memory in bytes, power in watts, temperature in °C."""

    at: datetime
    gpu: GpuPlace
    utilisation: float
    memory_used_bytes: int
    power_watts: float | None
    temperature_celsius: float | None


Digest = Annotated[
    str,
    Field(
        pattern="^[0-9a-f]{64}$",
        description="The `digest` of the request that was read. An approval of something else is refused.",
    ),
]


class ApproveRequest(RequestModel):
    note: OptionalNote = None
    digest: Digest | None = None


class RejectRequest(RequestModel):
    reason: Reason


class RefundRequest(RequestModel):
    """Refund so many GPU-hours of what a job was charged, or all that are left of it."""

    gpu_hours: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    reason: Reason


class CancelRequest(RequestModel):
    reason: OptionalNote = None


class Decision(RequestModel):
    """One of several decisions. `note` is the approval's remark, or the reason of a rejection."""

    job_id: Annotated[int, Field(ge=1, le=2**63 - 1)]
    action: Literal["approve", "reject", "start"]
    note: OptionalNote = None
    digest: Digest | None = None

    @model_validator(mode="after")
    def _rejects_with_a_reason(self) -> Self:
        if self.action == "reject" and not (self.note and self.note.strip()):
            raise PydanticCustomError("reason_missing", "a rejection needs its reason in note")
        return self

    @model_validator(mode="after")
    def _names_a_digest_to_approve(self) -> Self:
        if self.action != "approve" and self.digest is not None:
            raise PydanticCustomError("digest_without_approval", "only an approval can name a digest")
        return self


class DecisionsRequest(RequestModel):
    decisions: Annotated[list[Decision], Field(min_length=1, max_length=100)]


class DecisionResult(ResponseModel):
    """What became of one decision: the job as it is now, or the problem; `status` as the single call would answer."""

    job_id: int
    status: int
    job: JobRead | None = None
    problem: Refusal | None = None


def _owner_of(row: Row[Any], caller: Caller) -> tuple[str | None, str]:
    """A row fresh from its own INSERT names no owner: it is the caller."""
    owner_email: str | None = getattr(row, "owner_email", None)
    if owner_email is None:
        return caller.full_name, caller.email
    return row.owner_full_name, owner_email


def _decider_of(row: Row[Any]) -> Person | None:
    if row.decided_by is None:
        return None
    return Person(id=row.decided_by, full_name=row.decider_full_name, email=row.decider_email)


def _wait_reason(row: Row[Any], status: JobStatus) -> WaitReason | None:
    if row.cancel_requested_at is not None and row.finished_at is None:
        return WaitReason.CANCELLING
    match status:
        case JobStatus.PENDING:
            return WaitReason.AWAITING_DECISION
        case JobStatus.APPROVED if row.run_id is not None:
            return WaitReason.IN_ENGINE_QUEUE
        case JobStatus.APPROVED:
            return WaitReason(row.wait_reason or WaitReason.AWAITING_START)
        case JobStatus.RUNNING if row.launched_at is None:
            return WaitReason.STARTING
        case _:
            return None


def _waits_since(row: Row[Any], waiting: WaitReason | None) -> datetime | None:
    since: datetime | None = None
    match waiting:
        case WaitReason.AWAITING_DECISION:
            since = row.created_at
        case WaitReason.AWAITING_START | WaitReason.AWAITING_GPUS | WaitReason.AWAITING_QUOTA:
            since = row.decided_at
        case WaitReason.IN_ENGINE_QUEUE:
            since = row.dispatched_at
        case WaitReason.STARTING:
            since = row.started_at
        case WaitReason.CANCELLING:
            since = row.cancel_requested_at
    return since


def _waiting_text(
    row: Row[Any], waiting: WaitReason | None, place: PlaceInQueue | None, language: Language
) -> str | None:
    """The reason, and of what can be counted that which bears on it."""
    if waiting is None:
        return None
    sentences = [_reason_text(row, waiting, language) or ""]
    match waiting, place:
        case WaitReason.AWAITING_DECISION, PlaceInQueue(pending_ahead=int(ahead)):
            sentences.append(_ahead("waiting.pending_ahead", ahead, language))
        case WaitReason.AWAITING_START, PlaceInQueue():
            sentences.append(counted("waiting.free_gpus", language, place.free_gpus))
        case WaitReason.AWAITING_GPUS, PlaceInQueue(approved_ahead=int(ahead)):
            sentences.append(counted("waiting.free_gpus", language, place.free_gpus))
            sentences.append(counted("waiting.held_by", language, place.held_by))
            sentences.append(_ahead("waiting.approved_ahead", ahead, language))
    return " ".join(sentences)


def _ahead(key: str, count: int, language: Language) -> str:
    if count >= MOST_COUNTED:
        return message(f"{key}.at_least", language, count=MOST_COUNTED)
    return counted(key, language, count)


def _reason_text(row: Row[Any], waiting: WaitReason | None, language: Language) -> str | None:
    if waiting is WaitReason.IN_ENGINE_QUEUE:
        return _queue_text(row.queue_reason, language)
    if waiting is WaitReason.STARTING and row.queue_reason:
        return message("wait.STARTING.postponed", language, queue_reason=row.queue_reason)
    key = f"reason.{row.reason}" if row.reason else f"wait.{waiting}" if waiting else None
    if key is None:
        return None
    if waiting is WaitReason.AWAITING_GPUS and row.num_gpus == 1:
        key = f"{key}.one"
    return _sentence(
        key,
        language,
        gpu_type=row.gpu_type,
        num_gpus=row.num_gpus,
        hours=hours_from_seconds(row.time_limit_seconds),
        exit_code=row.exit_code if row.exit_code is not None else "?",
        signal=row.exit_signal if row.exit_signal is not None else "?",
        note=row.decision_note or row.cancel_reason or "-",
    )


@lru_cache(maxsize=256)
def _queue_text(queue_reason: str | None, language: Language) -> str:
    """The engine's own word for it, and where that is a known one, what it means."""
    key = f"wait.{WaitReason.IN_ENGINE_QUEUE}"
    in_queue, own_word = message(key, language), (queue_reason or "").strip().removeprefix("(").removesuffix(")")
    if not own_word or own_word in NO_REASONS:
        return in_queue
    # Details follow a mark, as in `ReqNodeNotAvail, UnavailableNodes:n1`.
    name = re.split("[,:;(]", own_word, maxsplit=1)[0].strip().replace(" ", "_")
    family = next((family for family in REASON_FAMILIES if name.startswith(family)), name)
    for known in (f"queue.{name}", f"queue.{family}"):
        if why := find_message(known, language, queue_reason=own_word):
            return f"{in_queue} {why}"
    return f"{in_queue} {message(f'{key}.raw', language, queue_reason=own_word)}"


@lru_cache(maxsize=1024)
def _sentence(key: str, language: Language, **facts: str | float) -> str:
    """Kept, because the jobs of a page have few different ones, and writing them took a sixth of a page's time."""
    return message(key, language, **facts)
