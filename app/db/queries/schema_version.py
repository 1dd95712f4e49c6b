"""Which migration the database stands at."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_READ = text("SELECT version_num FROM alembic_version")


async def read(connection: AsyncConnection) -> str | None:
    revision: str | None = (await connection.execute(_READ)).scalar_one_or_none()
    return revision
