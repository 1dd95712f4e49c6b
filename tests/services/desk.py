"""What people do with jobs and quotas, each act in a transaction of its own as behind a request."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text

from app.api.state import AppState
from app.db.queries.jobs import JobRow
from app.domain.quota import QuotaBalance
from app.models import Base
from app.services import gpus, invariants, jobs, quotas
from app.services.jobs import EngineKind
from tests.factories import ORIGIN, Person, approve_job, engine_of, make_job, start_job
from tests.owner import become_owner

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Desk:
    state: AppState

    async def submit(self, owner: Person, **facts: Any) -> int:
        return int((await make_job(self.state, owner, **facts)).id)

    async def approve(self, admin: Person, job_id: int) -> JobRow:
        return await approve_job(self.state, job_id, admin)

    async def reject(self, admin: Person, job_id: int) -> JobRow:
        async with self.state.database.transaction() as connection:
            return await jobs.reject(
                connection, admin.caller, job_id, reason="not now", now=self.state.clock(), origin=ORIGIN
            )

    async def start(self, admin: Person, job_id: int) -> JobRow:
        return await start_job(self.state, job_id, admin)

    async def cancel(self, person: Person, job_id: int) -> JobRow:
        async with self.state.database.transaction() as connection:
            return await jobs.cancel(
                connection, person.caller, job_id, reason=None, now=self.state.clock(), origin=ORIGIN
            )

    async def quota(self, person: Person) -> QuotaBalance:
        async with self.state.database.transaction() as connection:
            return await quotas.read(connection, person.id, policy=self.state.quota_policy, now=self.state.clock())

    async def set_limit(self, admin: Person, person: Person, seconds: int) -> QuotaBalance:
        async with self.state.database.transaction() as connection:
            return await quotas.set_limit(
                connection,
                person.id,
                seconds,
                note="as asked",
                actor=admin.caller.actor,
                policy=self.state.quota_policy,
                now=self.state.clock(),
            )

    async def adjust(self, admin: Person, person: Person, seconds: int) -> QuotaBalance:
        async with self.state.database.transaction() as connection:
            return await quotas.adjust(
                connection,
                person.id,
                seconds,
                note="a correction",
                actor=admin.caller.actor,
                policy=self.state.quota_policy,
                now=self.state.clock(),
            )

    async def drain(self, admin: Person, gpu_id: int) -> None:
        async with self.state.database.transaction() as connection:
            await gpus.drain(
                connection,
                admin.caller,
                gpu_id,
                reason="a fan is broken",
                engine=self.engine,
                now=self.state.clock(),
                origin=ORIGIN,
            )

    async def resume(self, admin: Person, gpu_id: int) -> None:
        async with self.state.database.transaction() as connection:
            await gpus.resume(connection, admin.caller, gpu_id, engine=self.engine, origin=ORIGIN)

    @property
    def engine(self) -> EngineKind:
        return engine_of(self.state)

    async def job(self, job_id: int) -> Row[Any]:
        [row] = await self.sql("SELECT * FROM jobs WHERE id = :id", id=job_id)
        return row

    async def entries(self, person: Person) -> list[tuple[str, int, int, int]]:
        """The person's ledger: kind, and what it did to limit, reserved and used."""
        rows = await self.sql(
            "SELECT kind, limit_delta, reserved_delta, used_delta FROM quota_entries WHERE user_id = :id ORDER BY id",
            id=person.id,
        )
        return [tuple(row) for row in rows]

    async def sql(self, statement: str, *, as_owner: bool = False, **parameters: Any) -> list[Row[Any]]:
        """As the service, or as the role that owns the tables."""
        async with self.state.database.transaction() as connection:
            if as_owner:
                await become_owner(connection)
            result = await connection.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    async def everything(self) -> dict[str, list[str]]:
        """Every row of every table."""
        return {
            table.name: [row[0] for row in await self.sql(f"SELECT t::text FROM {table.name} t ORDER BY 1")]  # noqa: S608
            for table in Base.metadata.sorted_tables
        }

    async def broken_rules(self) -> list[str]:
        async with self.state.database.transaction() as connection:
            return [f"{rule}: {subject}: {finding}" for rule, subject, finding in await invariants.broken(connection)]
