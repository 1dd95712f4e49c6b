"""GPUs that have to be taken out of service, and back."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gtm.commands.gpus import place
from gtm.context import Session
from gtm.digits import fold_digits
from gtm.errors import CommandError, ExitCode, UsageError
from gtm.output import Column
from gtm.several import each_of

GpuArguments = Annotated[
    list[str],
    typer.Argument(metavar="GPU...", help="As `gtm gpus --each` lists them: node1:0, a whole node1, or an id."),
]


ALERTS = (
    Column("What", "what", style={"overstays": "red", "foreign": "red"}.get),
    Column("ID", "id", align_right=True),
    Column("Name", "name"),
    Column("Of", "owner"),
    Column("GPUs", "gpus", align_right=True),
    Column("Cancelled", "cancelled_at"),
)


def alerts(session: Session) -> None:
    """List what goes on in the fleet against the rules.

    Jobs that should have ended ("overstays"), and jobs that the engine holds in the service's name and that the service
    did not submit ("foreign"; their id is the engine's).
    """
    found: Mapping[str, Any] = session.service.get("/admin/alerts")
    overstaying = [
        {"what": "overstays", "id": job["id"], "name": job["name"], "owner": job["owner"]["email"]}
        for job in found["overstaying"]
    ]
    foreign = [
        {
            "what": "foreign",
            "id": job["engine_job_id"],
            "name": job["name"],
            "gpus": job["num_gpus"],
            "cancelled_at": job["cancelled_at"],
        }
        for job in found["foreign_jobs"]
    ]
    session.output.records(overstaying + foreign, ALERTS, empty="All is as it should be.")


def drain(
    session: Session,
    gpus: GpuArguments,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why: other admins read it.")],
) -> None:
    """Take GPUs out of service.

    A job on one of them runs to its end; no other begins.
    """
    if not reason.strip():
        raise UsageError("A drain needs its reason.", hint='--reason "…"')
    _each(session, gpus, "drain", {"reason": reason})


def resume(session: Session, gpus: GpuArguments) -> None:
    """Let drained or quarantined GPUs take jobs again."""
    _each(session, gpus, "resume", None)


def _each(session: Session, named: list[str], verb: str, body: Mapping[str, Any] | None) -> None:
    def act(gpu_id: int) -> Mapping[str, Any]:
        gpu: Mapping[str, Any] = session.service.post(f"/admin/gpus/{gpu_id}/{verb}", body)
        return gpu

    each_of(session, _ids(session, named), act, _standing, then=lambda _: "gtm gpus --each")


def _ids(session: Session, named: list[str]) -> list[int]:
    """Raises CommandError for a name that no GPU has, before anything is changed."""
    fleet = session.service.get("/admin/gpus")
    found: list[int] = []
    for name in named:
        ids = [gpu["id"] for gpu in fleet if name in (place(gpu), gpu["node"]) or fold_digits(name) == str(gpu["id"])]
        if not ids:
            raise CommandError(f"There is no GPU {name}.", exit_code=ExitCode.NOT_FOUND, hint="gtm gpus --each")
        found += ids
    return found


def _standing(gpu: Mapping[str, Any]) -> str:
    still = f": job {gpu['job']['id']} on it runs to its end" if gpu["job"] and gpu["state"] == "DRAINING" else ""
    return f"{place(gpu)} ({gpu['gpu_type']}) is {gpu['state']}{still}."
