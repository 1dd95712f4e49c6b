"""`gtm whoami`: who is signed in, as people and programs want to read it."""

from tests.client.runner import Gtm


def test_who_is_not_signed_in_is_told_how_to(gtm: Gtm) -> None:
    outcome = gtm("whoami", code=4)
    assert "gtm login" in outcome.err
    assert outcome.out == ""


def test_an_admin_is_known_as_one(reza: Gtm) -> None:
    assert reza("whoami", "-o", "json").json["is_admin"] is True
