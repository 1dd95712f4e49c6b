"""Which passwords nobody may choose: too short to resist guessing, or the first that is guessed."""

import unicodedata
from functools import cache
from pathlib import Path

MINIMUM_LENGTH = 8
MAXIMUM_LENGTH = 128
SHORTEST_TELLING_NAME = 4

COMMON_PASSWORDS = Path(__file__).with_name("common_passwords.txt")
ASCII_DIGITS = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩يىك", "01234567890123456789ییک")


def broken_rule(password: str, *, email: str) -> str | None:
    """The rule that the password breaks, `too-short`, `too-long`, `common` or `contains-email`; None: it will do.

    Length is counted in characters as people see them typed, which is after NFC, and not in bytes.
    """
    length = len(unicodedata.normalize("NFC", password))
    if length < MINIMUM_LENGTH:
        return "too-short"
    if length > MAXIMUM_LENGTH:
        return "too-long"
    folded = _folded(password)
    if folded in _common_passwords() or len(set(folded)) == 1:
        return "common"
    name = _folded(email.partition("@")[0])
    if len(name) >= SHORTEST_TELLING_NAME and name in folded:
        return "contains-email"
    return None


@cache
def _common_passwords() -> frozenset[str]:
    lines = COMMON_PASSWORDS.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _folded(text: str) -> str:
    """As a guesser would try it: without the difference of capitals, of keyboards, and of digits."""
    return unicodedata.normalize("NFC", text).casefold().translate(ASCII_DIGITS)
