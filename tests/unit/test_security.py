"""Passwords and tokens, without a database."""

import asyncio
import threading
import unicodedata
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import bcrypt
import pytest

from app.core.password_rules import COMMON_PASSWORDS, broken_rule
from app.core.security import (
    AccessToken,
    InvalidToken,
    PasswordPool,
    RefreshToken,
    hash_password,
    verify_password,
)
from app.domain.errors import ServiceBusy
from tests.waiting import eventually

CHEAP = 4
KEY = "a key of at least thirty-two bytes, for tests"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_a_password_verifies_against_its_own_hash_only() -> None:
    password_hash = hash_password("گذرواژهٔ خوب", CHEAP)
    assert verify_password("گذرواژهٔ خوب", password_hash)
    assert not verify_password("گذرواژهٔ خوب ", password_hash)
    assert not verify_password("", password_hash)


def test_the_hash_is_bcrypt_of_the_configured_cost() -> None:
    assert hash_password("x", 5).startswith("$2b$05$")


def test_the_digest_is_keyed_with_the_salt() -> None:
    """Fixed here, because a silent change would lock everybody out."""
    stored = "$2b$04$abcdefghijklmnopqrstuuDDZkjU09Vim05Ait7x7R.JfuHDNAppu"
    assert verify_password("correct horse", stored)


def test_persian_passwords_that_differ_after_byte_72_are_different() -> None:
    beginning = "آ" * 36
    assert len(beginning.encode()) == 72
    password_hash = hash_password(beginning + "الف", CHEAP)
    assert verify_password(beginning + "الف", password_hash)
    assert not verify_password(beginning + "لام", password_hash)
    assert not verify_password(beginning, password_hash)


def test_one_letter_typed_in_two_ways_is_one_password() -> None:
    composed, decomposed = "caf\u00e9-آب-رمز", "cafe\u0301-\u0627\u0653ب-رمز"
    assert composed != decomposed
    assert unicodedata.normalize("NFC", decomposed) == composed
    assert verify_password(decomposed, hash_password(composed, CHEAP))


def test_persian_and_ascii_digits_stay_different_in_passwords() -> None:
    assert not verify_password("پلاک-123", hash_password("پلاک-۱۲۳", CHEAP))


@pytest.mark.parametrize("password", ["x" * 100_000, "\x00", "half a surrogate \ud800", "‌‌‌", ""])
def test_any_text_can_be_hashed_and_verified(password: str) -> None:
    password_hash = hash_password(password, CHEAP)
    assert verify_password(password, password_hash)
    assert not verify_password(password + "x", password_hash)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "!",
        "x" * 60,
        "$2b$04$short",
        "$2b$99$" + "a" * 53,
        "$argon2id$v=19$m=65536$abc",
        "$2b$04$" + "é" * 53,
        "\x00",
    ],
)
def test_a_malformed_hash_matches_nothing(stored: str) -> None:
    assert not verify_password("anything", stored)


@pytest.mark.anyio
async def test_every_verification_costs_one_bcrypt_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    costs: list[int] = []
    check = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        costs.append(int(hashed[4:6]))
        return check(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    pool = PasswordPool(CHEAP)
    own = hash_password("right", CHEAP)
    assert await pool.verify("right", own)
    assert not await pool.verify("wrong", own)
    assert not await pool.verify("whatever", None)
    assert not await pool.verify("whatever", "!disabled")
    assert not await pool.verify("x" * 60_000, own)
    assert costs == [CHEAP] * 5
    pool.close()


def test_a_hash_of_another_cost_asks_for_a_new_one() -> None:
    pool = PasswordPool(5, threads=1)
    assert pool.needs_rehash(hash_password("x", 4))
    assert not pool.needs_rehash(hash_password("x", 5))
    pool.close()


@pytest.mark.anyio
async def test_the_pool_turns_away_what_it_cannot_queue_and_recovers() -> None:
    pool = PasswordPool(8, threads=1, waiting_limit=2)
    outcomes = await asyncio.gather(*(pool.hash("x") for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 3
    assert sum(isinstance(outcome, ServiceBusy) for outcome in outcomes) == 7
    assert await pool.hash("x")
    pool.close()


@pytest.mark.anyio
async def test_a_caller_who_leaves_keeps_the_place_until_the_thread_is_done() -> None:
    pool = PasswordPool(CHEAP, threads=1, waiting_limit=0)
    release = threading.Event()
    caller = asyncio.create_task(pool._run(release.wait))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    with pytest.raises(ServiceBusy):
        await pool.hash("x")
    release.set()

    async def has_room() -> bool:
        try:
            return bool(await pool.hash("x"))
        except ServiceBusy:
            return False

    await eventually(has_room)
    pool.close()


@pytest.mark.anyio
async def test_the_event_loop_goes_on_while_passwords_are_hashed() -> None:
    pool = PasswordPool(9, threads=1)
    hashing = asyncio.create_task(pool.hash("x"))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10
    pool.close()


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("short7!", "too-short"),
        ("آ" * 7, "too-short"),
        ("cafe\u0301s e", "too-short"),
        ("x1" * 64 + "x", "too-long"),
        ("password", "common"),
        ("PassWord123", "common"),
        ("۱۲۳۴۵۶۷۸", "common"),
        ("qwertyuiop", "common"),
        ("ضصثقفغعه", "common"),
        ("alireza1234", "common"),
        ("persepolis123", "common"),
        ("zzzzzzzzzzz", "common"),
        ("my-Sara.M-secret", "contains-email"),
        ("SARA.M@example.com", "contains-email"),
    ],
)
def test_a_password_that_breaks_a_rule_is_refused_with_that_rule(password: str, rule: str) -> None:
    assert broken_rule(password, email="sara.m@example.com") == rule


@pytest.mark.parametrize(
    "password", ["آ1" * 64, "eight ch", "سه واژهٔ بی‌ربط", "correct horse battery", "  spaces  kept  "]
)
def test_other_passwords_will_do(password: str) -> None:
    assert broken_rule(password, email="sara.m@example.com") is None


def test_a_very_short_name_in_the_address_forbids_nothing() -> None:
    assert broken_rule("a windy day", email="a@example.com") is None


def test_the_list_of_common_passwords_has_only_entries_that_can_match() -> None:
    lines = COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines()[1:]
    assert len(lines) == len(set(lines)) >= 3000
    assert {broken_rule(line, email="nobody@example.com") for line in lines} == {"common"}


def token(**changes: object) -> AccessToken:
    facts: dict[str, object] = {
        "user_id": 7,
        "session_id": UUID(int=1),
        "token_version": 3,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
    }
    return AccessToken(**(facts | changes))  # type: ignore[arg-type]


def test_an_access_token_reads_back_as_it_was_signed() -> None:
    assert AccessToken.read(token().signed(KEY), KEY, now=NOW) == token()


@pytest.mark.parametrize(
    ("seconds", "is_valid"), [(-6, False), (-5, True), (0, True), (900, True), (904.9, True), (905, False)]
)
def test_an_access_token_is_valid_in_its_time_and_five_seconds_around_it(seconds: float, is_valid: bool) -> None:
    signed = token().signed(KEY)
    moment = NOW + timedelta(seconds=seconds)
    if is_valid:
        assert AccessToken.read(signed, KEY, now=moment) == token()
    else:
        with pytest.raises(InvalidToken):
            AccessToken.read(signed, KEY, now=moment)


def test_a_token_that_was_valid_once_still_expires() -> None:
    signed = token().signed(KEY)
    AccessToken.read(signed, KEY, now=NOW)
    with pytest.raises(InvalidToken):
        AccessToken.read(signed, KEY, now=NOW + timedelta(hours=1))


def test_two_tokens_of_one_moment_differ() -> None:
    assert token().signed(KEY) != token().signed(KEY)


def test_a_refresh_token_reads_back_from_its_cookie() -> None:
    fresh = RefreshToken.new(uuid4())
    assert RefreshToken.parse(str(fresh)) == fresh
    assert len(str(fresh)) == 64
    assert str(fresh).isascii()


def test_a_refresh_token_does_not_show_its_secret() -> None:
    fresh = RefreshToken.new(uuid4())
    assert fresh.secret.hex() not in repr(fresh)
    assert repr(fresh.secret) not in repr(fresh)


@pytest.mark.parametrize(
    "cookie", ["", "x", "A" * 63, "A" * 65, "A" * 68, "é" * 64, "A" * 63 + "+", "A" * 62 + "==", "\x00" * 64]
)
def test_a_cookie_that_was_not_made_here_is_refused(cookie: str) -> None:
    with pytest.raises(InvalidToken):
        RefreshToken.parse(cookie)
