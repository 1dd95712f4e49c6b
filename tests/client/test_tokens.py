"""`gtm token`: tokens for programs and other machines."""

import pytest

from tests.browser.service import Service
from tests.client.runner import Gtm
from tests.factories import PASSWORD, Person, make_token


def test_a_new_token_is_printed_alone_and_works_in_a_script(sara: Gtm, user: Person) -> None:
    outcome = sara("token", "create", "ci", "--email", user.email, "--password-stdin", stdin=PASSWORD + "\n")
    [secret] = outcome.lines
    assert secret.startswith("gtm_")
    assert secret not in outcome.err
    assert sara("whoami", "--json", GTM_TOKEN=secret).json["token"]["name"] == "ci"


def test_a_token_has_the_scopes_and_the_days_that_were_asked_for(sara: Gtm, user: Person) -> None:
    options = ("--scope", "jobs:read", "--days", "3", "--email", user.email, "--password-stdin", "--json")
    made = sara("token", "create", "dashboard", *options, stdin=PASSWORD + "\n").json
    assert made["scopes"] == ["jobs:read"]
    secret = made["token"]
    refused = sara("logout", code=None, GTM_TOKEN=secret)
    assert refused.code == 4
    assert "[scope-missing]" in sara("cancel", "1", code=4, GTM_TOKEN=secret).err


def test_a_token_cannot_make_another_one_without_the_password(sara: Gtm, user: Person) -> None:
    assert "--password-stdin" in sara("token", "create", "more", "--email", user.email, code=2).err


def test_the_days_of_a_token_are_a_year_at_most(sara: Gtm) -> None:
    assert "365" in sara("token", "create", "x", "--days", "366", code=2).err


def test_the_list_never_has_a_secret(sara: Gtm) -> None:
    [token] = sara("token", "list", "-o", "json").json
    assert token["name"] == "nightly runs"
    assert token["current"] is True
    assert "token" not in token


@pytest.mark.anyio
async def test_another_token_is_revoked_by_name_with_the_password(sara: Gtm, user: Person, service: Service) -> None:
    await make_token(service.state, user)
    ids = {token["id"]: token["current"] for token in sara("token", "list", "--json").json}
    [other] = [token_id for token_id, is_current in ids.items() if not is_current]
    assert "give the id of one" in sara("token", "revoke", "nightly runs", code=2).err
    sara("token", "revoke", other[:12], "--email", user.email, "--password-stdin", stdin=PASSWORD + "\n")
    assert other not in sara("token", "list", "-o", "id").out


def test_an_unknown_token_is_not_found(sara: Gtm) -> None:
    assert "gtm token list" in sara("token", "revoke", "no such", code=3).err
