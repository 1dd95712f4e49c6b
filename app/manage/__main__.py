"""`python -m app.manage`: what operators do at the machine itself. It needs the database's credentials, not a token."""

import typer

from app.manage import accounts, admins, invariants, openapi, quota, schema

commands = typer.Typer(
    help="Commands for the operator of a GPU Task Manager.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
commands.command("grant-admin")(admins.grant_admin)
commands.command("revoke-admin")(admins.revoke_admin)
commands.command("list-admins")(admins.list_admins)
commands.command("create-user")(accounts.create_user)
commands.command("reset-password")(accounts.reset_password)
commands.command("set-quota")(quota.set_quota)
commands.command("check-invariants")(invariants.check_invariants)
commands.command("migrate")(schema.migrate)
commands.command("check-migrations")(schema.check_migrations)
commands.command("export-openapi")(openapi.export_openapi)

if __name__ == "__main__":
    commands(prog_name="python -m app.manage")
