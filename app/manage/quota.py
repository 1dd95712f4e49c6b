"""Sets a user's monthly limit from the command line."""

from typing import Annotated

import typer

from app.core.clock import system_clock
from app.core.config import Settings
from app.db.engine import Database
from app.domain.errors import NotFound, QuotaBelowUse
from app.domain.quota import hours_from_seconds, seconds_from_hours
from app.manage.admins import Email
from app.manage.running import CommandFailed, on_database, operator
from app.services import quotas, users
from app.services.quotas import QuotaPolicy

Hours = Annotated[float, typer.Argument(min=0, max=1_000_000, help="GPU-hours a month.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger and the audit log.")]


def set_quota(email: Email, hours: Hours, reason: Reason = "set by the operator") -> None:
    """Set the monthly limit of an account, from the present month on."""

    async def work(database: Database, settings: Settings) -> None:
        async with database.transaction() as connection:
            try:
                user = await users.find(connection, email)
                balance = await quotas.set_limit(
                    connection,
                    user.id,
                    seconds_from_hours(hours),
                    note=reason,
                    actor=operator(),
                    policy=QuotaPolicy.of(settings),
                    now=system_clock(),
                )
            except NotFound:
                raise CommandFailed(f"there is no account with the e-mail address {email}") from None
            except QuotaBelowUse as refusal:
                minimum = hours_from_seconds(refusal.minimum_seconds)
                raise CommandFailed(f"{minimum:g} hours are used or reserved already: give at least that") from None
        typer.echo(
            f"{user.email}: {hours_from_seconds(balance.limit_seconds):g} GPU-hours a month, "
            f"{hours_from_seconds(balance.available_seconds):g} left until {balance.ends_at:%Y-%m-%d}"
        )

    on_database(work)
