"""The fleet: what there is, and taking a GPU out of service and back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import gpus as queries
from app.domain.audit import AuditAction
from app.domain.errors import EngineGivesOutGpus, NotFound
from app.domain.identity import Caller
from app.services import audit
from app.services.audit import Origin
from app.services.jobs import EngineKind


async def types(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Each GPU type with how many exist and how many are free."""
    return await queries.types(connection)


async def fleet(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every GPU with the job on it."""
    return await queries.fleet(connection)


async def drain(
    connection: AsyncConnection,
    caller: Caller,
    gpu_id: int,
    *,
    reason: str,
    engine: EngineKind,
    now: datetime,
    origin: Origin,
) -> Row[Any]:
    """Give this GPU no further job. The one on it, if any, runs to its end.

    Raises:
        EngineGivesOutGpus: we do not give it to anybody.
    """
    await _refuse_what_is_not_ours(connection, gpu_id, engine)
    if not await queries.drain(connection, gpu_id=gpu_id, reason=reason, user_id=caller.user_id, now=now):
        raise NotFound
    await audit.record(
        connection,
        caller.actor,
        AuditAction.GPU_DRAINED,
        target_type="gpu",
        target_id=gpu_id,
        details={"reason": reason},
        origin=origin,
    )
    return (await queries.fleet(connection, gpu_id))[0]


async def resume(
    connection: AsyncConnection, caller: Caller, gpu_id: int, *, engine: EngineKind, origin: Origin
) -> Row[Any]:
    """Let this GPU take jobs again; also ends its quarantine.

    Raises:
        EngineGivesOutGpus: we do not give it to anybody.
    """
    await _refuse_what_is_not_ours(connection, gpu_id, engine)
    if not await queries.resume(connection, gpu_id=gpu_id):
        raise NotFound
    await audit.record(
        connection, caller.actor, AuditAction.GPU_RESUMED, target_type="gpu", target_id=gpu_id, origin=origin
    )
    return (await queries.fleet(connection, gpu_id))[0]


async def _refuse_what_is_not_ours(connection: AsyncConnection, gpu_id: int, engine: EngineKind) -> None:
    if engine.places_gpus:
        return
    found = await queries.fleet(connection, gpu_id)
    if not found:
        raise NotFound
    raise EngineGivesOutGpus(engine=engine.name, node=found[0].node)
