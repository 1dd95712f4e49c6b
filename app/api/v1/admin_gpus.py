"""The fleet, for those who look after it."""

from typing import Annotated

from fastapi import APIRouter, Path

from app.api.deps import AdminUser, Autocommit, Now, Transaction
from app.api.errors import problems
from app.api.origin import RequestOrigin
from app.schemas.gpus import DrainRequest, GpuRead
from app.schemas.text import RowId
from app.services import gpus

router = APIRouter(prefix="/admin/gpus", tags=["admin"])

GpuId = Annotated[RowId, Path(description="The GPU's number.")]


@router.get("", responses=problems(401, 403, 503))
async def list_gpus(_admin: AdminUser, connection: Autocommit) -> list[GpuRead]:
    """Every GPU with its state and the job on it."""
    return [GpuRead.of(row) for row in await gpus.fleet(connection)]


@router.post("/{gpu_id}/drain", responses=problems(401, 403, 404, 422, 503))
async def drain(
    gpu_id: GpuId, body: DrainRequest, admin: AdminUser, connection: Transaction, now: Now, origin: RequestOrigin
) -> GpuRead:
    """Take a GPU out of service. The job on it runs to its end; no other begins."""
    return GpuRead.of(await gpus.drain(connection, admin, gpu_id, reason=body.reason, now=now, origin=origin))


@router.post("/{gpu_id}/resume", responses=problems(401, 403, 404, 422, 503))
async def resume(gpu_id: GpuId, admin: AdminUser, connection: Transaction, origin: RequestOrigin) -> GpuRead:
    """Let a drained or quarantined GPU take jobs again."""
    return GpuRead.of(await gpus.resume(connection, admin, gpu_id, origin=origin))
