"""How a quota looks to a person: one's own, or somebody else's to an admin."""

from collections.abc import Mapping, Sequence
from typing import Any

from gtm.context import Session
from gtm.jobview import Show, gpu_hours, person
from gtm.output import Column, plain
from gtm.times import moments

BAR_CELLS = 40
USED, RESERVED, FREE = "█", "▒", "·"


def show_quota(session: Session, quota: Mapping[str, Any], *, then: str) -> None:
    """The month's numbers, with a bar on a terminal."""
    output = session.output
    output.record(quota, quota_fields(moments(session.settings.calendar)), id_field="period_start")
    if output.format != "table":
        return
    if output.is_terminal:
        output.data(f"\n{bar(quota)}  {USED} used  {RESERVED} reserved  {FREE} left")
    output.say(f"{gpu_hours(quota['available_hours'])} left.", then=then)


def quota_fields(moment: Show) -> Sequence[Column]:
    return [
        Column("From", "period_start", moment),
        Column("To", "period_end", moment),
        Column("Granted", "limit_hours", gpu_hours),
        Column("Used", "used_hours", gpu_hours),
        Column("Reserved", "reserved_hours", gpu_hours),
        Column("Left", "available_hours", gpu_hours),
    ]


def entry_columns(moment: Show) -> Sequence[Column]:
    """For the ledger."""
    return [
        Column("When", "at", moment),
        Column("What", "kind"),
        Column("Job", "", lambda entry: f"{entry['job_id']} {entry['job_name']}" if entry["job_id"] else plain(None)),
        Column("Granted", "limit_hours", change, align_right=True),
        Column("Reserved", "reserved_hours", change, align_right=True),
        Column("Used", "used_hours", change, align_right=True),
        Column("By", "", lambda entry: person(entry["actor"]) if entry["actor"] else plain(entry["actor_process"])),
        Column("Note", "note"),
    ]


def change(hours: float) -> str:
    """`+8`, `-2`, and nothing for no change."""
    return plain(None) if hours == 0 else ("+" if hours > 0 else "") + plain(float(hours))


def bar(quota: Mapping[str, Any]) -> str:
    """Used and reserved hours as parts of those granted; a part that is there has a cell at least."""
    granted = max(quota["limit_hours"], quota["used_hours"] + quota["reserved_hours"])
    if granted <= 0:
        return FREE * BAR_CELLS
    used = _cells(quota["used_hours"] / granted, BAR_CELLS)
    reserved = _cells(quota["reserved_hours"] / granted, BAR_CELLS - used)
    return USED * used + RESERVED * reserved + FREE * (BAR_CELLS - used - reserved)


def _cells(share: float, most: int) -> int:
    return min(most, max(1, round(share * BAR_CELLS))) if share > 0 else 0
