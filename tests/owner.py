"""Acting as the role that owns the tables, for what the service's role cannot do: past every guard, or to the schema.

The service of the tests works as a role with the rights that `app/db/roles.py` gives it, like any other. Unlike any
other, that role may become the owner for a transaction, where a test says so.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

OWNER = "gtm_test_owner"
SERVICE = "gtm_test_service"
SERVICE_PASSWORD = "of-the-tests"

AS_OWNER = f"SELECT set_config('role', rolname, true) FROM pg_roles WHERE rolname = '{OWNER}'"  # noqa: S608 - our own name
"""Nothing to become where there is no such role: scripts that share the demo connect as the owner."""
UNGUARDED = f"{AS_OWNER}; SET LOCAL session_replication_role = replica"
"""No trigger fires from here to the end of the transaction."""


async def become_owner(connection: AsyncConnection, *, unguarded: bool = False) -> None:
    """Until the transaction ends."""
    for statement in (UNGUARDED if unguarded else AS_OWNER).split("; "):
        await connection.execute(text(statement))
