"""One's own quota."""

from typing import Annotated

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.lists import LimitOption, show_list
from gtm.quotaview import entry_columns, show_quota
from gtm.times import moments

commands = Commands()


@commands.command(prints_data=True)
def quota(
    session: Session,
    entries: Annotated[
        bool, typer.Option("--entries", help="The ledger: why each number moved, newest first.")
    ] = False,
    limit: LimitOption = 50,
) -> None:
    """Show what is left of your GPU-hours this month."""
    if entries:
        columns = entry_columns(moments(session.settings.calendar))
        show_list(session, "/quota/entries", {}, columns, limit=limit, empty="Nothing has moved yet.")
    else:
        show_quota(session, session.service.get("/quota"), then="gtm quota --entries")
