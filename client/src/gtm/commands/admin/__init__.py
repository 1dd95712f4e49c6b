"""What admins do: decide on jobs, look after people and GPUs, and account for the hours."""

from gtm.commandline import Commands
from gtm.commands.admin import decisions, fleet, people, usage

commands = Commands(help="Decide on jobs, look after people and GPUs.")

commands.command(prints_data=True)(decisions.requests)
commands.command(prints_data=True)(decisions.approve)
commands.command(prints_data=True)(decisions.reject)
commands.command(prints_data=True)(decisions.start)
commands.command(prints_data=True)(people.users)
commands.command(prints_data=True)(people.activate)
commands.command(prints_data=True)(people.deactivate)
commands.command(prints_data=True)(people.promote)
commands.command(prints_data=True)(people.demote)
commands.command(prints_data=True)(people.quota)
commands.command(prints_data=True)(fleet.drain)
commands.command(prints_data=True)(fleet.resume)
commands.command(prints_data=True)(usage.usage)
