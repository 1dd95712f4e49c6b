"""Is a dispatcher at work? `python -m app.dispatcher.check` asks the database, for health checks and for people.

It exits with 0 while one holds the lease: a dispatcher whose process hangs loses it after 15 s, like one that is gone.
"""

import asyncio
import sys

from sqlalchemy.exc import SQLAlchemyError

from app.core.config import ConfigurationError, load_settings
from app.db.engine import Database
from app.db.queries import lease


async def main() -> str | None:
    """What is wrong, as one sentence; None: nothing."""
    try:
        settings = load_settings()
    except ConfigurationError as problem:
        return str(problem)
    if settings.database_url is None:
        return "DATABASE_URL is not set: beside an embedded database, ask /readyz instead"
    database = Database(settings.database_url.get_secret_value(), settings.database_pool_size)
    try:
        async with database.autocommit() as connection:
            found = await lease.read(connection)
    except (SQLAlchemyError, OSError) as problem:
        return f"the lease cannot be read ({type(problem).__name__}): see that the database runs and is migrated"
    finally:
        await database.dispose()
    if not found.is_held:
        return f"no dispatcher holds the lease; the last one renewed it {found.age_seconds:.0f} s ago"
    return None


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
