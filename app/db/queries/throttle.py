"""Failed sign-ins, remembered where every process sees them and no restart forgets them.

They are counted per subject: an account, or an address. What is a day old goes with the rest in `housekeeping`.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LIMIT_REACHED_AT = text(
    """
    SELECT max(failed_at) FROM (
        SELECT failed_at, row_number() OVER (PARTITION BY subject ORDER BY failed_at DESC) AS nth
        FROM login_failures WHERE subject = ANY(:subjects) AND failed_at > :since
    ) recent WHERE nth = :limit
    """
)
_RECORD = text("INSERT INTO login_failures (subject, failed_at) SELECT unnest(CAST(:subjects AS text[])), :now")
_FORGET = text("DELETE FROM login_failures WHERE subject = :subject")


async def limiting_failure(
    connection: AsyncConnection, subjects: Collection[str], *, limit: int, since: datetime
) -> datetime | None:
    """When the failure happened that has to grow old before the next try; None: no subject has reached the limit."""
    parameters = {"subjects": list(subjects), "limit": limit, "since": since}
    moment: datetime | None = (await connection.execute(_LIMIT_REACHED_AT, parameters)).scalar_one()
    return moment


async def record_failure(connection: AsyncConnection, subjects: Collection[str], *, now: datetime) -> None:
    await connection.execute(_RECORD, {"subjects": list(subjects), "now": now})


async def forget_failures(connection: AsyncConnection, subject: str) -> None:
    await connection.execute(_FORGET, {"subject": subject})
