"""Three dispatchers want to work on two hundred jobs. Whoever holds the lease is stopped in the middle, and continued.

The kernel stops a process between any two instructions; when it goes on, it does not know that time has passed. The
lease is short here, so that the others need not wait for its usual quarter of a minute.
"""

import os
import signal
from functools import partial

import pytest

from tests.e2e.deployment import FLEET, Deployment
from tests.e2e.processes import Process, start_process
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
JOBS = 6000 if IS_LONG else 200
PAUSES = 20 if IS_LONG else 2
LEASE_SECONDS = "0.6"


async def test_one_that_was_stopped_beyond_its_lease_changes_nothing_when_it_goes_on(deployment: Deployment) -> None:
    jobs = await deployment.approve(JOBS, seconds=0.3, num_gpus=4)  # 32 of them fit at a time
    dispatchers = [deployment.start_dispatcher(LEASE_SECONDS=LEASE_SECONDS) for _ in range(3)]
    paused: list[Process] = []
    for number in range(PAUSES):
        await eventually(partial(has_settled, deployment, JOBS * number // (PAUSES + 1)))
        holder, term = await stopped_holder(deployment, dispatchers)
        paused.append(holder)
        await eventually(partial(is_past, deployment, term))
        holder.signal(signal.SIGCONT)

    await deployment.all_have_ended(jobs)
    await deployment.nothing_was_lost_or_done_twice(jobs)
    terms = await terms_in_the_order_of_their_writing(deployment)
    assert terms == sorted(terms), "an older term wrote after a newer one"
    assert len(set(terms)) > PAUSES
    assert all(not holder.died_by_itself() for holder in paused)


async def test_one_that_is_told_to_end_makes_room_at_once(deployment: Deployment) -> None:
    """Runs go on without it."""
    [running] = await deployment.approve(1, seconds=200)
    await deployment.desk.start(deployment.admin, running)
    facts = {"SIMULATION_SPEEDUP": "1", "SIMULATED_FLEET": FLEET}
    ending = start_process(deployment.url, deployment.directory, "app.dispatcher", forked=False, **facts)
    deployment.processes.callback(ending.stop)
    await eventually(partial(somebody_dispatches, deployment))
    ending.stop()
    assert ending.exit_code == 0, ending.output.read_text()
    assert not await somebody_dispatches(deployment)
    assert (await deployment.desk.job(running)).status == "RUNNING"


async def somebody_dispatches(deployment: Deployment) -> bool:
    [row] = await deployment.desk.sql("SELECT expires_at > clock_timestamp() FROM dispatcher_lease")
    return bool(row[0])


async def has_settled(deployment: Deployment, number: int) -> bool:
    [row] = await deployment.desk.sql("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")
    return bool(row[0] > number)


async def holder_of_the_lease(deployment: Deployment, dispatchers: list[Process]) -> Process:
    [row] = await deployment.desk.sql("SELECT holder FROM dispatcher_lease")
    pid = int(row.holder.split(":")[1])
    return next(dispatcher for dispatcher in dispatchers if dispatcher.pid == pid)


async def stopped_holder(deployment: Deployment, dispatchers: list[Process]) -> tuple[Process, int]:
    """Stopped while it holds the lease, and its term. The lease can go on between a look at it and the signal."""
    while True:
        term = await present_term(deployment)
        holder = await holder_of_the_lease(deployment, dispatchers)
        deployment.processes.callback(holder.signal, signal.SIGCONT)
        holder.signal(signal.SIGSTOP)
        if await present_term(deployment) == term:
            return holder, term
        holder.signal(signal.SIGCONT)


async def present_term(deployment: Deployment) -> int:
    [row] = await deployment.desk.sql("SELECT term FROM dispatcher_lease")
    return int(row.term)


async def is_past(deployment: Deployment, term: int) -> bool:
    """Another one has taken over, and done something.

    A process that is stopped within a transaction keeps its locks, the fence of the lease among them, until PostgreSQL
    ends it. It does so after ten seconds; here it is done after one.
    """
    await deployment.desk.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND state_change < clock_timestamp() - interval '1 second'"
    )
    rows = await deployment.desk.sql(
        "SELECT id FROM job_events WHERE actor_process = 'dispatcher:' || (SELECT max(term) FROM dispatcher_lease) "
        "AND (SELECT max(term) FROM dispatcher_lease) > CAST(:term AS bigint) LIMIT 1",
        term=term,
    )
    return bool(rows)


async def terms_in_the_order_of_their_writing(deployment: Deployment) -> list[int]:
    rows = await deployment.desk.sql(
        "SELECT substr(actor_process, 12)::int AS term FROM job_events WHERE actor_process LIKE 'dispatcher:%' "
        "ORDER BY xid, id"
    )
    return [row.term for row in rows]
