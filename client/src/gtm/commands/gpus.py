"""What there is to ask for."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gtm.commandline import Commands
from gtm.context import Session
from gtm.output import Column, plain

commands = Commands()

GIBIBYTE = 2**30
STATE_COLORS = {"FREE": "green", "BUSY": "blue", "OFFLINE": "red", "QUARANTINED": "red"}


def memory(count: int) -> str:
    """In GiB; 0 is the engine's way to say that it does not know."""
    return f"{count / GIBIBYTE:.0f} GiB" if count else plain(None)


def place(gpu: Mapping[str, Any]) -> str:
    """`node1:0`, as `gtm admin drain` takes it."""
    return f"{gpu['node']}:{gpu['index']}"


TYPES = (
    Column("Type", "name"),
    Column("Total", "total", align_right=True),
    Column("Free", "free", align_right=True),
    Column("Memory", "memory_bytes", memory, align_right=True),
)
EACH = (
    Column("GPU", "", place),
    Column("ID", "id", align_right=True),
    Column("Type", "gpu_type"),
    Column("State", "state", style=STATE_COLORS.get),
    Column("Job", "", lambda gpu: f"{gpu['job']['id']} {gpu['job']['name']}" if gpu["job"] else plain(None)),
    Column("Of", "job.owner.email"),
    Column("Why", "", lambda gpu: plain(gpu["drain_reason"] or gpu["offline_reason"])),
)


@commands.command(prints_data=True)
def gpus(
    session: Session,
    each: Annotated[bool, typer.Option("--each", help="Every single GPU and the job on it: for admins.")] = False,
) -> None:
    """List the GPU types: how many there are, and how many are free now."""
    if each:
        session.output.records(session.service.get("/admin/gpus"), EACH, empty="There are no GPUs.")
        return
    types = session.service.get("/gpu-types")
    session.output.records(types, TYPES, empty="There are no GPUs now.", id_field="name")
    if session.output.format == "table" and types:
        session.output.say(f"Free now: {sum(each['free'] for each in types)}.", then=_how_to_ask(types))


def _how_to_ask(types: list[Mapping[str, Any]]) -> str:
    return f"gtm submit --gpus {types[0]['name']}:1 --time 1h SCRIPT"
