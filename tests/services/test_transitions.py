"""The one function that changes a job's status, and everything that changes with it."""

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.db.queries.jobs import Move
from app.domain.execution import EndReason, final_status
from app.domain.identity import Actor
from app.domain.job_state import FINAL, TRANSITIONS, JobStatus, may_move
from app.services import transitions
from tests.conftest import FakeClock
from tests.factories import Person, make_user
from tests.services.desk import HOUR, Desk
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

DISPATCHER = Actor.dispatcher(1)
LEGAL = [(source, target) for source, targets in TRANSITIONS.items() for target in sorted(targets)]
ILLEGAL = [(source, target) for source, target in product(JobStatus, JobStatus) if not may_move(source, target)]
END_OF = {
    JobStatus.COMPLETED: EndReason.EXITED,
    JobStatus.FAILED: EndReason.NONZERO_EXIT,
    JobStatus.REJECTED: EndReason.REJECTED_BY_ADMIN,
    JobStatus.CANCELLED: EndReason.CANCELLED_BY_USER,
}


async def apply(desk: Desk, moves: Sequence[Move], *, actor: Actor = DISPATCHER, term: int | None = None) -> set[int]:
    async with desk.state.database.transaction() as connection:
        return await transitions.apply(connection, moves, actor=actor, now=desk.state.clock(), term=term)


def step(job_id: int, source: JobStatus, target: JobStatus, **facts: Any) -> Move:
    return Move(job_id, source, target, reason=END_OF.get(target), **facts)


async def job_in(desk: Desk, owner: Person, admin: Person, status: JobStatus) -> int:
    """A job that people, and the end of its run, have brought here."""
    job_id = await desk.submit(owner)
    if status is JobStatus.PENDING:
        return job_id
    if status is JobStatus.REJECTED:
        await desk.reject(admin, job_id)
        return job_id
    if status is JobStatus.CANCELLED:
        await desk.cancel(owner, job_id)
        return job_id
    await desk.approve(admin, job_id)
    if status is not JobStatus.APPROVED:
        await desk.start(admin, job_id)
    if status in FINAL:
        await apply(desk, [step(job_id, JobStatus.RUNNING, status)])
    return job_id


@pytest.mark.parametrize(("source", "target"), LEGAL)
async def test_a_legal_step_is_written_down_once(
    desk: Desk, user: Person, admin: Person, source: JobStatus, target: JobStatus
) -> None:
    job_id = await job_in(desk, user, admin, source)
    held_by_us = {"run_id": uuid4()} if target is JobStatus.RUNNING else {}
    actor = admin.caller.actor
    if held_by_us:
        await desk.start(admin, job_id)
    else:
        assert await apply(desk, [step(job_id, source, target)], actor=actor) == {job_id}
    job = await desk.job(job_id)
    [last] = await desk.sql("SELECT * FROM job_events WHERE job_id = :id ORDER BY seq DESC LIMIT 1", id=job_id)
    assert (job.status, job.event_seq) == (target, last.seq)
    assert (last.from_status, last.to_status, last.actor_user_id) == (source, target, admin.id)


@pytest.mark.parametrize(("source", "target"), ILLEGAL)
async def test_an_illegal_step_is_refused_before_the_database_is_asked(
    desk: Desk, user: Person, admin: Person, source: JobStatus, target: JobStatus
) -> None:
    job_id = await job_in(desk, user, admin, source)
    before = await desk.everything()
    with pytest.raises(ValueError, match=f"cannot go from {source} to {target}"):
        await apply(desk, [step(job_id, source, target)])
    assert await desk.everything() == before


async def test_a_job_that_is_elsewhere_is_left_alone(desk: Desk, user: Person, admin: Person) -> None:
    job_id = await job_in(desk, user, admin, JobStatus.APPROVED)
    before = await desk.everything()
    assert await apply(desk, [step(job_id, JobStatus.PENDING, JobStatus.CANCELLED)]) == set()
    assert await apply(desk, [step(job_id, JobStatus.RUNNING, JobStatus.COMPLETED)]) == set()
    assert await apply(desk, [step(job_id + 1, JobStatus.APPROVED, JobStatus.CANCELLED)]) == set()
    assert await desk.everything() == before


async def test_the_end_of_another_run_is_not_the_end_of_this_one(desk: Desk, user: Person, admin: Person) -> None:
    job_id = await job_in(desk, user, admin, JobStatus.RUNNING)
    before = await desk.everything()
    assert await apply(desk, [step(job_id, JobStatus.RUNNING, JobStatus.COMPLETED, run_id=uuid4())]) == set()
    assert await desk.everything() == before


@pytest.mark.parametrize("lease", ["term = 7", "term = 8, expires_at = clock_timestamp()"])
async def test_a_term_that_is_over_moves_nothing(desk: Desk, user: Person, admin: Person, lease: str) -> None:
    job_id = await job_in(desk, user, admin, JobStatus.RUNNING)
    await desk.sql("UPDATE dispatcher_lease SET expires_at = 'infinity'")
    await desk.sql(f"UPDATE dispatcher_lease SET {lease}")  # noqa: S608
    before = await desk.everything()
    assert await apply(desk, [step(job_id, JobStatus.RUNNING, JobStatus.COMPLETED)], term=8) == set()
    assert await desk.everything() == before
    await desk.sql("UPDATE dispatcher_lease SET term = 8, expires_at = 'infinity'")
    assert await apply(desk, [step(job_id, JobStatus.RUNNING, JobStatus.COMPLETED)], term=8) == {job_id}


async def test_one_batch_moves_those_that_can_be_moved(desk: Desk, user: Person, admin: Person) -> None:
    other = await make_user(desk.state)
    running = [await job_in(desk, owner, admin, JobStatus.RUNNING) for owner in (user, other, user)]
    elsewhere = await job_in(desk, user, admin, JobStatus.APPROVED)
    ends = [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.FAILED, JobStatus.COMPLETED]
    moves = [step(job, JobStatus.RUNNING, end) for job, end in zip([*running, elsewhere], ends, strict=True)]
    assert await apply(desk, moves) == set(running)
    counts = await desk.sql("SELECT user_id, status, jobs FROM job_counts WHERE jobs > 0 ORDER BY 1, 2")
    assert [tuple(row) for row in counts] == [
        (user.id, "APPROVED", 1),
        (user.id, "COMPLETED", 1),
        (user.id, "FAILED", 1),
        (other.id, "FAILED", 1),
    ]


async def test_one_batch_cannot_move_into_and_out_of_the_same_status(desk: Desk) -> None:
    moves = [
        step(1, JobStatus.APPROVED, JobStatus.RUNNING),
        step(2, JobStatus.RUNNING, JobStatus.COMPLETED),
    ]
    with pytest.raises(ValueError, match="into and out of the same status"):
        await apply(desk, moves)


async def test_the_end_of_a_run_settles_its_reservation_and_frees_its_gpus(
    desk: Desk, user: Person, admin: Person, clock: FakeClock
) -> None:
    job_id = await job_in(desk, user, admin, JobStatus.RUNNING)
    clock.advance(minutes=10)
    await apply(desk, [step(job_id, JobStatus.RUNNING, JobStatus.COMPLETED, charged_seconds=600, exit_code=0)])
    assert (await desk.entries(user))[-1] == ("SETTLE", 0, -HOUR, 600)
    balance = await desk.quota(user)
    assert (balance.reserved_seconds, balance.used_seconds) == (0, 600)
    [allocation] = await desk.sql("SELECT released_at FROM gpu_allocations")
    assert allocation.released_at == clock()


async def test_a_clock_that_goes_backwards_does_not_turn_the_times_round(
    desk: Desk, user: Person, admin: Person, clock: FakeClock
) -> None:
    job_id = await desk.submit(user)
    for act in (desk.approve, desk.start):
        clock.advance(minutes=-1)
        await act(admin, job_id)
    clock.advance(minutes=-1)
    await apply(desk, [step(job_id, JobStatus.RUNNING, JobStatus.COMPLETED)])
    job = await desk.job(job_id)
    assert job.created_at == job.decided_at == job.started_at == job.finished_at


@pytest.mark.parametrize("reason", [reason for reason in EndReason if final_status(reason) is JobStatus.FAILED])
async def test_only_the_gpus_of_a_lost_run_are_kept_aside(
    desk: Desk, user: Person, admin: Person, reason: EndReason
) -> None:
    lost, healthy = [await job_in(desk, user, admin, JobStatus.RUNNING) for _ in range(2)]
    await apply(desk, [Move(lost, JobStatus.RUNNING, JobStatus.FAILED, reason=reason)])
    quarantined = await desk.sql(
        "SELECT a.job_id FROM gpus g JOIN gpu_allocations a ON a.gpu_id = g.id WHERE g.is_quarantined"
    )
    assert [row.job_id for row in quarantined] == ([lost] if reason is EndReason.LOST else [])
    assert (await desk.job(healthy)).status == "RUNNING"


async def test_months_are_locked_in_the_order_of_their_numbers(desk: Desk, admin: Person) -> None:
    """As whoever moves a reservation locks them; with two orders, two transactions can wait for each other."""
    owners = [await make_user(desk.state) for _ in range(6)]
    jobs = [await job_in(desk, owner, admin, JobStatus.RUNNING) for owner in owners]
    first, *others = [row.id for row in await desk.sql("SELECT id FROM user_quotas ORDER BY id")]
    async with desk.state.database.transaction() as connection:
        await connection.execute(text("SELECT id FROM user_quotas WHERE id = :id FOR NO KEY UPDATE"), {"id": first})
        settling = asyncio.create_task(apply(desk, [step(job, JobStatus.RUNNING, JobStatus.COMPLETED) for job in jobs]))
        await eventually(lambda: desk.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        free = await desk.sql("SELECT id FROM user_quotas FOR NO KEY UPDATE SKIP LOCKED")
    assert sorted(row.id for row in free) == others
    assert await settling == set(jobs)
