"""Tokens on this machine: who can read them, and where they are sent."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gtm.credentials import Credential, CredentialFile
from tests.client.runner import Gtm
from tests.client.stranger import stranger
from tests.factories import PASSWORD, Person


@pytest.fixture
def signed_in(gtm: Gtm, user: Person) -> Gtm:
    gtm("login", "--email", user.email, "--password-stdin", stdin=PASSWORD + "\n")
    return gtm


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_credentials_that_others_can_read_are_refused(signed_in: Gtm, mode: int) -> None:
    file = signed_in.configuration / "credentials.json"
    file.chmod(mode)
    outcome = signed_in("whoami", code=4)
    assert f"mode {mode:04o}" in outcome.err
    assert f"chmod 600 {file}" in outcome.err
    file.chmod(0o600)
    signed_in("whoami")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_credentials_that_belong_to_somebody_else_are_refused(signed_in: Gtm) -> None:
    os.chown(signed_in.configuration / "credentials.json", 12345, -1)
    assert "belongs to somebody else" in signed_in("whoami", code=4).err


def test_damaged_credentials_say_what_to_do(signed_in: Gtm) -> None:
    (signed_in.configuration / "credentials.json").write_text("{", encoding="utf-8")
    outcome = signed_in("whoami", code=4)
    assert "damaged" in outcome.err
    assert "gtm login" in outcome.err


def test_a_token_is_not_sent_to_another_address(signed_in: Gtm) -> None:
    with stranger() as (url, received):
        assert "not signed in" in signed_in("whoami", "--url", url, code=4).err
    assert received == []


def test_a_token_of_the_environment_is_not_sent_where_only_a_project_says(sara: Gtm) -> None:
    with stranger() as (url, received):
        (sara.directory / ".gtm.toml").write_text(f'url = "{url}"\n', encoding="utf-8")
        outcome = sara("whoami", code=2, GTM_URL="")
        assert f"export GTM_URL={url}" in outcome.err
    assert received == []


def test_a_login_where_a_project_says_tells_so_first(gtm: Gtm) -> None:
    with stranger() as (url, _):
        project = gtm.directory / ".gtm.toml"
        project.write_text(f'url = "{url}"\n', encoding="utf-8")
        outcome = gtm("login", "--email", "a@example.org", "--password-stdin", stdin="", code=2, GTM_URL="")
        assert f"Signing in to {url}, as {project} says" in outcome.err


def test_profiles_have_tokens_of_their_own(signed_in: Gtm, admin: Person) -> None:
    options = ("--profile", "boss")
    signed_in("login", *options, "--email", admin.email, "--password-stdin", stdin=PASSWORD + "\n")
    assert signed_in("whoami", "--json", *options).json["email"] == admin.email
    assert signed_in("whoami", "--json").json["email"] != admin.email
    signed_in("logout", *options)
    signed_in("whoami")


@pytest.mark.parametrize("url", ["http://gpu.invalid", "http://192.0.2.1:8000"])
def test_an_unencrypted_service_elsewhere_is_warned_of(gtm: Gtm, url: str) -> None:
    outcome = gtm("doctor", "--url", url, code=None, HTTP_PROXY="http://127.0.0.1:9")
    assert "is not encrypted" in outcome.err


def test_logins_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    file = CredentialFile(tmp_path / "gtm" / "credentials.json")
    made = [Credential(f"profile-{number}", "https://gpu.example.org", f"gtm_{number}") for number in range(16)]
    with ThreadPoolExecutor(len(made)) as people:
        list(people.map(file.keep, made))
    assert sorted(each.token for each in file.read()) == sorted(each.token for each in made)
    with ThreadPoolExecutor(len(made)) as people:
        list(people.map(lambda each: file.forget(each.profile), made))
    assert file.read() == []
