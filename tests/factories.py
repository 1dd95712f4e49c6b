"""Things for tests to work with, made by the real services, with defaults for all that a test does not care about."""

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from app.api.state import AppState
from app.db.queries import gpus
from app.db.queries.jobs import JobRow, Move
from app.domain.execution import EndReason
from app.domain.identity import Actor, Caller, Scope
from app.domain.job_request import JobRequest
from app.domain.job_state import JobStatus
from app.executors.simulated.fleet import parse_fleet
from app.services import auth, jobs, tokens, transitions
from app.services.audit import Origin
from app.services.auth import SignIn
from app.services.jobs import EngineKind
from app.services.quotas import QuotaPolicy

PASSWORD = "quiet-River-71-lantern"
ORIGIN = Origin(address="192.0.2.10", request_id="test", user_agent="pytest")

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Person:
    """An account, and what only its owner knows."""

    id: int
    email: str
    full_name: str | None
    is_admin: bool
    password: str = PASSWORD

    @property
    def caller(self) -> Caller:
        """This person as services see them behind a request."""
        return Caller(self.id, self.email, self.full_name, self.is_admin, None, uuid4(), 1)


async def make_user(
    state: AppState,
    *,
    email: str | None = None,
    password: str = PASSWORD,
    full_name: str | None = "Sara Ahmadi",
    is_admin: bool = False,
) -> Person:
    row = await auth.register(
        state.database,
        state.passwords,
        email=email or f"person{next(_numbers)}@example.org",
        password=password,
        full_name=full_name,
        is_admin=is_admin,
        settings=state.settings,
        now=state.clock(),
        origin=ORIGIN,
    )
    return Person(row.id, row.email, row.full_name, row.is_admin, password)


@dataclass(frozen=True, slots=True)
class ProgramsToken:
    """A personal access token, and what its program shows."""

    id: UUID
    secret: str


async def make_token(
    state: AppState, owner: Person, *, scopes: Collection[Scope] = tuple(Scope), days: int = 30
) -> ProgramsToken:
    """With all scopes unless others are named; `admin` is left out for who is none."""
    async with state.database.transaction() as connection:
        made = await tokens.create(
            connection,
            owner.caller,
            name="nightly runs",
            scopes=[scope for scope in scopes if owner.is_admin or scope != Scope.ADMIN],
            lifetime=timedelta(days=days),
            now=state.clock(),
            origin=ORIGIN,
        )
    return ProgramsToken(made.row.id, str(made.secret))


async def sign_in(state: AppState, person: Person) -> SignIn:
    return await auth.login(
        state.database,
        state.passwords,
        email=person.email,
        password=person.password,
        settings=state.settings,
        now=state.clock(),
        origin=ORIGIN,
    )


def engine_of(state: AppState) -> EngineKind:
    return EngineKind(state.engine.name, state.engine.places_gpus)


async def make_fleet(state: AppState, fleet: str = "node1=A100x8,node2=V100x4") -> None:
    """Register the GPUs that a dispatcher would have found."""
    async with state.database.transaction() as connection:
        await gpus.sync_inventory(connection, executor=state.engine.name, gpus=parse_fleet(fleet), now=state.clock())


async def make_job(
    state: AppState,
    owner: Person,
    *,
    name: str = "train-resnet",
    gpu_type: str = "A100",
    num_gpus: int = 1,
    time_limit: timedelta = timedelta(hours=1),
    command: str = "python train.py",
    key: str | None = None,
    **more: Any,
) -> JobRow:
    """Submit a job; it needs a fleet that has the type. It is PENDING. `more`: other fields of a `JobRequest`."""
    request = JobRequest(name, gpu_type, num_gpus, int(time_limit.total_seconds()), command, **more)
    async with state.database.autocommit() as connection:
        return await jobs.submit(
            connection,
            owner.caller,
            request,
            key=key,
            engine=engine_of(state),
            policy=QuotaPolicy.of(state.settings),
            now=state.clock(),
        )


async def approve_job(state: AppState, job_id: int, admin: Person) -> JobRow:
    async with state.database.transaction() as connection:
        return await jobs.approve(connection, admin.caller, job_id, note=None, now=state.clock(), origin=ORIGIN)


async def reject_job(state: AppState, job_id: int, admin: Person) -> JobRow:
    async with state.database.transaction() as connection:
        return await jobs.reject(connection, admin.caller, job_id, reason="Too long", now=state.clock(), origin=ORIGIN)


async def start_job(state: AppState, job_id: int, admin: Person) -> JobRow:
    """RUNNING in the database, with GPUs; nothing is launched before a dispatcher does it."""
    async with state.database.transaction() as connection:
        return await jobs.start(
            connection,
            admin.caller,
            job_id,
            engine=engine_of(state),
            policy=QuotaPolicy.of(state.settings),
            now=state.clock(),
            origin=ORIGIN,
        )


async def run_job(state: AppState, job_id: int, admin: Person, *, charged_seconds: int) -> None:
    """Approved, started and COMPLETED, with this charge."""
    await approve_job(state, job_id, admin)
    await start_job(state, job_id, admin)
    end = Move(job_id, JobStatus.RUNNING, JobStatus.COMPLETED, reason=EndReason.EXITED, charged_seconds=charged_seconds)
    async with state.database.transaction() as connection:
        await transitions.apply(connection, [end], actor=Actor.dispatcher(1), now=state.clock())
