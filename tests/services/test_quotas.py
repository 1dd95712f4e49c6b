"""The monthly quota and its ledger."""

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from app.domain.errors import AdjustmentOutOfRange, QuotaBelowUse
from app.domain.identity import Actor
from app.domain.periods import Calendar, MonthRule
from app.services import quotas
from app.services.quotas import QuotaPolicy
from tests.conftest import FakeClock
from tests.factories import Person
from tests.services.desk import HOUR, Desk

pytestmark = pytest.mark.anyio


async def months(desk: Desk) -> list[tuple[str, int, int, int]]:
    """Every month there is: its first day, limit, reserved, used."""
    rows = await desk.sql(
        "SELECT to_char(starts_at, 'YYYY-MM-DD'), limit_seconds, reserved_seconds, used_seconds "
        "FROM user_quotas ORDER BY starts_at"
    )
    return [tuple(row) for row in rows]


class TestMonths:
    async def test_the_first_look_opens_the_present_month_with_the_default_limit(
        self, desk: Desk, user: Person
    ) -> None:
        balance = await desk.quota(user)
        assert (balance.limit_seconds, balance.available_seconds) == (100 * HOUR, 100 * HOUR)
        assert await months(desk) == [("2026-03-01", 100 * HOUR, 0, 0)]
        assert await desk.entries(user) == [("GRANT", 100 * HOUR, 0, 0)]

    async def test_months_that_nobody_looked_at_are_opened_later_without_a_gap(
        self, desk: Desk, user: Person, admin: Person, clock: FakeClock
    ) -> None:
        await desk.set_limit(admin, user, 5 * HOUR)
        clock.advance(days=92)
        await desk.quota(user)
        assert [month[:2] for month in await months(desk)] == [
            ("2026-03-01", 5 * HOUR),
            ("2026-04-01", 5 * HOUR),
            ("2026-05-01", 5 * HOUR),
            ("2026-06-01", 5 * HOUR),
        ]

    async def test_a_new_month_begins_with_nothing_used(self, desk: Desk, user: Person, clock: FakeClock) -> None:
        await desk.submit(user, time_limit=timedelta(hours=100))
        clock.advance(days=31)
        assert (await desk.quota(user)).available_seconds == 100 * HOUR

    async def test_many_who_look_at_once_open_it_once(self, desk: Desk, user: Person) -> None:
        balances = await asyncio.gather(*(desk.quota(user) for _ in range(8)))
        assert len(set(balances)) == 1
        assert len(await desk.entries(user)) == 1

    async def test_another_calendar_goes_on_where_the_old_one_ended(
        self, desk: Desk, user: Person, clock: FakeClock
    ) -> None:
        """The month under way stays as it is; the first new one is shorter, and no second is missing."""
        await desk.quota(user)
        clock.advance(days=31)
        tehran = QuotaPolicy(MonthRule(Calendar.JALALI, ZoneInfo("Asia/Tehran")), default_limit_seconds=HOUR)
        async with desk.state.database.transaction() as connection:
            balance = await quotas.read(connection, user.id, policy=tehran, now=clock())
        assert f"{balance.starts_at:%Y-%m-%d %H:%M}" == "2026-04-01 00:00"
        assert f"{balance.ends_at:%Y-%m-%d %H:%M}" == "2026-04-20 20:30"


class TestTheLimit:
    async def test_it_can_be_raised_and_lowered_and_the_ledger_says_by_how_much(
        self, desk: Desk, user: Person, admin: Person
    ) -> None:
        await desk.set_limit(admin, user, 150 * HOUR)
        assert (await desk.set_limit(admin, user, 20 * HOUR)).limit_seconds == 20 * HOUR
        assert await desk.entries(user) == [
            ("GRANT", 100 * HOUR, 0, 0),
            ("LIMIT", 50 * HOUR, 0, 0),
            ("LIMIT", -130 * HOUR, 0, 0),
        ]
        [audited, _] = await desk.sql("SELECT * FROM audit_entries WHERE action = 'quota.limit_set' ORDER BY id")
        assert (audited.actor_user_id, audited.target_id) == (admin.id, user.id)
        assert audited.details == {"limit_seconds": 150 * HOUR, "reason": "as asked"}

    async def test_it_can_go_down_to_what_is_used_and_reserved_and_no_further(
        self, desk: Desk, user: Person, admin: Person
    ) -> None:
        await desk.submit(user, time_limit=timedelta(hours=10))
        await desk.adjust(admin, user, 5 * HOUR)
        await desk.set_limit(admin, user, 15 * HOUR)
        before = await desk.everything()
        with pytest.raises(QuotaBelowUse) as refusal:
            await desk.set_limit(admin, user, 15 * HOUR - 1)
        assert refusal.value.minimum_seconds == 15 * HOUR
        assert await desk.everything() == before

    async def test_a_process_can_set_it(self, desk: Desk, user: Person) -> None:
        async with desk.state.database.transaction() as connection:
            await quotas.set_limit(
                connection,
                user.id,
                HOUR,
                note="from the command line",
                actor=Actor(process="cli:root"),
                policy=desk.state.quota_policy,
                now=desk.state.clock(),
            )
        [entry] = await desk.sql("SELECT actor_process, note FROM quota_entries WHERE kind = 'LIMIT'")
        assert tuple(entry) == ("cli:root", "from the command line")


class TestACorrection:
    async def test_it_moves_what_is_used(self, desk: Desk, user: Person, admin: Person) -> None:
        await desk.adjust(admin, user, 10 * HOUR)
        assert (await desk.adjust(admin, user, -4 * HOUR)).used_seconds == 6 * HOUR
        assert (await desk.entries(user))[1:] == [("ADJUST", 0, 0, 10 * HOUR), ("ADJUST", 0, 0, -4 * HOUR)]

    @pytest.mark.parametrize("seconds", [-(10 * HOUR) - 1, 60 * HOUR + 1, 2**62])
    async def test_it_cannot_mint_quota_nor_break_the_limit(
        self, desk: Desk, user: Person, admin: Person, seconds: int
    ) -> None:
        await desk.submit(user, time_limit=timedelta(hours=30))
        await desk.adjust(admin, user, 10 * HOUR)
        before = await desk.everything()
        with pytest.raises(AdjustmentOutOfRange) as refusal:
            await desk.adjust(admin, user, seconds)
        assert refusal.value == AdjustmentOutOfRange(-10 * HOUR, 60 * HOUR)
        assert await desk.everything() == before

    @pytest.mark.parametrize("seconds", [-10 * HOUR, 60 * HOUR])
    async def test_it_can_use_all_the_room_there_is(
        self, desk: Desk, user: Person, admin: Person, seconds: int
    ) -> None:
        await desk.submit(user, time_limit=timedelta(hours=30))
        await desk.adjust(admin, user, 10 * HOUR)
        await desk.adjust(admin, user, seconds)


async def test_the_ledger_is_read_newest_first_and_only_ones_own(desk: Desk, user: Person, admin: Person) -> None:
    await desk.submit(user, name="mine")
    await desk.submit(admin, name="another's")
    async with desk.state.database.autocommit() as connection:
        newest, oldest = await quotas.entries(connection, user.id, before=2**62, limit=10)
        [only] = await quotas.entries(connection, user.id, before=newest.id, limit=10)
    assert (newest.kind, newest.job_name, newest.actor_email) == ("RESERVE", "mine", user.email)
    assert (oldest.kind, oldest.actor_process) == (only.kind, only.actor_process) == ("GRANT", "calendar")
