"""What has served its time and may go. Jobs, events, ledger and audit never do."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

IDEMPOTENCY_KEY_LIFETIME = timedelta(hours=24)
LOGIN_FAILURE_LIFETIME = timedelta(days=1)
SESSION_AFTERLIFE = timedelta(days=30)

_STATEMENTS = {
    text("DELETE FROM idempotency_keys WHERE created_at < :before"): IDEMPOTENCY_KEY_LIFETIME,
    text("DELETE FROM login_failures WHERE failed_at < :before"): LOGIN_FAILURE_LIFETIME,
    text("DELETE FROM sessions WHERE expires_at < :before"): SESSION_AFTERLIFE,
}


async def forget_what_expired(connection: AsyncConnection, *, now: datetime) -> None:
    """Delete expired idempotency keys, old failed sign-ins, and sessions that ended long ago."""
    for statement, lifetime in _STATEMENTS.items():
        await connection.execute(statement, {"before": now - lifetime})
