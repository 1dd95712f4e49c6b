"""Taking a database away from the service, and giving it back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import NullPool, make_url
from sqlalchemy.ext.asyncio import create_async_engine


@asynccontextmanager
async def database_away(server_url: str, database_url: str) -> AsyncIterator[None]:
    """It refuses connections, and those that were open are gone."""
    name = make_url(database_url).database
    engine = create_async_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await connection.exec_driver_sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608
        )
        try:
            yield
        finally:
            await connection.exec_driver_sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await engine.dispose()
