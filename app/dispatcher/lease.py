"""Only one dispatcher acts at a time. The lease says which; its term fences whatever an older one still writes."""

import asyncio
import os
import socket
import time
from datetime import timedelta
from uuid import uuid4

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db.engine import Database
from app.db.queries import lease as queries

LEASE_TTL = timedelta(seconds=15)
RENEWALS_PER_TTL = 3
LOOKS_PER_TTL = 15
"""How often `keep` looks whether it is time, so that a renewal that failed is soon tried again."""
SAFETY_MARGIN = 2 / 15
"""The share of the TTL for which the database would still honour a claim that its holder no longer trusts."""

log = structlog.get_logger("dispatcher")


class Lease:
    """This process's claim to be the dispatcher.

    Between renewals it trusts the claim until a little before the database would give it to somebody else, counted
    from the moment *before* the renewal was asked for, so that a slow answer never stretches it.
    """

    def __init__(self, database: Database, ttl: timedelta = LEASE_TTL) -> None:
        self._database = database
        self._ttl = ttl
        self._asking = asyncio.Lock()
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._term: int | None = None
        self._renewed_at = 0.0

    @property
    def term(self) -> int | None:
        """The term held now; None where it is not held, or no longer certain."""
        trusted_until = self._renewed_at + (1 - SAFETY_MARGIN) * self._ttl.total_seconds()
        return self._term if _monotonic() < trusted_until else None

    async def hold(self) -> int | None:
        """Acquire or renew as needed. Returns the term, or None while another dispatcher holds the lease."""
        async with self._asking:
            if not self._is_due():
                return self._term
            asked_at = _monotonic()
            async with self._database.autocommit() as connection:
                if self._term is not None and not await queries.renew(
                    connection, holder=self._holder, term=self._term, ttl=self._ttl
                ):
                    self._term = None
                if self._term is None:
                    self._term = await queries.acquire(connection, holder=self._holder, ttl=self._ttl)
            self._renewed_at = asked_at
            return self._term

    async def keep(self) -> None:
        """Renew it in time, whatever else its holder is doing, for as long as this runs."""
        while True:
            await asyncio.sleep(self._ttl.total_seconds() / LOOKS_PER_TTL)
            try:
                if self._term is not None:
                    await self.hold()
            except (DBAPIError, PoolTimeout, OSError, TimeoutError) as error:
                log.warning("the lease could not be renewed", error=type(error).__name__)

    async def resign(self) -> None:
        """Let the next dispatcher begin at once."""
        if self._term is None:
            return
        async with self._database.autocommit() as connection:
            await queries.resign(connection, holder=self._holder, term=self._term)
        self._term = None

    def _is_due(self) -> bool:
        return self.term is None or _monotonic() >= self._renewed_at + self._ttl.total_seconds() / RENEWALS_PER_TTL


def _monotonic() -> float:
    """Goes on while the machine sleeps, where it can: the database's clock does."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
