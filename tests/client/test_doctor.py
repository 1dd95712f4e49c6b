"""`gtm doctor` and `gtm version`: what is wrong, and what to do about it."""

import json

import pytest

from gtm import VERSION
from tests.client.runner import Gtm
from tests.client.stranger import answer, stranger


def results(outcome_json: list[dict[str, str]]) -> dict[str, str]:
    return {finding["check"]: finding["result"] for finding in outcome_json}


def test_a_healthy_installation_passes_every_check(sara: Gtm) -> None:
    outcome = sara("doctor", "--json")
    checks = ["url", "connection", "tls", "clock", "token", "versions", "expiry"]
    assert results(outcome.json) == dict.fromkeys(checks, "ok")


def test_a_service_that_is_away_fails_the_connection_with_advice(gtm: Gtm, nobody_there: str) -> None:
    outcome = gtm("doctor", "--json", code=6, GTM_URL=nobody_there)
    assert results(outcome.json) == {"url": "ok", "connection": "fail"}
    assert "whether the service runs" in outcome.json[-1]["advice"]


def test_who_is_not_signed_in_is_told_so(gtm: Gtm) -> None:
    outcome = gtm("doctor", "--json", code=4)
    assert results(outcome.json)["token"] == "fail"
    assert "gtm login" in outcome.json[-1]["advice"]


def test_credentials_that_others_can_read_fail(sara: Gtm) -> None:
    sara.configuration.mkdir(parents=True)
    (sara.configuration / "credentials.json").write_text(json.dumps({"tokens": []}), encoding="utf-8")
    (sara.configuration / "credentials.json").chmod(0o644)
    outcome = sara("doctor", "--json", code=4, GTM_TOKEN="")
    assert "chmod 600" in outcome.json[-1]["advice"]


def test_a_wrong_setting_fails_before_anything_is_asked(gtm: Gtm) -> None:
    outcome = gtm("doctor", "-o", "json", code=2, GTM_URL="gpu.example.org")
    assert results(outcome.json) == {"url": "fail"}


def test_the_versions_of_both_sides_are_told(sara: Gtm) -> None:
    told = sara("version", "--json").json
    assert (told["client"], told["service"]) == (VERSION, VERSION)


def test_a_stranger_is_not_told_the_services_version(gtm: Gtm) -> None:
    outcome = gtm("version", "--json")
    assert (outcome.json["client"], outcome.json["service"]) == (VERSION, None)
    assert "whoever is signed in" in outcome.err


def test_the_version_is_told_without_a_service(gtm: Gtm, nobody_there: str) -> None:
    outcome = gtm("version", GTM_URL=nobody_there, GTM_TOKEN="gtm_" + 43 * "x")
    assert outcome.lines[0] == f"gtm\t{VERSION}"
    assert "does not answer" in outcome.err
    assert gtm("--version").out == f"gtm {VERSION}\n"


@pytest.mark.parametrize(
    ("says", "found", "advice"),
    [
        (answer(body="<html>", Content_Type="text/html"), "not as GPU Task Manager does", "something else answers"),
        (answer("302 Found", "", Location="https://other.example.org"), "sends us on to https://other", "if you trust"),
        (answer("502 Bad Gateway", "<html>", Content_Type="text/html"), "answered HTTP 502", "something else answers"),
    ],
)
def test_whoever_else_answers_is_not_taken_for_the_service(gtm: Gtm, says: bytes, found: str, advice: str) -> None:
    with stranger(says) as (url, _):
        [_, connection] = gtm("doctor", "--json", code=6, GTM_URL=url).json
    assert found in connection["found"]
    assert advice in connection["advice"]


def test_a_clock_that_goes_wrong_fails(gtm: Gtm) -> None:
    says = answer(body='{"registration": "open"}', Date="Mon, 01 Jan 2035 00:00:00 GMT")
    with stranger(says) as (url, _):
        findings = {each["check"]: each for each in gtm("doctor", "--json", code=1, GTM_URL=url).json}
    assert findings["clock"]["result"] == "fail"
    assert "behind the service's" in findings["clock"]["found"]
    assert "timedatectl" in findings["clock"]["advice"]


def test_a_service_that_does_not_tell_the_time_is_a_warning(gtm: Gtm) -> None:
    with stranger(answer(body='{"registration": "open"}')) as (url, _):
        findings = {each["check"]: each for each in gtm("doctor", "--json", code=4, GTM_URL=url).json}
    assert findings["clock"]["result"] == "warn"


def test_a_release_that_does_not_fit_fails(sara: Gtm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtm.commands.doctor.VERSION", "7.0.0")
    findings = {each["check"]: each for each in sara("doctor", "--json", code=1).json}
    assert findings["versions"]["result"] == "fail"
    assert VERSION in findings["versions"]["advice"]
