"""Runs `invariants.sql`, the one file that says what must hold in the database at any moment."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

SWEEP = Path(__file__).with_name("invariants.sql")
SWEEP_TIMEOUT = "10min"


async def broken(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every finding as `(rule, subject, finding)`; none when the books are right. Needs a transaction of its own."""
    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
    await connection.execute(text("SELECT set_config('statement_timeout', :timeout, true)"), {"timeout": SWEEP_TIMEOUT})
    return (await connection.exec_driver_sql(SWEEP.read_text(encoding="utf-8"))).all()
