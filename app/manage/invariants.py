"""Checks the books: every rule that one look at the database can check."""

import typer

from app.core.config import Settings
from app.db.engine import Database
from app.manage.running import on_database
from app.services import invariants


def check_invariants() -> None:
    """Check that quotas, jobs, GPUs and their histories agree. Prints every finding; exit code 1 if there is any."""

    async def work(database: Database, _settings: Settings) -> int:
        async with database.transaction() as connection:
            findings = await invariants.broken(connection)
        for rule, subject, finding in findings:
            typer.echo(f"{rule}: {subject}: {finding}")
        return len(findings)

    count = on_database(work, migrate=False)
    if count:
        typer.echo(f"{count} findings: please report them with this output", err=True)
        raise typer.Exit(1)
    typer.echo("all invariants hold", err=True)
