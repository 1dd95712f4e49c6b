"""Accounts and their quotas."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gtm.context import Session
from gtm.errors import UsageError
from gtm.lists import LimitOption, show_list
from gtm.output import Column
from gtm.people import find_user_id
from gtm.quotaview import entry_columns, show_quota
from gtm.several import each_of
from gtm.times import moments

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="An e-mail, or the number of an account.")]
UserArguments = Annotated[list[str], typer.Argument(metavar="USER...", help="E-mails, or numbers of accounts.")]


def users(
    session: Session,
    q: Annotated[
        str | None, typer.Option("--q", metavar="TEXT", help="Begins the e-mail, or a word of the name.")
    ] = None,
    admins: Annotated[bool, typer.Option("--admins", help="Admins only.")] = False,
    limit: LimitOption = 100,
) -> None:
    """List accounts, newest first."""
    columns = [
        Column("ID", "id", align_right=True),
        Column("E-mail", "email"),
        Column("Name", "full_name"),
        Column("Admin", "is_admin"),
        Column("Active", "is_active", style=lambda is_active: None if is_active else "red"),
        Column("Since", "created_at", moments(session.settings.calendar)),
    ]
    parameters = {"q": q, "is_admin": admins or None}
    show_list(session, "/admin/users", parameters, columns, limit=limit, empty="Nobody.")


def activate(session: Session, accounts: UserArguments) -> None:
    """Let disabled people in again."""
    _change(session, accounts, {"is_active": True})


def deactivate(session: Session, accounts: UserArguments) -> None:
    """Disable accounts; their sessions and tokens end at once."""
    _change(session, accounts, {"is_active": False})


def promote(session: Session, accounts: UserArguments) -> None:
    """Make people admins."""
    _change(session, accounts, {"is_admin": True})


def demote(session: Session, accounts: UserArguments) -> None:
    """Take admins their rights."""
    _change(session, accounts, {"is_admin": False})


def quota(
    session: Session,
    account: UserArgument,
    limit: Annotated[
        float | None, typer.Option(metavar="HOURS", min=0, help="Grant so many GPU-hours a month, from this month on.")
    ] = None,
    adjust: Annotated[
        float | None,
        typer.Option(metavar="HOURS", help="Correct what this month counts as used: 5 charges, -5 gives back."),
    ] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why: it stands in the ledger.")] = None,
    entries: Annotated[bool, typer.Option("--entries", help="The ledger, newest first.")] = False,
) -> None:
    """Show somebody's month, or change it."""
    if limit is not None and adjust is not None:
        raise UsageError("One change at a time: --limit or --adjust.")
    if (limit is not None or adjust is not None) and not (reason and reason.strip()):
        raise UsageError("A change of a quota needs its reason.", hint='--reason "…"')
    service = session.service
    path = f"/admin/users/{find_user_id(service, account)}/quota"
    if entries:
        columns = entry_columns(moments(session.settings.calendar))
        session.output.records(service.pages(f"{path}/entries"), columns, empty="Nothing has moved yet.")
        return
    if limit is not None:
        month = service.put(path, {"limit_hours": limit, "reason": reason})
    elif adjust is not None:
        month = service.post(f"{path}/adjustments", {"hours": adjust, "reason": reason})
    else:
        month = service.get(path)
    show_quota(session, month, then=f"gtm admin quota {account} --entries")


def _change(session: Session, accounts: list[str], change: Mapping[str, bool]) -> None:
    def act(account: str) -> Mapping[str, Any]:
        changed: Mapping[str, Any] = session.service.patch(
            f"/admin/users/{find_user_id(session.service, account)}", change
        )
        return changed

    each_of(session, accounts, act, _standing, then=lambda _: "gtm admin users")


def _standing(user: Mapping[str, Any]) -> str:
    role = "an admin" if user["is_admin"] else "a user"
    return f"{user['email']} is {role}, and {'active' if user['is_active'] else 'disabled'}."
