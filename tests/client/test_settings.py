"""Where settings come from: flags over the environment over the project over the user over defaults."""

from pathlib import Path

import pytest

from tests.client.runner import Gtm, new_gtm


@pytest.fixture
def offline(tmp_path: Path) -> Gtm:
    """Nobody's service is asked."""
    return new_gtm(tmp_path / "offline")


def set_user(gtm: Gtm, text: str) -> None:
    gtm.configuration.mkdir(parents=True, exist_ok=True)
    (gtm.configuration / "config.toml").write_text(text, encoding="utf-8")


def url_of(gtm: Gtm, *arguments: str, **environment: str) -> tuple[str, str]:
    """The URL in force and where it comes from."""
    rows = gtm(*arguments, "config", "list", "--json", **environment).json
    [row] = [row for row in rows if row["name"] == "url"]
    return row["value"], row["source"]


def test_flags_win_over_the_environment_over_the_project_over_the_user(offline: Gtm) -> None:
    assert url_of(offline) == ("http://localhost:8000", "default")
    set_user(offline, '[profiles.default]\nurl = "https://user.example.org"\n')
    assert url_of(offline) == ("https://user.example.org", str(offline.configuration / "config.toml"))
    project = offline.directory / ".gtm.toml"
    project.write_text('url = "https://project.example.org"\n', encoding="utf-8")
    assert url_of(offline) == ("https://project.example.org", str(project))
    environment = {"GTM_URL": "https://environment.example.org"}
    assert url_of(offline, **environment) == ("https://environment.example.org", "GTM_URL")
    assert url_of(offline, "--url", "https://flag.example.org", **environment) == ("https://flag.example.org", "--url")


def test_an_option_can_stand_before_or_after_the_command(offline: Gtm) -> None:
    before = offline("--url", "https://a.example.org", "config", "get", "url").out
    after = offline("config", "get", "url", "--url", "https://a.example.org").out
    assert before == after == "https://a.example.org\n"


def test_a_project_is_found_from_a_folder_inside_it(offline: Gtm) -> None:
    (offline.directory.parent / ".gtm.toml").write_text('output = "csv"\n', encoding="utf-8")
    assert offline("config", "get", "output").out == "csv\n"


def test_a_profile_chooses_its_own_settings(offline: Gtm) -> None:
    set_user(
        offline, 'profile = "lab"\n[profiles.lab]\nurl = "https://lab.example.org"\n[profiles.home]\noutput="id"\n'
    )
    assert url_of(offline)[0] == "https://lab.example.org"
    assert offline("config", "get", "output", GTM_PROFILE="home").out == "id\n"
    assert offline("config", "get", "output", "--profile", "lab", GTM_PROFILE="home").out == "table\n"


@pytest.mark.parametrize("name", ["token", "password", "Token"])
def test_a_project_never_holds_a_secret(offline: Gtm, name: str) -> None:
    (offline.directory / ".gtm.toml").write_text(f'{name} = "gtm_secret"\n', encoding="utf-8")
    error = offline("config", "list", code=2).err
    assert "holds a" in error
    assert "gtm_secret" not in error


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("url = ", "is not TOML"),
        ('colour = "red"', "no setting 'colour'"),
        ('output = "yaml"', "output cannot be 'yaml'"),
        ('url = "ftp://x"', "must begin with https:// or http://"),
        ('url = "https://sara:secret@x"', "must not hold a user's name or password"),
    ],
)
def test_a_file_that_is_wrong_says_where(offline: Gtm, content: str, complaint: str) -> None:
    (offline.directory / ".gtm.toml").write_text(content, encoding="utf-8")
    error = offline("config", "list", code=2).err
    assert complaint in error
    assert ".gtm.toml" in error


def test_what_is_set_is_in_force_until_it_is_unset(offline: Gtm) -> None:
    assert "Next: gtm config list" in offline("config", "set", "output", "json").err
    assert offline("config", "get", "output").out == "json\n"
    offline("config", "unset", "output")
    assert offline("config", "get", "output").out == "table\n"


def test_what_is_set_for_a_profile_leaves_the_others_alone(offline: Gtm) -> None:
    offline("--profile", "lab", "config", "set", "url", "https://lab.example.org")
    assert offline("config", "get", "url").out == "http://localhost:8000\n"
    offline("config", "set", "profile", "lab")
    assert offline("config", "get", "url").out == "https://lab.example.org\n"
    assert offline("config", "profiles", "-o", "id").lines == ["lab"]


def test_a_value_that_something_else_overrides_is_set_with_a_warning(offline: Gtm) -> None:
    outcome = offline("config", "set", "url", "https://a.example.org", GTM_URL="https://b.example.org")
    assert "GTM_URL has a value, too" in outcome.err


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("output", "xml", "one of table"),
        ("retry_seconds", "soon", "number of seconds"),
        ("url", "gpu.example.org", "must begin with"),
        ("speed", "9", "no setting 'speed'"),
        ("token", "gtm_x", "gtm login"),
        ("profile", "a b", "letters"),
    ],
)
def test_a_value_that_cannot_be_is_not_set(offline: Gtm, name: str, value: str, complaint: str) -> None:
    assert complaint in offline("config", "set", name, value, code=2).err
    assert not offline.configuration.exists()


def test_the_path_of_the_configuration_can_be_asked(offline: Gtm) -> None:
    assert offline("config", "path").out == f"{offline.configuration / 'config.toml'}\n"
    elsewhere = offline("config", "path", XDG_CONFIG_HOME="/tmp/elsewhere").out  # noqa: S108 - only named
    assert elsewhere == "/tmp/elsewhere/gtm/config.toml\n"  # noqa: S108
