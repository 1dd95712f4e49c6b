"""One spelling per address."""

import pytest

from app.core.email_address import is_local, normalise_email


@pytest.mark.parametrize(
    ("typed", "stored"),
    [
        ("sara@example.com", "sara@example.com"),
        ("  Sara.M+gpu@EXAMPLE.Com ", "sara.m+gpu@example.com"),
        ("cafe\u0301@example.com", "caf\u00e9@example.com"),
        ("ali@Ex\u00e4mple.com", "ali@ex\u00e4mple.com"),
        ("ali@xn--exmple-cua.com", "ali@ex\u00e4mple.com"),
        ("علی@دانشگاه.ایران", "علی@دانشگاه.ایران"),
        ("Root@Node1.LOCAL", "root@node1.local"),
        ("root@node1.lan", "root@node1.lan"),
    ],
)
def test_an_address_has_one_spelling(typed: str, stored: str) -> None:
    assert normalise_email(typed) == stored
    assert normalise_email(stored) == stored


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "sara",
        "@example.com",
        "sara@",
        "sara@host",
        "sara@.local",
        "sara@localhost",
        "a..b@example.com",
        "a b@example.com",
        "a@b@example.com",
        "sara@[192.0.2.1]",
        "Sara <sara@example.com>",
        '"sara m"@example.com',
        "sara\x00@example.com",
        "sara\n@example.com",
        "sara\u202e@example.com",
        "\ud800@example.com",
        "x" * 65 + "@example.com",
        "x@" + "y" * 300 + ".com",
        "x" * 100_000,
    ],
)
def test_anything_else_is_no_address(typed: str) -> None:
    assert normalise_email(typed) is None


def test_local_networks_are_told_from_the_world() -> None:
    assert is_local("root@node1.local")
    assert is_local("root@node1.lan")
    assert not is_local("root@local.example.com")
