"""The two roles of a database: one owns its tables, the service uses them with the rights that it is given here.

Names of roles and passwords cannot be parameters of these statements; both come from the operator's settings.
"""

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

ROLES_LOCK = 4_761_004
MADE_BY_US = "made by GPU Task Manager"

_LOCK = text("SELECT pg_advisory_xact_lock(:lock)")
_FIND = text("SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = :role")
_RIGHTS = text(
    """
    SELECT c.relname AS name, right_to.privilege_type AS privilege
    FROM pg_class c
    LEFT JOIN LATERAL aclexplode(c.relacl) right_to
        ON right_to.grantee = (SELECT oid FROM pg_roles WHERE rolname = :role)
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = ANY(CAST(:names AS text[]))
      AND c.relkind IN ('r', 'p', 'S')
    """
)
_OWNS = text(
    """
    SELECT EXISTS (
        SELECT FROM pg_class c JOIN pg_roles me ON me.rolname = current_user
        WHERE c.relnamespace = current_schema()::regnamespace AND c.relname = :table
          AND (me.rolsuper OR pg_has_role(c.relowner, 'USAGE'))
    )
    """
)


async def lock(connection: AsyncConnection) -> None:
    """Until the transaction ends, nobody else gives or takes rights in this database."""
    await connection.execute(_LOCK, {"lock": ROLES_LOCK})


async def find(connection: AsyncConnection, role: str) -> tuple[bool, bool]:
    """Whether there is such a role, and whether we made it."""
    found = (await connection.execute(_FIND, {"role": role})).one_or_none()
    return found is not None, found is not None and found[0] == MADE_BY_US


async def create(connection: AsyncConnection, role: str, verifier: str | None) -> None:
    await connection.exec_driver_sql(f"CREATE ROLE {_quoted(role)} LOGIN {_password(verifier)}")
    await connection.exec_driver_sql(f"COMMENT ON ROLE {_quoted(role)} IS '{MADE_BY_US}'")


async def set_password(connection: AsyncConnection, role: str, verifier: str) -> None:
    await connection.exec_driver_sql(f"ALTER ROLE {_quoted(role)} {_password(verifier)}")


async def rights(connection: AsyncConnection, role: str, names: Iterable[str]) -> dict[str, set[str]]:
    """What the role may do with those of these tables and sequences that there are."""
    found: dict[str, set[str]] = {}
    for row in await connection.execute(_RIGHTS, {"role": role, "names": list(names)}):
        found.setdefault(row.name, set()).update([row.privilege] if row.privilege else [])
    return found


async def grant(connection: AsyncConnection, role: str, name: str, privileges: Iterable[str]) -> None:
    await connection.exec_driver_sql(f"GRANT {_listed(privileges)} ON {_quoted(name)} TO {_quoted(role)}")


async def revoke(connection: AsyncConnection, role: str, name: str, privileges: Iterable[str]) -> None:
    await connection.exec_driver_sql(f"REVOKE {_listed(privileges)} ON {_quoted(name)} FROM {_quoted(role)}")


async def owns(connection: AsyncConnection, table: str) -> bool:
    """Whether this connection's role could do anything to this table, past every guard."""
    return bool((await connection.execute(_OWNS, {"table": table})).scalar_one())


def _listed(privileges: Iterable[str]) -> str:
    return ", ".join(sorted(privileges))


def _password(verifier: str | None) -> str:
    return "PASSWORD NULL" if verifier is None else f"PASSWORD '{verifier}'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
