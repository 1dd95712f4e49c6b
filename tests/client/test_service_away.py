"""A service that goes away, comes back, is slow, or is somebody else's program."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gtm.errors import ExitCode, exit_code_of
from gtm.service import Pauses, Waiting
from tests.browser.service import Service
from tests.client.runner import Gtm


@dataclass
class Time:
    """It passes only while somebody sleeps."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def waiting(self, retry_seconds: float, jitter: Callable[[], float] = lambda: 1.0) -> Waiting:
        return Waiting(retry_seconds, self.sleep, lambda: self.now, jitter)


def test_pauses_grow_and_end_with_the_patience() -> None:
    time = Time()
    pauses = Pauses(time.waiting(10))
    while (pause := pauses.next()) is not None:
        time.sleep(pause)
    assert time.slept == [0.25, 0.5, 1.0, 2.0, 4.0]


def test_a_service_that_names_a_pause_is_believed() -> None:
    pauses = Pauses(Time().waiting(10))
    assert pauses.next(at_least=3) == 3
    assert pauses.next(at_least=30) is None


def test_without_patience_there_is_one_try() -> None:
    assert Pauses(Time().waiting(0)).next() is None


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 1), (401, 4), (403, 4), (404, 3), (409, 5), (422, 5), (429, 6), (500, 6), (503, 6)],
)
def test_every_status_has_its_exit_code(status: int, code: int) -> None:
    assert exit_code_of(status) == ExitCode(code)


def test_a_service_that_is_away_is_unreachable(sara: Gtm, nobody_there: str) -> None:
    outcome = sara("whoami", code=6, GTM_URL=nobody_there, GTM_RETRY_SECONDS="0")
    assert f"{nobody_there} does not answer (connection refused)" in outcome.err
    assert "gtm doctor" in outcome.err


def test_a_name_that_does_not_exist_is_unreachable(sara: Gtm) -> None:
    assert "does not answer" in sara("whoami", code=6, GTM_URL="https://gpu.invalid", GTM_RETRY_SECONDS="0").err


@pytest.mark.anyio
async def test_a_get_waits_for_a_service_that_comes_back(sara: Gtm, service: Service) -> None:
    await service.stop()
    with sara.start("whoami", "--json", GTM_RETRY_SECONDS="600") as waiting:
        assert waiting.stderr is not None
        assert "Trying again for up to 600 s" in waiting.stderr.readline()
        await service.start()
        out, err = waiting.communicate()
    assert (waiting.returncode, err) == (0, "")
    assert '"email": "sara@example.org"' in out


def test_interrupting_the_wait_ends_it_as_a_shell_expects(sara: Gtm, nobody_there: str) -> None:
    with sara.on_terminal("whoami", GTM_URL=nobody_there, GTM_RETRY_SECONDS="600") as terminal:
        terminal.expect("Trying again")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert "Traceback" not in terminal.seen


def test_a_login_is_not_repeated(gtm: Gtm, nobody_there: str) -> None:
    arguments = ("login", "--email", "a@example.org", "--password-stdin")
    outcome = gtm(*arguments, stdin="x\n", code=6, GTM_URL=nobody_there, GTM_RETRY_SECONDS="60")
    assert "Trying again" not in outcome.err


def test_another_program_at_the_address_is_told_from_the_service(sara: Gtm, service: Service) -> None:
    outcome = sara("whoami", code=None, GTM_URL=service.url + "/ui")
    assert outcome.code == 6 or "[route-not-found]" in outcome.err


def test_verbose_tells_the_requests_and_their_ids(sara: Gtm) -> None:
    outcome = sara("whoami", "--json", "--verbose")
    assert outcome.json["email"] == "sara@example.org"
    assert "GET /api/v1/auth/me 200" in outcome.err
    assert "request id " in outcome.err


def test_messages_come_in_the_language_of_the_locale(gtm: Gtm) -> None:
    arguments = ("login", "--email", "a@example.org", "--password-stdin")
    assert "درست نیست" in gtm(*arguments, stdin="x\n", code=4, LC_ALL="fa_IR.UTF-8").err
    assert "wrong" in gtm(*arguments, stdin="x\n", code=4).err
