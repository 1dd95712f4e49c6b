"""The dispatcher's lease. All times are the database's, so that clocks of two machines need not agree."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_ACQUIRE = text(
    """
    UPDATE dispatcher_lease
    SET holder = :holder, term = term + 1, renewed_at = clock_timestamp(), expires_at = clock_timestamp() + :ttl
    WHERE expires_at <= clock_timestamp()
    RETURNING term
    """
)
_RENEW = text(
    """
    UPDATE dispatcher_lease
    SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + :ttl
    WHERE holder = :holder AND term = :term AND expires_at > clock_timestamp()
    RETURNING term
    """
)
_RESIGN = text(
    "UPDATE dispatcher_lease SET holder = NULL, expires_at = '-infinity' WHERE holder = :holder AND term = :term"
)
_FENCE = text("SELECT true FROM dispatcher_lease WHERE term = :term AND expires_at > clock_timestamp() FOR SHARE")
_READ = text(
    """
    SELECT holder, term, expires_at > clock_timestamp() AS is_held,
           extract(epoch FROM clock_timestamp() - renewed_at)::float8 AS age_seconds
    FROM dispatcher_lease
    """
)


@dataclass(frozen=True, slots=True)
class LeaseState:
    holder: str | None
    term: int
    is_held: bool
    age_seconds: float


async def acquire(connection: AsyncConnection, *, holder: str, ttl: timedelta) -> int | None:
    """Take the lease if nobody holds it. Returns the new term, larger than every earlier one."""
    return (await connection.execute(_ACQUIRE, {"holder": holder, "ttl": ttl})).scalar_one_or_none()


async def renew(connection: AsyncConnection, *, holder: str, term: int, ttl: timedelta) -> bool:
    """Keep the lease. False: it was lost, and whatever this holder still writes changes no row."""
    parameters = {"holder": holder, "term": term, "ttl": ttl}
    return (await connection.execute(_RENEW, parameters)).scalar_one_or_none() is not None


async def resign(connection: AsyncConnection, *, holder: str, term: int) -> None:
    """Give the lease back at once, so that the next dispatcher need not wait for it to expire."""
    await connection.execute(_RESIGN, {"holder": holder, "term": term})


async def fence(connection: AsyncConnection, *, term: int) -> bool:
    """Let nobody take the lease until this transaction ends. False: the term is over, and nothing may be written."""
    return (await connection.execute(_FENCE, {"term": term})).one_or_none() is not None


async def read(connection: AsyncConnection) -> LeaseState:
    return LeaseState(*(await connection.execute(_READ)).one())
