"""Many at once, on the same row, at the same moment. Every test ends with balanced books: see `desk`."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.db.queries import gpus
from app.db.queries.jobs import Move
from app.domain.errors import (
    AdjustmentOutOfRange,
    DomainError,
    ExceedsMonthlyQuota,
    JobStateConflict,
    NoCapacity,
    QuotaBelowUse,
    QuotaExceeded,
)
from app.domain.execution import EndReason
from app.domain.identity import Actor
from app.domain.job_state import JobStatus
from app.executors.simulated.fleet import parse_fleet
from app.services import transitions
from tests.conftest import FakeClock
from tests.factories import Person, make_fleet, make_user
from tests.services.desk import HOUR, Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
ROUNDS = 200 if IS_LONG else 3
CONTESTED_JOBS = 10_000 if IS_LONG else 300

Act = Callable[[], Awaitable[Any]]
T = TypeVar("T")


async def at_once(acts: Sequence[Act]) -> list[Any]:
    """Let all begin together. Returns what each returned or raised; only refusals may be raised."""
    barrier = asyncio.Barrier(len(acts))

    async def wait_and_act(act: Act) -> Any:
        await barrier.wait()
        return await act()

    outcomes = await asyncio.gather(*(wait_and_act(act) for act in acts), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, DomainError):
            raise outcome
    return outcomes


def refused(outcomes: Sequence[Any]) -> list[DomainError]:
    return [outcome for outcome in outcomes if isinstance(outcome, DomainError)]


@pytest.mark.parametrize("round_number", range(ROUNDS))
async def test_a_quota_for_fifty_jobs_takes_exactly_fifty(desk: Desk, user: Person, round_number: int) -> None:
    """Checking first and writing afterwards let 32 clients get 992 jobs through a limit of 50."""
    del round_number
    accepted: list[int] = []

    async def submit_until_refused() -> None:
        while True:
            accepted.append(await desk.submit(user, num_gpus=2, time_limit=timedelta(hours=1)))

    outcomes = await at_once([submit_until_refused] * 32)
    assert len(accepted) == len(set(accepted)) == 50
    assert {type(outcome) for outcome in outcomes} == {QuotaExceeded}
    balance = await desk.quota(user)
    assert (balance.reserved_seconds, balance.available_seconds) == (100 * HOUR, 0)


async def test_one_idempotency_key_makes_one_job(desk: Desk, user: Person) -> None:
    jobs = await at_once([lambda: desk.submit(user, key="k1")] * 20)
    assert len(set(jobs)) == 1
    assert (await desk.quota(user)).reserved_seconds == HOUR


async def test_one_idempotency_key_makes_one_job_though_the_quota_holds_no_second(desk: Desk, user: Person) -> None:
    jobs = await at_once([lambda: desk.submit(user, key="k1", time_limit=timedelta(hours=100))] * 20)
    assert refused(jobs) == []
    assert len(set(jobs)) == 1


async def test_of_two_admins_and_the_owner_one_wins_every_step(desk: Desk, user: Person, admin: Person) -> None:
    """All three decide, start and cancel the same jobs at the same moment, each of them first as often as the others.

    Who wins writes one event and one line of the audit log; who loses is told, and writes nothing.
    """
    other = await make_user(desk.state, is_admin=True)
    await make_fleet(desk.state, "node1=A100x64,node2=A100x64,node3=A100x64,node4=A100x64,node5=A100x64")
    jobs = [await desk.submit(user, time_limit=timedelta(seconds=30)) for _ in range(CONTESTED_JOBS)]
    contests_at_once = asyncio.Semaphore(12)

    async def contest(number: int, job_id: int) -> None:
        third = partial(desk.cancel, user) if number % 2 else partial(desk.approve, other)
        decisions = [partial(desk.approve, admin), partial(desk.reject, other), third]
        starts = [partial(desk.start, admin), partial(desk.start, other), partial(desk.cancel, admin)]
        async with contests_at_once:
            await the_winners_write(desk, job_id, rotated(decisions, number))
            await the_winners_write(desk, job_id, rotated(starts, number))
            if (await desk.job(job_id)).status == "RUNNING":
                ends = [partial(end_as, desk, job_id, status) for status in ("COMPLETED", "FAILED", "CANCELLED")]
                moved = await at_once(rotated(ends, number // len(ends)))
                assert sorted(moved, key=len) == [set(), set(), {job_id}]

    await asyncio.gather(*(contest(number, job_id) for number, job_id in enumerate(jobs)))
    ways = await desk.sql(
        "SELECT way, count(*) AS jobs FROM (SELECT string_agg(left(to_status, 3), ' ' ORDER BY seq) AS way "
        "FROM job_events WHERE kind = 'TRANSITION' GROUP BY job_id) life GROUP BY way"
    )
    assert {row.way for row in ways} >= {"PEN APP CAN", "PEN REJ", "PEN CAN", "PEN APP RUN COM", "PEN APP RUN FAI"}
    assert sum(row.jobs for row in ways) == len(jobs)


def rotated(acts: Sequence[T], number: int) -> Sequence[T]:
    first = number % len(acts)
    return [*acts[first:], *acts[:first]]


async def the_winners_write(desk: Desk, job_id: int, acts: Sequence[Callable[[int], Awaitable[Any]]]) -> None:
    before = await traces(desk, job_id)
    outcomes = await at_once([partial(act, job_id) for act in acts])
    losers = refused(outcomes)
    assert [loser for loser in losers if not isinstance(loser, JobStateConflict)] == []
    winners = len(acts) - len(losers)
    assert await traces(desk, job_id) == tuple(trace + winners for trace in before)


async def traces(desk: Desk, job_id: int) -> tuple[int, ...]:
    """How many events a job has, and how many lines in the audit log."""
    [row] = await desk.sql(
        "SELECT (SELECT count(*) FROM job_events WHERE job_id = :id), "
        "(SELECT count(*) FROM audit_entries WHERE target_type = 'job' AND target_id = :id)",
        id=job_id,
    )
    return tuple(row)


async def end_as(desk: Desk, job_id: int, status: str) -> set[int]:
    reason = {
        "COMPLETED": EndReason.EXITED,
        "FAILED": EndReason.NONZERO_EXIT,
        "CANCELLED": EndReason.CANCELLED_BY_ADMIN,
    }[status]
    end = Move(job_id, JobStatus.RUNNING, JobStatus(status), reason=reason)
    async with desk.state.database.transaction() as connection:
        return await transitions.apply(connection, [end], actor=Actor.dispatcher(1), now=desk.state.clock())


async def test_the_same_few_gpus_are_given_away_once(desk: Desk, user: Person, admin: Person) -> None:
    """Twelve jobs of one to three GPUs want the eight there are."""
    jobs = [await desk.submit(user, num_gpus=1 + number % 3) for number in range(12)]
    for job_id in jobs:
        await desk.approve(admin, job_id)
    outcomes = await at_once([partial(desk.start, admin, job_id) for job_id in jobs])
    assert {type(refusal) for refusal in refused(outcomes)} == {NoCapacity}
    held = await desk.sql("SELECT gpu_id FROM gpu_allocations WHERE released_at IS NULL")
    assert len(held) == len({row.gpu_id for row in held}) == 8


async def test_gpus_are_drained_returned_and_counted_while_they_are_given_away(
    desk: Desk, user: Person, admin: Person
) -> None:
    """Also by a dispatcher that reads the fleet, in an order of its own."""
    jobs = [await desk.submit(user, time_limit=timedelta(minutes=1)) for _ in range(40)]
    for job_id in jobs:
        await desk.approve(admin, job_id)
    gpu_ids = [row.id for row in await desk.sql("SELECT id FROM gpus")]
    backwards = list(reversed(parse_fleet("node1=A100x8,node2=V100x4")))

    async def start_and_end(job_id: int) -> None:
        await desk.start(admin, job_id)
        await end_as(desk, job_id, "COMPLETED")

    async def drain_and_resume(gpu_id: int) -> None:
        await desk.drain(admin, gpu_id)
        await desk.resume(admin, gpu_id)

    async def read_the_fleet() -> None:
        async with desk.state.database.transaction() as connection:
            await gpus.sync_inventory(connection, executor="simulated", gpus=backwards, now=desk.state.clock())

    outcomes = await at_once(
        [
            *[partial(start_and_end, job_id) for job_id in jobs],
            *[partial(drain_and_resume, gpu_id) for gpu_id in gpu_ids],
            *[read_the_fleet] * 8,
        ]
    )
    assert {type(refusal) for refusal in refused(outcomes)} <= {NoCapacity}
    assert await desk.sql("SELECT id FROM gpu_allocations WHERE released_at IS NULL") == []


async def test_a_limit_that_moves_while_jobs_come_is_never_broken(desk: Desk, user: Person, admin: Person) -> None:
    limits = [hours * HOUR for hours in (10, 40, 25, 60, 5, 30, 15, 50)]
    acts: list[Act] = [
        *[lambda: desk.submit(user, time_limit=timedelta(hours=2))] * 24,
        *[partial(desk.set_limit, admin, user, limit) for limit in limits],
        *[lambda: desk.adjust(admin, user, HOUR)] * 8,
    ]
    outcomes = await at_once(acts)
    assert {type(refusal) for refusal in refused(outcomes)} <= {
        QuotaExceeded,
        ExceedsMonthlyQuota,
        QuotaBelowUse,
        AdjustmentOutOfRange,
    }
    balance = await desk.quota(user)
    assert balance.reserved_seconds + balance.used_seconds <= balance.limit_seconds
    assert sum(entry[1] for entry in await desk.entries(user)) == balance.limit_seconds


async def test_the_turn_of_the_month_comes_once_for_everybody(
    desk: Desk, user: Person, admin: Person, clock: FakeClock
) -> None:
    """Jobs of last month start while others are submitted, and the month is opened by whoever comes first."""
    old = [await desk.submit(user, time_limit=timedelta(hours=10), gpu_type="V100") for _ in range(4)]
    for job_id in old:
        await desk.approve(admin, job_id)
    clock.advance(days=31)
    acts: list[Act] = [
        *[partial(desk.start, admin, job_id) for job_id in old],
        *[lambda: desk.submit(user, time_limit=timedelta(hours=10))] * 16,
    ]
    outcomes = await at_once(acts)
    assert {type(refusal) for refusal in refused(outcomes)} == {QuotaExceeded}
    assert len(refused(outcomes)) == 10
    assert (await desk.quota(user)).available_seconds == 0


async def test_the_last_two_admins_cannot_demote_each_other(desk: Desk, admin: Person) -> None:
    other = await make_user(desk.state, is_admin=True)

    async def demote(person: Person) -> str:
        try:
            await desk.sql("UPDATE users SET is_admin = false WHERE id = :id", id=person.id)
        except DBAPIError as error:
            return str(getattr(error.orig, "sqlstate", ""))
        return "demoted"

    outcomes = await at_once([lambda: demote(admin), lambda: demote(other)])
    assert sorted(outcomes) == ["GT002", "demoted"]


async def test_the_fleet_is_locked_in_the_order_in_which_gpus_are_given_away(desk: Desk) -> None:
    backwards = list(reversed(parse_fleet("node1=A100x8,node2=V100x4")))
    first, *others = [row.id for row in await desk.sql("SELECT id FROM gpus ORDER BY id")]

    async def read_the_fleet() -> None:
        async with desk.state.database.transaction() as connection:
            await gpus.sync_inventory(connection, executor="simulated", gpus=backwards, now=desk.state.clock())

    async with desk.state.database.transaction() as connection:
        await connection.execute(text("SELECT id FROM gpus WHERE id = :id FOR NO KEY UPDATE"), {"id": first})
        reading = asyncio.create_task(read_the_fleet())
        await eventually(lambda: desk.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        free = await desk.sql("SELECT id FROM gpus FOR NO KEY UPDATE SKIP LOCKED")
    await reading
    assert sorted(row.id for row in free) == others
