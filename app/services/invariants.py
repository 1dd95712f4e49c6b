"""What must hold in the database at any moment."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.queries import invariants as queries


async def broken(connection: AsyncConnection) -> Sequence[tuple[str, str, str]]:
    """Every finding as `(rule, subject, finding)`. Needs a transaction that nothing has been asked of yet."""
    return [(row.rule, row.subject, row.finding) for row in await queries.broken(connection)]
