"""People as an admin names them: by the number of their account, or by their e-mail."""

from collections.abc import Mapping
from typing import Any

from gtm.digits import fold_digits
from gtm.errors import CommandError, ExitCode
from gtm.service import Service

EVERYBODY = "all"


def find_user(service: Service, named: str) -> Mapping[str, Any]:
    """The account.

    Raises:
        CommandError: nobody has this number or address (NOT_FOUND), or it is no admin who asks (FORBIDDEN).
    """
    account: Mapping[str, Any]
    number = fold_digits(named)
    if number.isdecimal():
        account = service.get(f"/admin/users/{number}")
        return account
    found = [each for each in service.pages("/admin/users", {"q": named}) if each["email"].lower() == named.lower()]
    if not found:
        raise CommandError(
            f"Nobody has the e-mail {named}.", exit_code=ExitCode.NOT_FOUND, hint=f"gtm admin users --q {named[:8]}"
        )
    account = found[0]
    return account


def find_user_id(service: Service, named: str) -> int:
    user_id: int = find_user(service, named)["id"]
    return user_id
