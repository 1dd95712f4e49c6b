"""Which versions there are of this program and of the service."""

from gtm import VERSION
from gtm.commandline import Commands
from gtm.context import Session
from gtm.errors import CommandError
from gtm.output import Column

commands = Commands()


@commands.command(prints_data=True)
def version(session: Session) -> None:
    """Show the versions of this program and of the service."""
    service: str | None = None
    try:
        service = session.service_as(session.token, retry_seconds=0).get("/about")["version"]
    except CommandError as error:
        session.output.warn(f"The service tells its version to whoever is signed in. {error.message}")
    session.output.record(
        {"client": VERSION, "service": service, "url": session.settings.url},
        (Column("gtm", "client"), Column("Service", "service"), Column("URL", "url")),
        id_field="client",
    )
