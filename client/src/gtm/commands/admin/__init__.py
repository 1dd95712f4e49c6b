"""What admins do: decide on jobs, look after people and GPUs, and account for the hours."""

from gtm.commandline import Commands
from gtm.commands.admin import decisions, fleet, people, usage

commands = Commands(help="Decide on jobs, look after people and GPUs.")

DECIDE = """
    Examples:
      gtm admin requests
      gtm admin approve 42 43 --note "good luck"
      gtm admin reject 44 --reason "use the T4s for tests"
      gtm admin start 42 43
      gtm admin refund 42 --reason "the disk of node1 was full"
    """
PEOPLE = """
    Examples:
      gtm admin users --q sara
      gtm admin quota sara@example.org --limit 300 --reason "thesis"
      gtm admin quota sara@example.org --adjust=-2 --reason "a node was lost"
      gtm admin deactivate sara@example.org
    """
FLEET = """
    Examples:
      gtm gpus --each
      gtm admin alerts
      gtm admin drain node1:0 --reason "a fan is broken"
      gtm admin resume node1:0
    """
USAGE = """
    Examples:
      gtm admin usage
      gtm admin usage --from 2026-09-01 --to 2026-11-30 -o csv > usage.csv
    """

for examples, functions in {
    DECIDE: (decisions.requests, decisions.approve, decisions.reject, decisions.start, decisions.refund),
    PEOPLE: (people.users, people.quota, people.activate, people.deactivate, people.promote, people.demote),
    FLEET: (fleet.alerts, fleet.drain, fleet.resume),
    USAGE: (usage.usage,),
}.items():
    for function in functions:
        commands.command(prints_data=True, epilog=examples)(function)
