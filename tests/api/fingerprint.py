"""One short text for all that the database holds: two that are equal mean that nothing was written in between."""

from sqlalchemy.ext.asyncio import AsyncConnection

from app.models import Base

_OF_ALL_TABLES = " || ".join(
    f"(SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '-') FROM {table.name} t)"  # noqa: S608
    for table in Base.metadata.sorted_tables
)


async def fingerprint(connection: AsyncConnection) -> str:
    """What is committed, as this connection sees it now."""
    found: str = (await connection.exec_driver_sql(f"SELECT {_OF_ALL_TABLES}")).scalar_one()
    return found
