"""Accounts, sessions and the throttle on a real database, without HTTP."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import bcrypt
import pytest
from sqlalchemy import text

from app.core.config import Settings
from app.core.security import AccessToken, PasswordPool, RefreshToken, hash_password
from app.db.engine import Database
from app.domain.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    PasswordRefused,
    TooManyAttempts,
)
from app.domain.identity import Actor, Caller
from app.services import auth
from app.services.audit import Origin
from app.services.auth import ROTATION_GRACE, SignIn

pytestmark = pytest.mark.anyio

COST = 4
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)
EMAIL = "sara@example.com"
PASSWORD = "سه واژهٔ بی‌ربط"
ORIGIN = Origin(address="192.0.2.1", request_id="r-1", user_agent="pytest")


class Accounts:
    """The verbs of `services.auth` with what every call here has in common."""

    def __init__(self, database: Database, settings: Settings, passwords: PasswordPool) -> None:
        self.database = database
        self.settings = settings
        self.passwords = passwords

    async def register(self, email: str = EMAIL, password: str = PASSWORD, **more: Any) -> Any:
        facts = {"full_name": None, "settings": self.settings, "now": NOW, "origin": ORIGIN} | more
        return await auth.register(self.database, self.passwords, email=email, password=password, **facts)

    async def login(
        self, email: str = EMAIL, password: str = PASSWORD, *, now: datetime = NOW, origin: Origin = ORIGIN
    ) -> SignIn:
        return await auth.login(
            self.database,
            self.passwords,
            email=email,
            password=password,
            settings=self.settings,
            now=now,
            origin=origin,
        )

    async def refresh(self, token: RefreshToken | None, *, now: datetime = NOW) -> SignIn:
        return await auth.refresh(self.database, str(token), settings=self.settings, now=now, origin=ORIGIN)

    async def logout(self, token: RefreshToken | None, *, now: datetime = NOW) -> None:
        async with self.database.autocommit() as connection:
            await auth.logout(connection, str(token), now=now)

    async def identify(self, signed_in: SignIn, *, now: datetime = NOW) -> Caller:
        async with self.database.autocommit() as connection:
            return await auth.identify(connection, signed_in.access_token, settings=self.settings, now=now)

    async def change_password(
        self, caller: Caller, current: str = PASSWORD, new: str = "چهار واژهٔ دیگر", *, now: datetime = NOW
    ) -> None:
        await auth.change_password(
            self.database,
            self.passwords,
            caller,
            current_password=current,
            new_password=new,
            settings=self.settings,
            now=now,
            origin=ORIGIN,
        )

    async def reset_password(self, email: str = EMAIL, new: str = "چهار واژهٔ دیگر", *, now: datetime = NOW) -> Any:
        return await auth.reset_password(
            self.database, self.passwords, email=email, new_password=new, actor=Actor(process="cli:test"), now=now
        )

    async def sql(self, statement: str, **parameters: Any) -> list[Any]:
        async with self.database.transaction() as connection:
            result = await connection.execute(text(statement), parameters)
            return list(result.all()) if result.returns_rows else []

    async def audited(self, action: str) -> list[Any]:
        return await self.sql("SELECT * FROM audit_entries WHERE action = :action ORDER BY id", action=action)


@pytest.fixture
def passwords() -> Iterator[PasswordPool]:
    pool = PasswordPool(COST, threads=2)
    yield pool
    pool.close()


@pytest.fixture
def accounts(database: Database, settings: Settings, passwords: PasswordPool) -> Accounts:
    return Accounts(database, settings, passwords)


@pytest.fixture
def bcrypt_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the hash that is checked, at every run of bcrypt."""
    runs: list[str] = []
    check = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        runs.append(hashed.decode())
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return runs


@pytest.fixture
def while_verifying(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Any]]:
    """Runs `work` while the first bcrypt of `verb` is under way, and returns what `verb` does after it."""

    async def run(verb: Awaitable[Any], work: Callable[[], Awaitable[Any]]) -> Any:
        entered, go_on, check = threading.Event(), threading.Event(), bcrypt.checkpw

        def waiting(password: bytes, hashed: bytes) -> bool:
            if not entered.is_set():
                entered.set()
                assert go_on.wait(20)
            return check(password, hashed)

        with monkeypatch.context() as patch:
            patch.setattr(bcrypt, "checkpw", waiting)
            task = asyncio.ensure_future(verb)
            assert await asyncio.to_thread(entered.wait, 20)
            await work()
            go_on.set()
            return await task

    return run


async def test_an_account_is_stored_under_one_spelling_of_its_address(accounts: Accounts) -> None:
    user = await accounts.register("  Sara@EXAMPLE.com ", full_name="سارا")
    assert (user.email, user.full_name, user.is_admin, user.is_active) == (EMAIL, "سارا", False, True)
    [entry] = await accounts.audited("user.registered")
    assert (entry.actor_user_id, entry.target_id, str(entry.address), entry.request_id) == (
        user.id,
        user.id,
        "192.0.2.1",
        "r-1",
    )


async def test_an_address_is_taken_in_every_spelling(accounts: Accounts) -> None:
    await accounts.register()
    with pytest.raises(EmailTaken):
        await accounts.register("SARA@Example.COM")


async def test_of_many_who_register_one_address_one_gets_it(accounts: Accounts) -> None:
    outcomes = await asyncio.gather(*(accounts.register() for _ in range(6)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(EmailTaken) == 5
    assert len(await accounts.sql("SELECT id FROM users")) == 1
    assert len(await accounts.audited("user.registered")) == 1


@pytest.mark.parametrize("email", ["sara@lab.local", "sara@node1.lan"])
async def test_addresses_of_a_local_network_need_the_setting(
    database: Database, settings: Settings, passwords: PasswordPool, email: str
) -> None:
    with pytest.raises(InvalidInput):
        await Accounts(database, settings, passwords).register(email)
    lab = Accounts(database, settings.model_copy(update={"allow_local_email": True}), passwords)
    assert (await lab.register(email)).email == email
    assert (await lab.login(email.upper())).access_token


@pytest.mark.parametrize(
    ("password", "rule"), [("short", "too-short"), ("password123", "common"), ("sara's own", "contains-email")]
)
async def test_a_weak_password_is_refused_with_the_reason(accounts: Accounts, password: str, rule: str) -> None:
    with pytest.raises(PasswordRefused) as refusal:
        await accounts.register(password=password)
    assert (refusal.value.pointer, refusal.value.rule) == ("/password", rule)


async def test_signing_in_opens_a_session_of_which_only_a_digest_is_stored(accounts: Accounts) -> None:
    user = await accounts.register()
    signed_in = await accounts.login("SARA@example.com")
    assert signed_in.expires_in_seconds == 900
    assert signed_in.refresh_token is not None
    [session] = await accounts.sql("SELECT * FROM sessions")
    assert session.id == signed_in.refresh_token.session_id
    assert session.token_sha256 == signed_in.refresh_token.sha256
    assert signed_in.refresh_token.secret != session.token_sha256
    assert (session.user_id, str(session.address), session.user_agent) == (user.id, "192.0.2.1", "pytest")
    assert session.expires_at == NOW + timedelta(days=7)
    caller = await accounts.identify(signed_in)
    assert (caller.user_id, caller.email, caller.is_admin) == (user.id, EMAIL, False)
    assert len(await accounts.audited("login.succeeded")) == 1


async def test_a_password_of_many_persian_letters_counts_to_its_end(accounts: Accounts) -> None:
    password = "گذرواژه‌ای که از هفتاد و دو بایت بسیار درازتر است، الف"
    await accounts.register(password=password)
    assert await accounts.login(password=password)
    with pytest.raises(InvalidCredentials):
        await accounts.login(password=password[:-3] + "لام")


async def test_every_failure_costs_one_bcrypt_of_the_same_cost_and_looks_the_same(
    accounts: Accounts, bcrypt_runs: list[str]
) -> None:
    await accounts.register()
    await accounts.register("disabled@example.com")
    await accounts.register("broken@example.com")
    await accounts.sql("UPDATE users SET is_active = false WHERE email = 'disabled@example.com'")
    await accounts.sql("UPDATE users SET password_hash = '!' WHERE email = 'broken@example.com'")
    tries = [
        (EMAIL, "wrong password"),
        ("nobody@example.com", PASSWORD),
        ("disabled@example.com", PASSWORD),
        ("broken@example.com", PASSWORD),
        (EMAIL, "x" * 60_000),
        ("x" * 60_000, PASSWORD),
        ("no address \x00 \ud800", "\x00\ud800"),
        ("", ""),
    ]
    for email, password in tries:
        bcrypt_runs.clear()
        with pytest.raises(InvalidCredentials) as refusal:
            await accounts.login(email, password)
        assert vars(refusal.value) == {}
        assert [run[4:6] for run in bcrypt_runs] == [f"{COST:02}"], email[:40]


async def test_no_connection_is_held_while_bcrypt_runs(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    for name in ("checkpw", "hashpw"):
        monkeypatch.setattr(bcrypt, name, _spying(getattr(bcrypt, name), accounts.database, held))
    await accounts.register()
    signed_in = await accounts.login()
    with pytest.raises(InvalidCredentials):
        await accounts.login(password="wrong")
    await accounts.change_password(await accounts.identify(signed_in))
    assert held == [0] * 5


def _spying(work: Callable[..., Any], database: Database, held: list[int]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        held.append(database.engine.pool.checkedout())  # type: ignore[attr-defined]
        return work(*arguments)

    return run


async def test_a_password_that_changes_while_the_old_one_is_verified_is_not_let_in(
    accounts: Accounts, while_verifying: Callable[..., Awaitable[Any]]
) -> None:
    await accounts.register()
    other = hash_password("another one", COST)
    with pytest.raises(InvalidCredentials):
        await while_verifying(
            accounts.login(), lambda: accounts.sql("UPDATE users SET password_hash = :other", other=other)
        )
    assert await accounts.sql("SELECT id FROM sessions") == []


async def test_an_account_that_is_disabled_while_its_password_is_verified_is_not_let_in(
    accounts: Accounts, while_verifying: Callable[..., Awaitable[Any]]
) -> None:
    await accounts.register()
    with pytest.raises(InvalidCredentials):
        await while_verifying(accounts.login(), lambda: accounts.sql("UPDATE users SET is_active = false"))
    assert await accounts.sql("SELECT id FROM sessions") == []


async def test_signing_in_rehashes_under_the_new_cost_and_says_so(accounts: Accounts, settings: Settings) -> None:
    await accounts.register()
    elsewhere = await accounts.login()
    costlier = PasswordPool(COST + 1, threads=2)
    renewed = Accounts(accounts.database, settings, costlier)
    for signed_in in await asyncio.gather(*(renewed.login() for _ in range(3))):
        assert await renewed.refresh(signed_in.refresh_token)
    [user] = await accounts.sql("SELECT password_hash FROM users")
    assert user.password_hash.startswith(f"$2b${COST + 1:02}$")
    [entry] = await accounts.audited("user.password_changed")
    assert entry.actor_process == "login:rehash"
    assert await accounts.refresh(elsewhere.refresh_token)
    costlier.close()


async def fail(accounts: Accounts, times: int, **login: Any) -> None:
    for _ in range(times):
        with pytest.raises(InvalidCredentials):
            await accounts.login(password="wrong", **login)


async def test_a_failure_is_remembered_though_the_request_is_refused(accounts: Accounts) -> None:
    await fail(accounts, 1)
    assert len(await accounts.sql("SELECT id FROM login_failures")) == 2


async def test_after_ten_failures_an_account_waits_and_bcrypt_is_not_asked(
    accounts: Accounts, bcrypt_runs: list[str]
) -> None:
    await accounts.register()
    for second in range(10):
        await fail(accounts, 1, now=NOW + timedelta(seconds=second), origin=Origin(address=f"192.0.2.{second}"))
    bcrypt_runs.clear()
    elsewhere = Origin(address="198.51.100.1")
    with pytest.raises(TooManyAttempts) as refusal:
        await accounts.login(now=NOW + timedelta(seconds=10), origin=elsewhere)
    assert refusal.value.retry_after == 290
    with pytest.raises(TooManyAttempts):
        await accounts.login(now=NOW + timedelta(seconds=299.5), origin=elsewhere)
    assert bcrypt_runs == []
    assert await accounts.login(now=NOW + timedelta(seconds=300), origin=elsewhere)


async def test_unknown_accounts_are_throttled_like_known_ones(accounts: Accounts) -> None:
    for number in range(10):
        await fail(accounts, 1, email="Nobody@example.com", origin=Origin(address=f"192.0.2.{number}"))
    with pytest.raises(TooManyAttempts):
        await accounts.login("nobody@example.com", origin=Origin(address="198.51.100.1"))


async def test_after_ten_failures_an_address_waits_whichever_account_it_tries(accounts: Accounts) -> None:
    await accounts.register()
    for number in range(10):
        await fail(accounts, 1, email=f"user{number}@example.com")
    with pytest.raises(TooManyAttempts):
        await accounts.login()
    assert await accounts.login(origin=Origin(address="198.51.100.1"))


async def test_all_addresses_of_one_ipv6_customer_are_one(accounts: Accounts) -> None:
    await accounts.register()
    for number in range(10):
        origin = Origin(address=f"2001:db8:1:2:{number}::1")
        await fail(accounts, 1, email=f"user{number}@example.com", origin=origin)
    with pytest.raises(TooManyAttempts):
        await accounts.login(origin=Origin(address="2001:db8:1:2:ffff::9"))
    assert await accounts.login(origin=Origin(address="2001:db8:1:3::1"))


async def test_success_clears_the_account_but_not_the_address(accounts: Accounts) -> None:
    await accounts.register()
    await fail(accounts, 9)
    await accounts.login()
    assert [row.subject for row in await accounts.sql("SELECT DISTINCT subject FROM login_failures")] == [
        "address:192.0.2.1"
    ]
    await fail(accounts, 1, email="other@example.com")
    with pytest.raises(TooManyAttempts):
        await accounts.login()


async def test_reaching_the_limit_is_audited_once(accounts: Accounts) -> None:
    user = await accounts.register()
    await fail(accounts, 10)
    for _ in range(5):
        with pytest.raises(TooManyAttempts):
            await accounts.login()
    [entry] = await accounts.audited("login.throttled")
    assert (entry.target_id, str(entry.address), entry.actor_process) == (user.id, "192.0.2.1", "login")


async def test_a_guess_under_way_when_the_limit_is_reached_learns_nothing(
    accounts: Accounts, while_verifying: Callable[..., Awaitable[Any]]
) -> None:
    await accounts.register()
    with pytest.raises(TooManyAttempts):
        await while_verifying(accounts.login(), lambda: fail(accounts, 10))
    assert await accounts.sql("SELECT id FROM sessions") == []


async def test_what_was_typed_as_the_name_is_not_stored(accounts: Accounts) -> None:
    await fail(accounts, 1, email="my password, typed into the wrong field")
    rows = await accounts.sql("SELECT subject FROM login_failures")
    assert not any("password" in row.subject for row in rows)


async def test_renewing_replaces_the_secret(accounts: Accounts) -> None:
    await accounts.register()
    first = await accounts.login()
    second = await accounts.refresh(first.refresh_token, now=NOW + timedelta(minutes=10))
    assert second.refresh_token is not None
    assert second.refresh_token.secret != first.refresh_token.secret  # type: ignore[union-attr]
    assert second.session_expires_at == first.session_expires_at
    third = await accounts.refresh(second.refresh_token, now=NOW + timedelta(minutes=20))
    assert await accounts.identify(third, now=NOW + timedelta(minutes=20))


async def test_a_new_secret_is_not_replaced_for_a_moment(accounts: Accounts) -> None:
    """Else a request that is late by two generations would look like theft."""
    await accounts.register()
    first = await accounts.login()
    for later in (timedelta(), ROTATION_GRACE / 2, ROTATION_GRACE):
        again = await accounts.refresh(first.refresh_token, now=NOW + later)
        assert again.refresh_token is None
        assert await accounts.identify(again, now=NOW + later)
    renewed = await accounts.refresh(first.refresh_token, now=NOW + ROTATION_GRACE + MOMENT)
    assert renewed.refresh_token is not None


async def test_tabs_that_renew_at_once_all_get_the_same_cookie_and_go_on(accounts: Accounts) -> None:
    await accounts.register()
    shown, now = (await accounts.login()).refresh_token, NOW
    for _ in range(5):
        now += timedelta(minutes=15)
        outcomes = await asyncio.gather(*(accounts.refresh(shown, now=now) for _ in range(8)))
        [shown] = {outcome.refresh_token for outcome in outcomes}
        for outcome in outcomes:
            assert await accounts.identify(outcome, now=now)
    assert await accounts.audited("session.reused") == []


async def test_a_page_that_is_reloaded_before_its_answer_came_gets_it_again(accounts: Accounts) -> None:
    """However often: what the browser has is the old cookie, or the new one, or the old one again on its way."""
    await accounts.register()
    old, now = (await accounts.login()).refresh_token, NOW
    for _ in range(3):
        now += timedelta(minutes=15)
        lost = await accounts.refresh(old, now=now)
        for second in range(5):
            again = await accounts.refresh(old, now=now + timedelta(seconds=2 * second))
            assert again.refresh_token == lost.refresh_token
            if second % 2:
                kept = await accounts.refresh(lost.refresh_token, now=now + timedelta(seconds=2 * second))
                assert kept.refresh_token is None
            assert await accounts.identify(again, now=now + timedelta(seconds=2 * second))
        old = lost.refresh_token
    assert await accounts.audited("session.reused") == []


async def test_the_next_cookie_cannot_be_told_from_the_one_before_without_the_key(accounts: Accounts) -> None:
    await accounts.register()
    first = (await accounts.login()).refresh_token
    assert first is not None
    second = (await accounts.refresh(first, now=NOW + timedelta(minutes=1))).refresh_token
    assert second == first.successor(accounts.settings.signing_key)
    assert second != first.successor("another key")


async def test_a_replaced_cookie_shown_later_ends_the_session_for_everybody(accounts: Accounts) -> None:
    user = await accounts.register()
    first = await accounts.login()
    renewed_at = NOW + timedelta(minutes=10)
    second = await accounts.refresh(first.refresh_token, now=renewed_at)
    with pytest.raises(NotAuthenticated):
        await accounts.refresh(first.refresh_token, now=renewed_at + ROTATION_GRACE + MOMENT)
    for attempt in (accounts.refresh(second.refresh_token, now=renewed_at), accounts.identify(second, now=renewed_at)):
        with pytest.raises(NotAuthenticated):
            await attempt
    [entry] = await accounts.audited("session.reused")
    assert entry.target_id == user.id


async def test_a_cookie_two_generations_old_ends_the_session_at_once(accounts: Accounts) -> None:
    await accounts.register()
    first = await accounts.login()
    second = await accounts.refresh(first.refresh_token, now=NOW + timedelta(minutes=10))
    now = NOW + timedelta(minutes=20)
    third = await accounts.refresh(second.refresh_token, now=now)
    with pytest.raises(NotAuthenticated):
        await accounts.refresh(first.refresh_token, now=now)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(third, now=now)


async def test_a_made_up_secret_ends_the_session_it_names(accounts: Accounts) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    assert signed_in.refresh_token is not None
    with pytest.raises(NotAuthenticated):
        await accounts.refresh(RefreshToken.new(signed_in.refresh_token.session_id))
    with pytest.raises(NotAuthenticated):
        await accounts.identify(signed_in)


async def test_a_session_lasts_from_sign_in_to_its_end_however_often_it_is_renewed(accounts: Accounts) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    almost = NOW + timedelta(days=7) - timedelta(minutes=1)
    last = await accounts.refresh(signed_in.refresh_token, now=almost)
    assert last.expires_in_seconds == 60
    with pytest.raises(NotAuthenticated):
        await accounts.refresh(last.refresh_token, now=NOW + timedelta(days=7))


@pytest.mark.parametrize("cookie", [None, "", "x", "A" * 64, str(RefreshToken(UUID(int=7), b"x" * 32))])
async def test_a_cookie_that_names_no_session_is_refused(accounts: Accounts, cookie: str | None) -> None:
    with pytest.raises(NotAuthenticated):
        await auth.refresh(accounts.database, cookie, settings=accounts.settings, now=NOW)


async def test_signing_out_acts_at_once_and_can_be_repeated(accounts: Accounts) -> None:
    await accounts.register()
    signed_in, elsewhere = await accounts.login(), await accounts.login()
    for _ in range(2):
        await accounts.logout(signed_in.refresh_token)
    for attempt in (accounts.identify(signed_in), accounts.refresh(signed_in.refresh_token)):
        with pytest.raises(NotAuthenticated):
            await attempt
    assert await accounts.identify(elsewhere)


async def test_recognising_a_caller_is_one_query(accounts: Accounts) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    statements: list[object] = []
    async with accounts.database.autocommit() as connection:
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        with driver.query_logger(statements.append):
            await auth.identify(connection, signed_in.access_token, settings=accounts.settings, now=NOW)
        await asyncio.sleep(0)  # the driver reports in the next round of the loop
    assert len(statements) == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE users SET is_active = false",
        "UPDATE users SET is_admin = true",
        "UPDATE users SET password_hash = 'another'",
        "UPDATE users SET token_version = token_version + 1",
        "UPDATE sessions SET revoked_at = now()",
        "UPDATE sessions SET expires_at = '2026-11-23 11:59:59Z'",
    ],
)
async def test_a_change_of_rights_or_session_in_the_database_refuses_older_tokens(
    accounts: Accounts, change: str
) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    await accounts.sql(change)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(signed_in)


async def test_a_disabled_account_cannot_renew_its_sessions(accounts: Accounts) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    await accounts.sql("UPDATE users SET is_active = false")
    with pytest.raises(NotAuthenticated):
        await accounts.refresh(signed_in.refresh_token)


async def test_a_replaced_cookie_is_no_way_back_into_a_disabled_account(accounts: Accounts) -> None:
    await accounts.register()
    replaced = await accounts.login()
    await accounts.refresh(replaced.refresh_token)
    await accounts.sql("UPDATE users SET is_active = false")
    with pytest.raises(NotAuthenticated):
        await accounts.refresh(replaced.refresh_token)


async def test_a_token_of_one_user_with_the_session_of_another_is_refused(accounts: Accounts) -> None:
    sara, omid = await accounts.register(), await accounts.register("omid@example.com")
    signed_in = await accounts.login()
    key = accounts.settings.signing_key
    access = AccessToken.read(signed_in.access_token, key, now=NOW)
    assert access.user_id == sara.id
    forged = replace(signed_in, access_token=replace(access, user_id=omid.id).signed(key))
    with pytest.raises(NotAuthenticated):
        await accounts.identify(forged)


@pytest.mark.parametrize("version", [0, 2, -1, 2**70])
async def test_a_token_of_another_version_is_refused(accounts: Accounts, version: int) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    key = accounts.settings.signing_key
    access = replace(AccessToken.read(signed_in.access_token, key, now=NOW), token_version=version)
    with pytest.raises(NotAuthenticated):
        await accounts.identify(replace(signed_in, access_token=access.signed(key)))


async def test_changing_the_password_ends_the_other_sessions_and_lets_this_one_go_on(accounts: Accounts) -> None:
    user = await accounts.register()
    here, elsewhere = await accounts.login(), await accounts.login()
    await accounts.change_password(await accounts.identify(here), new="چهار واژهٔ دیگر")
    for attempt in (accounts.identify(here), accounts.identify(elsewhere), accounts.refresh(elsewhere.refresh_token)):
        with pytest.raises(NotAuthenticated):
            await attempt
    assert await accounts.identify(await accounts.refresh(here.refresh_token))
    with pytest.raises(InvalidCredentials):
        await accounts.login()
    assert await accounts.login(password="چهار واژهٔ دیگر")
    [entry] = await accounts.audited("user.password_changed")
    assert (entry.actor_user_id, entry.target_id, entry.request_id) == (user.id, user.id, "r-1")


async def test_the_current_password_must_be_right_and_wrong_ones_count(accounts: Accounts) -> None:
    await accounts.register()
    caller = await accounts.identify(await accounts.login())
    for _ in range(10):
        with pytest.raises(PasswordRefused) as refusal:
            await accounts.change_password(caller, current="wrong")
        assert (refusal.value.pointer, refusal.value.rule) == ("/current_password", "wrong")
    with pytest.raises(TooManyAttempts):
        await accounts.change_password(caller)
    with pytest.raises(TooManyAttempts):
        await accounts.login(origin=Origin(address="198.51.100.1"))


async def test_a_weak_new_password_is_refused_before_the_current_one_is_looked_at(
    accounts: Accounts, bcrypt_runs: list[str]
) -> None:
    await accounts.register()
    caller = await accounts.identify(await accounts.login())
    bcrypt_runs.clear()
    with pytest.raises(PasswordRefused) as refusal:
        await accounts.change_password(caller, new="password1")
    assert (refusal.value.pointer, refusal.value.rule) == ("/new_password", "common")
    assert bcrypt_runs == []


async def test_of_two_changes_at_once_one_wins(accounts: Accounts) -> None:
    await accounts.register()
    first, second = [await accounts.identify(await accounts.login()) for _ in range(2)]
    outcomes = await asyncio.gather(
        accounts.change_password(first, new="نخستین گذرواژهٔ نو"),
        accounts.change_password(second, new="دومین گذرواژهٔ نو"),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "PasswordRefused"]
    assert len(await accounts.audited("user.password_changed")) == 1


async def test_a_sign_in_that_races_a_change_of_password_never_outlives_it(accounts: Accounts) -> None:
    await accounts.register()
    caller = await accounts.identify(await accounts.login())
    for _ in range(4):
        await asyncio.gather(
            accounts.change_password(caller, current=PASSWORD, new="چهار واژهٔ دیگر"),
            *(accounts.login(origin=Origin()) for _ in range(3)),
            return_exceptions=True,
        )
        live = await accounts.sql("SELECT id FROM sessions WHERE revoked_at IS NULL")
        assert [row.id for row in live] == [caller.credential_id]
        await accounts.sql("DELETE FROM login_failures")
        await accounts.change_password(caller, current="چهار واژهٔ دیگر", new=PASSWORD)


async def test_resetting_a_forgotten_password_ends_every_session_and_lets_the_new_one_in(accounts: Accounts) -> None:
    user = await accounts.register()
    await accounts.register("omid@example.com")
    first, second = await accounts.login(), await accounts.login()
    others = await accounts.login("omid@example.com")
    assert (await accounts.reset_password("Sara@Example.com")).id == user.id
    for signed_in in (first, second):
        with pytest.raises(NotAuthenticated):
            await accounts.identify(signed_in)
        with pytest.raises(NotAuthenticated):
            await accounts.refresh(signed_in.refresh_token)
    assert await accounts.identify(others)
    [row] = await accounts.sql("SELECT token_version FROM users WHERE id = :id", id=user.id)
    assert row.token_version == 2
    with pytest.raises(InvalidCredentials):
        await accounts.login()
    assert await accounts.login(password="چهار واژهٔ دیگر")
    for action in ("user.password_changed", "user.password_reset"):
        [entry] = await accounts.audited(action)
        assert (entry.actor_user_id, entry.actor_process, entry.target_id) == (None, "cli:test", user.id)
    assert entry.details == {"email": EMAIL, "count": 2}


async def test_who_was_throttled_may_sign_in_with_the_password_that_was_reset(accounts: Accounts) -> None:
    await accounts.register()
    for number in range(10):
        with pytest.raises(InvalidCredentials):
            await accounts.login(password="wrong", origin=Origin(address=f"192.0.2.{number + 10}"))
    with pytest.raises(TooManyAttempts):
        await accounts.login()
    await accounts.reset_password()
    assert await accounts.login(password="چهار واژهٔ دیگر")


async def test_a_disabled_account_gets_a_new_password_and_stays_disabled(accounts: Accounts) -> None:
    await accounts.register()
    await accounts.sql("UPDATE users SET is_active = false")
    assert not (await accounts.reset_password()).is_active
    with pytest.raises(InvalidCredentials):
        await accounts.login(password="چهار واژهٔ دیگر")
    await accounts.sql("UPDATE users SET is_active = true")
    assert await accounts.login(password="چهار واژهٔ دیگر")


@pytest.mark.parametrize(
    ("email", "new", "refusal"),
    [
        ("nobody@example.com", "چهار واژهٔ دیگر", NotFound),
        (EMAIL, "password1", PasswordRefused),
        (EMAIL, EMAIL, PasswordRefused),
    ],
)
async def test_a_refused_reset_changes_nothing(
    accounts: Accounts, email: str, new: str, refusal: type[Exception]
) -> None:
    await accounts.register()
    signed_in = await accounts.login()
    with pytest.raises(refusal):
        await accounts.reset_password(email, new)
    assert await accounts.identify(signed_in)
    assert await accounts.login()
    assert await accounts.audited("user.password_reset") == []
