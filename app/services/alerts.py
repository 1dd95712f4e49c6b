"""What goes on in the fleet against the rules, for those who look after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import foreign_jobs
from app.db.queries.overstaying import overstaying


@dataclass(frozen=True, slots=True)
class Alerts:
    overstaying: Sequence[Row[Any]]
    foreign_jobs: Sequence[Row[Any]]


async def read(connection: AsyncConnection, *, now: datetime) -> Alerts:
    return Alerts(
        overstaying=await overstaying(connection, now=now), foreign_jobs=await foreign_jobs.present(connection)
    )
