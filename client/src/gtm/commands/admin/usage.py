"""Who used how much."""

from typing import Annotated

import typer

from gtm.context import Session
from gtm.output import Column
from gtm.people import find_user_id
from gtm.times import moments

DAY = "YYYY-MM-DD"


def usage(
    session: Session,
    first: Annotated[
        str | None, typer.Option("--from", metavar=DAY, help="The first day; a year ago if left out.")
    ] = None,
    last: Annotated[str | None, typer.Option("--to", metavar=DAY, help="The last day; today if left out.")] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only this one: an e-mail or an id.")] = None,
) -> None:
    """Report GPU-hours by person and month.

    Of the months that the days from --from to --to touch.
    """
    moment = moments(session.settings.calendar)
    columns = [
        Column("Month", "period_start", lambda start: moment(start)[:10]),
        Column("E-mail", "user.email"),
        Column("Name", "user.full_name"),
        Column("Granted", "limit_hours", align_right=True),
        Column("Used", "used_hours", align_right=True),
        Column("Reserved", "reserved_hours", align_right=True),
        Column("Ended jobs", "finished_jobs", align_right=True),
    ]
    user_id = None if user is None else find_user_id(session.service, user)
    rows = session.service.get("/admin/reports/usage", {"from": first, "to": last, "user": user_id})
    session.output.records(rows, columns, empty="No hours in these months.", id_field="period_start")
