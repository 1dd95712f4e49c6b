"""One's own quota."""

from typing import Annotated

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.quotaview import entry_columns, show_quota
from gtm.times import moments

commands = Commands()


@commands.command(prints_data=True)
def quota(
    session: Session,
    entries: Annotated[
        bool, typer.Option("--entries", help="The ledger: why each number moved, newest first.")
    ] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=0, help="The newest N entries; 0 for all.")] = 50,
) -> None:
    """Show what is left of your GPU-hours this month."""
    if entries:
        rows = session.service.pages("/quota/entries", limit=limit or None)
        columns = entry_columns(moments(session.settings.calendar))
        session.output.records(rows, columns, empty="Nothing has moved yet.")
    else:
        show_quota(session, session.service.get("/quota"), then="gtm quota --entries")
