"""Every end of a month from 2024 to 2032, in both calendars and in zones that change their clocks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import jdatetime
import pytest

from app.db.queries.jobs import Move
from app.domain.execution import EndReason
from app.domain.identity import Actor
from app.domain.job_state import JobStatus
from app.domain.periods import Calendar, MonthRule
from app.services import jobs, quotas, transitions
from app.services.quotas import QuotaPolicy
from tests.conftest import FakeClock
from tests.factories import ORIGIN, Person
from tests.services.desk import HOUR, Desk

pytestmark = pytest.mark.anyio

ZONES = ["UTC", "Asia/Tehran", "Europe/Berlin", "America/St_Johns"]
BEGIN, END = datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2033, 1, 1, 12, tzinfo=UTC)
A_MOMENT = timedelta(microseconds=1)


def day_of_month(calendar: str, moment: datetime) -> int:
    return int(jdatetime.date.fromgregorian(date=moment.date()).day if calendar == "jalali" else moment.day)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("calendar", ["gregorian", "jalali"])
async def test_months_follow_one_another_from_local_midnight_to_local_midnight(
    desk: Desk, user: Person, clock: FakeClock, calendar: str, zone: str
) -> None:
    policy = QuotaPolicy(MonthRule(Calendar(calendar), ZoneInfo(zone)), default_limit_seconds=100 * HOUR)
    clock.now = BEGIN
    async with desk.state.database.transaction() as connection:
        await quotas.read(connection, user.id, policy=policy, now=clock())
        clock.now = END
        await quotas.read(connection, user.id, policy=policy, now=clock())
    months = await desk.sql("SELECT id, starts_at, ends_at FROM user_quotas ORDER BY starts_at")
    assert len(months) == 9 * 12 + 1
    assert all(before.ends_at == after.starts_at for before, after in pairwise(months))
    local_starts = [month.starts_at.astimezone(ZoneInfo(zone)) for month in months]
    assert {(start.hour, start.minute, start.second) for start in local_starts} == {(0, 0, 0)}
    assert {day_of_month(calendar, start) for start in local_starts} == {1}


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("calendar", ["gregorian", "jalali"])
async def test_the_last_moment_of_a_month_belongs_to_it_and_the_next_one_does_not(
    desk: Desk, user: Person, admin: Person, clock: FakeClock, calendar: str, zone: str
) -> None:
    """At every turn of nine years a job of the last moment starts in the first one, and its reservation goes along."""
    rule = MonthRule(Calendar(calendar), ZoneInfo(zone))
    policy = QuotaPolicy(rule, default_limit_seconds=100 * HOUR)
    clock.now = BEGIN
    for turn in [month.ends_at for month in rule.periods_since(rule.period_at(BEGIN).starts_at, END)][:-1]:
        clock.now = turn - A_MOMENT
        async with desk.state.database.autocommit() as connection:
            last = await quotas.read(connection, user.id, policy=policy, now=clock())
        job_id = await desk.submit(user)
        async with desk.state.database.transaction() as connection:
            await jobs.approve(connection, admin.caller, job_id, note=None, now=clock(), origin=ORIGIN)
            clock.now = turn
            job = await jobs.start(
                connection,
                admin.caller,
                job_id,
                engine=desk.engine,
                policy=policy,
                now=clock(),
                origin=ORIGIN,
            )
            first = await quotas.read(connection, user.id, policy=policy, now=clock())
            end = Move(job_id, JobStatus.RUNNING, JobStatus.COMPLETED, reason=EndReason.EXITED, charged_seconds=60)
            await transitions.apply(connection, [end], actor=Actor.dispatcher(1), now=clock())
        assert (last.ends_at, first.starts_at) == (turn, turn)
        assert first.reserved_seconds == job.reserved_seconds == HOUR
    used = await desk.sql("SELECT used_seconds FROM user_quotas ORDER BY starts_at")
    assert [month.used_seconds for month in used] == [0] + [60] * (len(used) - 1)
