"""A person's own jobs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Response, status
from fastapi.responses import StreamingResponse

from app.api.deps import Autocommit, JobsReader, JobsWriter, Language, Now, State, Transaction
from app.api.errors import problem_text, problems
from app.api.exports import CSV_FILE, Export
from app.api.log_query import LogPart
from app.api.origin import RequestOrigin
from app.api.pagination import PageParams
from app.api.policy import Engine, Policy
from app.domain.errors import DomainError
from app.domain.job_request import JobFilter
from app.domain.job_state import JobStatus
from app.domain.quota import beyond_limit, hours_from_seconds
from app.schemas.exports import JOBS
from app.schemas.jobs import (
    CancelRequest,
    GpuPlace,
    JobCounts,
    JobCreate,
    JobEventRead,
    JobForecast,
    JobRead,
    JobWaiting,
    Refusal,
    UtilisationRead,
)
from app.schemas.text import FoldedInt, RowId
from app.services import exports, jobs, runs

router = APIRouter(prefix="/jobs", tags=["jobs"])

JobId = Annotated[RowId, Path(description="The job's number.")]
Statuses = Annotated[list[JobStatus] | None, Query(description="Only jobs in one of these; repeat for several.")]
StatusAlias = Annotated[list[JobStatus] | None, Query(description="An older name of `status`.", deprecated=True)]
Search = Annotated[
    str | None, Query(max_length=255, description="A job's number, or words that words of its name begin with.")
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Your own name for this submission. A retry with the same key and body answers with the same job.",
    ),
]
LOG_MEDIA_TYPE = "text/plain; charset=utf-8"
UNBUFFERED = {"X-Accel-Buffering": "no"}
"""Asks nginx to pass on what comes as it comes."""
SAMPLES = 2000


async def get_filter(
    user: JobsReader, status: Statuses = None, status_filter: StatusAlias = None, q: Search = None
) -> JobFilter:
    wanted = tuple(dict.fromkeys([*(status or ()), *(status_filter or ())]))
    return JobFilter(user_id=user.user_id, statuses=wanted, search=q)


Chosen = Annotated[JobFilter, Depends(get_filter)]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problems(401, 409, 422, 503),
)
async def submit(
    body: JobCreate,
    user: JobsWriter,
    connection: Autocommit,
    response: Response,
    engine: Engine,
    policy: Policy,
    now: Now,
    language: Language,
    key: IdempotencyKey = None,
) -> JobRead:
    """Submit a job. The most that it can hold is reserved from this month's quota until it ends."""
    row = await jobs.submit(connection, user, body.to_request(), key=key, engine=engine, policy=policy, now=now)
    response.headers["Location"] = f"/api/v1/jobs/{row.id}"
    return JobRead.of(row, user, language)


@router.post("/validate", responses=problems(401, 422, 503))
async def validate(
    body: JobCreate,
    user: JobsWriter,
    connection: Transaction,
    engine: Engine,
    policy: Policy,
    now: Now,
    language: Language,
) -> JobForecast:
    """Check a submission without making it: what it would cost, what it would leave, and whether it fits now."""
    request = body.to_request()
    needed = await jobs.cost(connection, request, engine=engine)
    reserved = hours_from_seconds(needed)
    beyond = hours_from_seconds(beyond_limit(needed, request.num_gpus, request.time_limit_seconds))
    try:
        seen = await jobs.forecast(connection, user, request, needed, policy=policy, now=now)
    except DomainError as refusal:
        problem = Refusal(code=refusal.code, detail=problem_text(refusal, language, now))
        return JobForecast(
            accepted=False, reserved_gpu_hours=reserved, reserved_beyond_limit_gpu_hours=beyond, problem=problem
        )
    return JobForecast(
        accepted=True,
        reserved_gpu_hours=reserved,
        reserved_beyond_limit_gpu_hours=beyond,
        available_hours_now=hours_from_seconds(seen.quota.available_seconds),
        available_hours_after=hours_from_seconds(seen.quota.available_seconds - needed),
        free_gpus=seen.free_gpus,
        fits_now=seen.free_gpus >= request.num_gpus,
    )


@router.get("", responses=problems(401, 422, 503))
async def list_jobs(
    user: JobsReader, connection: Autocommit, page: PageParams, language: Language, chosen: Chosen
) -> list[JobRead]:
    """Your jobs, newest first."""
    rows = await jobs.page(connection, chosen, cursor=page.last_id, limit=page.fetch_limit)
    return [JobRead.of(row, user, language) for row in page.cut(rows)]


@router.get("/export", response_class=Response, responses=problems(401, 422, 503) | CSV_FILE)
async def export_jobs(export: Export, chosen: Chosen) -> Response:
    """Your jobs as a CSV file, newest first; the `Link` header leads to the next 100,000 rows."""
    return await export.send(exports.list_jobs(chosen), JOBS)


@router.get("/counts", responses=problems(401, 503))
async def count_jobs(user: JobsReader, connection: Autocommit) -> JobCounts:
    """How many of your jobs stand in each status."""
    return JobCounts.model_validate(await jobs.counts(connection, user_id=user.user_id))


@router.get("/{job_id}", responses=problems(401, 404, 422, 503))
async def get_job(job_id: JobId, user: JobsReader, connection: Autocommit, language: Language) -> JobRead:
    """One job. Another person's is not found, unless you are an admin."""
    return JobRead.of(await jobs.read(connection, user, job_id), user, language)


@router.get("/{job_id}/waiting", responses=problems(401, 404, 422, 503))
async def read_waiting(job_id: JobId, user: JobsReader, connection: Autocommit, language: Language) -> JobWaiting:
    """Why the job has not started, since when, and what is ahead of it now."""
    return JobWaiting.of(*await jobs.waiting(connection, user, job_id), language)


@router.get("/{job_id}/events", responses=problems(401, 404, 422, 503))
async def list_job_events(job_id: JobId, user: JobsReader, connection: Autocommit) -> list[JobEventRead]:
    """What happened to the job, oldest first: who, when, and why."""
    return [JobEventRead.of(row) for row in await jobs.history(connection, user, job_id)]


@router.get(
    "/{job_id}/log",
    response_class=Response,
    responses=problems(401, 404, 422, 503) | {200: {"content": {"text/plain": {"example": "epoch 1 loss 2.31\n"}}}},
)
async def read_log(job_id: JobId, user: JobsReader, state: State, part: LogPart) -> Response:
    """What the job printed, as it printed it.

    `X-Log-Offset` is the first byte sent, `X-Log-Next-Offset` where to go on, `X-Log-Complete` whether the log is over.
    A log that is followed tells the first byte only: go on from there plus what you received. Of one that grew beyond
    the engine's limit the middle is left out: a read that begins there is answered with what comes after it, and one
    that follows ends there.
    """
    async with state.database.autocommit() as connection:
        run = await runs.find(connection, user, job_id)
    if part.download:
        kept = await runs.download_log(state.engine, run)
        as_file = {"Content-Disposition": f'attachment; filename="job-{job_id}.log"'}
        return StreamingResponse(kept, media_type=LOG_MEDIA_TYPE, headers=as_file)
    offset = part.offset if part.tail is None else await runs.find_tail(state.engine, run, part.tail)
    chunk = await runs.read_log(state.engine, run, offset=offset, limit=1 if part.follow else part.limit)
    headers = {"X-Log-Offset": str(chunk.offset)}
    if part.follow:
        growing = runs.follow_log(state.database, state.feed, state.engine, user, job_id, offset=chunk.offset)
        return StreamingResponse(growing, media_type=LOG_MEDIA_TYPE, headers=headers | UNBUFFERED)
    headers |= {
        "X-Log-Next-Offset": str(chunk.next_offset),
        "X-Log-Size": str(chunk.size),
        "X-Log-Complete": str(chunk.complete and chunk.next_offset >= chunk.size).lower(),
    }
    return Response(chunk.data, media_type=LOG_MEDIA_TYPE, headers=headers)


@router.get("/{job_id}/utilisation", responses=problems(401, 404, 422, 503))
async def read_utilisation(
    job_id: JobId,
    user: JobsReader,
    state: State,
    limit: Annotated[FoldedInt, Query(ge=1, le=SAMPLES, description="Samples at most, evenly thinned.")] = 500,
) -> list[UtilisationRead]:
    """What the job's GPUs did, oldest first."""
    async with state.database.autocommit() as connection:
        run = await runs.find(connection, user, job_id)
    samples = await runs.read_utilisation(state.engine, run, limit=limit)
    return [
        UtilisationRead(
            at=sample.at,
            gpu=GpuPlace(node=sample.slot.node, index=sample.slot.index),
            utilisation=sample.utilisation,
            memory_used_bytes=sample.memory_used_bytes,
            power_watts=sample.power_watts,
            temperature_celsius=sample.temperature_celsius,
        )
        for sample in samples
    ]


@router.post("/{job_id}/cancel", responses=problems(401, 404, 409, 422, 503))
async def cancel(
    job_id: JobId,
    user: JobsWriter,
    connection: Transaction,
    now: Now,
    origin: RequestOrigin,
    language: Language,
    body: CancelRequest | None = None,
) -> JobRead:
    """Give a job up. One that waits ends at once; one that runs ends when it is proved to have stopped."""
    reason = body.reason if body else None
    return JobRead.of(
        await jobs.cancel(connection, user, job_id, reason=reason, now=now, origin=origin), user, language
    )
