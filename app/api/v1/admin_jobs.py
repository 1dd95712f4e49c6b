"""Everybody's jobs, and the decisions on them."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response, status

from app.api.deps import AdminUser, Autocommit, Language, Now, State, Transaction
from app.api.errors import DATABASE_ERRORS, problem_status, problem_text, problems, refusal_of
from app.api.exports import CSV_FILE, Export
from app.api.origin import RequestOrigin
from app.api.pagination import PageParams
from app.api.policy import Engine, Policy
from app.api.v1.jobs import JobId, Search, StatusAlias, Statuses
from app.domain.errors import DomainError
from app.domain.job_request import JobFilter
from app.domain.job_state import JobAction
from app.domain.quota import seconds_from_hours
from app.schemas.exports import JOBS
from app.schemas.jobs import (
    ApproveRequest,
    DecisionResult,
    DecisionsRequest,
    JobCounts,
    JobRead,
    RefundRequest,
    Refusal,
    RejectRequest,
)
from app.schemas.text import Line, RowId
from app.services import exports, jobs

router = APIRouter(prefix="/admin/jobs", tags=["admin"])

UNSPECIFIED = "unspecified"
OfGpuType = Annotated[Line, Query(min_length=1, max_length=64, description="Only jobs for this GPU type.")]


async def get_filter(
    status: Statuses = None,
    status_filter: StatusAlias = None,
    user: Annotated[RowId | None, Query(description="Only this user's jobs.")] = None,
    gpu_type: OfGpuType | None = None,
    q: Search = None,
    sort: Annotated[Literal["newest", "oldest"], Query(description="By time of submission.")] = "newest",
) -> JobFilter:
    wanted = tuple(dict.fromkeys([*(status or ()), *(status_filter or ())]))
    return JobFilter(user_id=user, statuses=wanted, gpu_type=gpu_type, search=q, oldest_first=sort == "oldest")


Chosen = Annotated[JobFilter, Depends(get_filter)]


@router.get("", responses=problems(401, 403, 422, 503))
async def list_all_jobs(
    admin: AdminUser, connection: Autocommit, page: PageParams, language: Language, chosen: Chosen
) -> list[JobRead]:
    """Everybody's jobs."""
    rows = await jobs.page(connection, chosen, cursor=page.last_id, limit=page.fetch_limit)
    return [JobRead.of(row, admin, language) for row in page.cut(rows)]


@router.get("/export", response_class=Response, responses=problems(401, 403, 422, 503) | CSV_FILE)
async def export_all_jobs(_admin: AdminUser, export: Export, chosen: Chosen) -> Response:
    """Everybody's jobs as a CSV file; the `Link` header leads to the next 100,000 rows."""
    return await export.send(exports.list_jobs(chosen), JOBS)


@router.get("/counts", responses=problems(401, 403, 503))
async def count_all_jobs(_admin: AdminUser, connection: Autocommit) -> JobCounts:
    """How many jobs stand in each status."""
    return JobCounts.model_validate(await jobs.counts(connection, user_id=None))


@router.post("/decisions", status_code=status.HTTP_207_MULTI_STATUS, responses=problems(401, 403, 422, 503))
async def decide(
    body: DecisionsRequest,
    admin: AdminUser,
    state: State,
    engine: Engine,
    policy: Policy,
    now: Now,
    origin: RequestOrigin,
    language: Language,
) -> list[DecisionResult]:
    """Decide on many jobs at once. Each stands for itself: one that is refused does not undo the others."""
    results = []
    for decision in body.decisions:
        try:
            async with state.database.transaction() as connection:
                match decision.action:
                    case JobAction.APPROVE:
                        row = await jobs.approve(
                            connection,
                            admin,
                            decision.job_id,
                            note=decision.note,
                            digest=_bytes_of(decision.digest),
                            now=now,
                            origin=origin,
                        )
                    case JobAction.REJECT:
                        reason = decision.note or UNSPECIFIED
                        row = await jobs.reject(
                            connection, admin, decision.job_id, reason=reason, now=now, origin=origin
                        )
                    case _:
                        row = await jobs.start(
                            connection, admin, decision.job_id, engine=engine, policy=policy, now=now, origin=origin
                        )
            result = DecisionResult(job_id=decision.job_id, status=200, job=JobRead.of(row, admin, language))
        except (DomainError, *DATABASE_ERRORS) as error:
            refusal = error if isinstance(error, DomainError) else refusal_of(error)
            if refusal is None:
                raise
            problem = Refusal(code=refusal.code, detail=problem_text(refusal, language, now))
            result = DecisionResult(job_id=decision.job_id, status=problem_status(refusal), problem=problem)
        results.append(result)
    return results


@router.post("/{job_id}/approve", responses=problems(401, 403, 404, 409, 422, 503))
async def approve(
    job_id: JobId,
    admin: AdminUser,
    connection: Transaction,
    now: Now,
    origin: RequestOrigin,
    language: Language,
    body: ApproveRequest | None = None,
) -> JobRead:
    """Allow a PENDING job to run."""
    given = body or ApproveRequest()
    digest = _bytes_of(given.digest)
    row = await jobs.approve(connection, admin, job_id, note=given.note, digest=digest, now=now, origin=origin)
    return JobRead.of(row, admin, language)


@router.post("/{job_id}/reject", responses=problems(401, 403, 404, 409, 422, 503))
async def reject(
    job_id: JobId,
    admin: AdminUser,
    connection: Transaction,
    now: Now,
    origin: RequestOrigin,
    language: Language,
    body: RejectRequest | None = None,
) -> JobRead:
    """Refuse a PENDING job, with the reason that its owner will read."""
    reason = body.reason if body else UNSPECIFIED
    return JobRead.of(
        await jobs.reject(connection, admin, job_id, reason=reason, now=now, origin=origin), admin, language
    )


@router.post("/{job_id}/refund", responses=problems(401, 403, 404, 409, 422, 503))
async def refund(
    job_id: JobId,
    body: RefundRequest,
    admin: AdminUser,
    connection: Transaction,
    now: Now,
    origin: RequestOrigin,
    language: Language,
) -> JobRead:
    """Refund what a job that has ended was charged, all of it or a part."""
    seconds = None if body.gpu_hours is None else seconds_from_hours(body.gpu_hours)
    row = await jobs.refund(connection, admin, job_id, seconds=seconds, reason=body.reason, now=now, origin=origin)
    return JobRead.of(row, admin, language)


@router.post("/{job_id}/start", responses=problems(401, 403, 404, 409, 422, 503))
async def start(
    job_id: JobId,
    admin: AdminUser,
    connection: Transaction,
    engine: Engine,
    policy: Policy,
    now: Now,
    origin: RequestOrigin,
    language: Language,
) -> JobRead:
    """Run an APPROVED job now. Where the engine queues by itself, it stays APPROVED until the engine runs it."""
    row = await jobs.start(connection, admin, job_id, engine=engine, policy=policy, now=now, origin=origin)
    return JobRead.of(row, admin, language)


def _bytes_of(digest: str | None) -> bytes | None:
    return None if digest is None else bytes.fromhex(digest)
