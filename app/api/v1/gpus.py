"""What there is to ask for."""

from fastapi import APIRouter

from app.api.deps import Autocommit, JobsReader
from app.api.errors import problems
from app.schemas.gpus import GpuTypeRead
from app.services import gpus

router = APIRouter(prefix="/gpu-types", tags=["gpus"])


@router.get("", responses=problems(401, 503))
async def list_gpu_types(_user: JobsReader, connection: Autocommit) -> list[GpuTypeRead]:
    """The GPU types, how many exist of each, and how many are free now."""
    return [GpuTypeRead.model_validate(row) for row in await gpus.types(connection)]
