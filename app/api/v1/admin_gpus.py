"""The fleet, for those who look after it."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.deps import AdminUser, Autocommit, Now, Transaction
from app.api.errors import problems
from app.api.origin import RequestOrigin
from app.api.policy import Engine
from app.schemas.gpus import DrainRequest, GpuRead
from app.schemas.text import RowId
from app.services import gpus

router = APIRouter(prefix="/admin/gpus", tags=["admin"])

GpuId = Annotated[RowId, Path(description="The GPU's number.")]


@router.get("", responses=problems(401, 403, 503))
async def list_gpus(_admin: AdminUser, connection: Autocommit, engine: Engine) -> list[GpuRead]:
    """Every GPU with its state and the job on it."""
    return [GpuRead.of(row, is_ours=engine.places_gpus) for row in await gpus.fleet(connection)]


@router.post("/{gpu_id}/drain", responses=problems(401, 403, 404, 409, 422, 503))
async def drain(
    gpu_id: GpuId,
    body: DrainRequest,
    admin: AdminUser,
    connection: Transaction,
    engine: Engine,
    now: Now,
    origin: RequestOrigin,
) -> GpuRead:
    """Take a GPU out of service. The job on it runs to its end; no other begins."""
    drained = await gpus.drain(connection, admin, gpu_id, reason=body.reason, engine=engine, now=now, origin=origin)
    return GpuRead.of(drained, is_ours=engine.places_gpus)


@router.post("/{gpu_id}/resume", responses=problems(401, 403, 404, 409, 422, 503))
async def resume(
    gpu_id: GpuId, admin: AdminUser, connection: Transaction, engine: Engine, origin: RequestOrigin
) -> GpuRead:
    """Let a drained or quarantined GPU take jobs again."""
    resumed = await gpus.resume(connection, admin, gpu_id, engine=engine, origin=origin)
    return GpuRead.of(resumed, is_ours=engine.places_gpus)
