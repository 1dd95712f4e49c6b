"""Signing in and out: what is asked, what is kept, and what is left behind at the service."""

import json
import stat

import pytest

from tests.browser.service import Service
from tests.client.runner import Gtm
from tests.factories import PASSWORD, Person, make_token
from tests.services.desk import Desk


def log_in(gtm: Gtm, person: Person, *more: str) -> None:
    gtm("login", "--email", person.email, "--password-stdin", *more, stdin=PASSWORD + "\n")


def test_a_login_keeps_a_personal_token_and_names_what_comes_next(gtm: Gtm, user: Person) -> None:
    outcome = gtm("login", "--email", user.email, "--password-stdin", stdin=PASSWORD + "\n")
    assert outcome.out == ""
    assert f"Signed in as {user.email}" in outcome.err
    assert "Next: gtm submit --help" in outcome.err
    account = gtm("whoami", "-o", "json").json
    assert account["email"] == user.email
    assert account["token"]["scopes"] == ["jobs:read", "jobs:write"]


def test_an_admins_token_is_good_for_deciding(gtm: Gtm, admin: Person) -> None:
    log_in(gtm, admin)
    assert gtm("whoami", "--json").json["token"]["scopes"] == ["jobs:read", "jobs:write", "admin"]


def test_the_credentials_are_for_their_owner_alone(gtm: Gtm, user: Person) -> None:
    log_in(gtm, user)
    file = gtm.configuration / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert PASSWORD not in file.read_text(encoding="utf-8")


@pytest.mark.anyio
async def test_the_session_of_the_password_is_over_after_the_login(gtm: Gtm, user: Person, desk: Desk) -> None:
    log_in(gtm, user)
    assert await desk.sql("SELECT revoked_at IS NOT NULL FROM sessions") == [(True,)]


def test_a_second_login_revokes_the_token_of_the_first(gtm: Gtm, user: Person) -> None:
    log_in(gtm, user)
    [first] = gtm("token", "list", "-o", "id").lines
    log_in(gtm, user)
    [second] = gtm("token", "list", "-o", "id").lines
    assert first != second


def test_a_wrong_password_is_refused_and_nothing_is_kept(gtm: Gtm, user: Person) -> None:
    outcome = gtm("login", "--email", user.email, "--password-stdin", stdin="wrong\n", code=4)
    assert "[invalid-credentials]" in outcome.err
    assert not (gtm.configuration / "credentials.json").exists()


def test_a_password_cannot_be_given_on_the_command_line(gtm: Gtm) -> None:
    assert "No such option: --password" in gtm("login", "--password", "x", code=2).err
    assert "No such option: --token" in gtm("login", "--token", "x", code=2).err


def test_without_a_terminal_nothing_is_asked(gtm: Gtm) -> None:
    assert "--email" in gtm("login", code=2).err
    assert "--password-stdin" in gtm("login", "--email", "sara@example.org", code=2).err
    assert "no password" in gtm("login", "--email", "sara@example.org", "--password-stdin", code=2).err


def test_the_prompt_does_not_echo_the_password(gtm: Gtm, user: Person) -> None:
    with gtm.on_terminal("login") as terminal:
        terminal.expect("E-mail")
        terminal.type(user.email + "\n")
        terminal.expect("Password of sara@example.org at http://")
        terminal.type(PASSWORD + "\n")
        assert terminal.wait() == 0, terminal.seen
    assert "Signed in as" in terminal.seen
    assert PASSWORD not in terminal.seen


def test_interrupting_the_prompt_ends_it_as_a_shell_expects(gtm: Gtm) -> None:
    with gtm.on_terminal("login", "--email", "sara@example.org") as terminal:
        terminal.expect("Password of")
        terminal.type("\x03")
        assert terminal.wait() == 130
    assert "Traceback" not in terminal.seen


@pytest.mark.anyio
async def test_a_token_that_was_made_elsewhere_is_read_from_stdin(gtm: Gtm, user: Person, service: Service) -> None:
    token = await make_token(service.state, user)
    gtm("login", "--with-token", stdin=token.secret + "\n")
    assert gtm("whoami", "--json").json["token"]["id"] == str(token.id)


def test_what_is_no_personal_token_is_not_kept(gtm: Gtm) -> None:
    assert "begins with gtm_" in gtm("login", "--with-token", stdin="eyJhbGciOi\n", code=2).err
    assert "gtm login" in gtm("login", "--with-token", stdin="gtm_unknown\n", code=4).err
    assert not (gtm.configuration / "credentials.json").exists()


def test_a_token_that_is_brought_takes_no_new_name(gtm: Gtm) -> None:
    assert "--with-token" in gtm("login", "--with-token", "--name", "x", stdin="gtm_x\n", code=2).err


def test_an_unknown_scope_is_a_mistake_of_usage(gtm: Gtm) -> None:
    assert "jobs:read" in gtm("login", "--scope", "everything", code=2).err


def test_a_logout_revokes_the_token_and_forgets_it(gtm: Gtm, user: Person) -> None:
    log_in(gtm, user)
    secret = json.loads((gtm.configuration / "credentials.json").read_text(encoding="utf-8"))["tokens"][0]["token"]
    assert "revoked and forgotten" in gtm("logout").err
    assert "not signed in" in gtm("whoami", code=4).err
    assert "Log in again" in gtm("whoami", code=4, GTM_TOKEN=secret).err


def test_a_logout_can_leave_the_token_good_for_others(gtm: Gtm, user: Person) -> None:
    log_in(gtm, user)
    secret = json.loads((gtm.configuration / "credentials.json").read_text(encoding="utf-8"))["tokens"][0]["token"]
    gtm("logout", "--keep-token")
    assert gtm("whoami", "--json", GTM_TOKEN=secret).json["email"] == user.email


def test_a_logout_works_after_the_token_was_revoked_elsewhere(gtm: Gtm, user: Person) -> None:
    log_in(gtm, user)
    kept = (gtm.configuration / "credentials.json").read_text(encoding="utf-8")
    gtm("logout")
    (gtm.configuration / "credentials.json").write_text(kept, encoding="utf-8")
    gtm("logout")
    assert "nothing to do" in gtm("logout", code=4).err


def test_who_is_not_signed_in_is_told_how_to(gtm: Gtm) -> None:
    outcome = gtm("whoami", code=4)
    assert "gtm login" in outcome.err
    assert outcome.out == ""


def test_a_revoked_token_is_told_from_none(sara: Gtm) -> None:
    sara("token", "revoke", "nightly runs")
    outcome = sara("whoami", code=4)
    assert "Log in again" in outcome.err
    assert "[not-authenticated]" in outcome.err


def test_a_login_by_flag_is_where_the_next_command_goes(gtm: Gtm, user: Person, service: Service) -> None:
    stranger = gtm.having(GTM_URL="")
    log_in(stranger, user, "--url", service.url + "/")
    assert stranger("config", "get", "url").out.strip() == service.url
    assert stranger("whoami", "--json").json["url"] == service.url


def test_a_token_in_the_environment_wins_and_a_login_says_so(sara: Gtm, user: Person) -> None:
    outcome = sara("login", "--email", user.email, "--password-stdin", stdin=PASSWORD + "\n")
    assert "GTM_TOKEN is set" in outcome.err
