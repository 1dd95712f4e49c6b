"""The one spelling under which an e-mail address is stored and found."""

import unicodedata

from email_validator import EmailNotValidError, validate_email

MAXIMUM_LENGTH = 254
MULTICAST_DNS = ".local"
STAND_IN = ".lan"
LOCAL_DOMAINS = (MULTICAST_DNS, STAND_IN)


def normalise_email(text: str) -> str | None:
    """NFC, the domain in Unicode, small letters throughout. None: it is no e-mail address.

    Addresses that differ only in case belong to one person who typed both.
    """
    text = text.strip()
    if len(text) > MAXIMUM_LENGTH:
        return None
    # The library refuses .local, where no mail is delivered, but a lab without Internet uses it.
    is_multicast = text.lower().endswith(MULTICAST_DNS)
    checked = text[: -len(MULTICAST_DNS)] + STAND_IN if is_multicast else text
    try:
        email = validate_email(checked, check_deliverability=False, strict=True).normalized
    except EmailNotValidError:
        return None
    if is_multicast:
        email = email[: -len(STAND_IN)] + MULTICAST_DNS
    email = unicodedata.normalize("NFC", email.lower())
    return email if len(email) <= MAXIMUM_LENGTH else None


def is_local(email: str) -> bool:
    """Whether this (normalised) address can exist only within one network."""
    return email.endswith(LOCAL_DOMAINS)
