"""Lists that can be long: the first so many rows, and a word about the rest."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from gtm.context import Session
from gtm.output import Column
from gtm.service import Parameters

LimitOption = Annotated[int, typer.Option(metavar="N", min=0, help="So many at most; 0 for all.")]


def show_list(
    session: Session, path: str, parameters: Parameters, columns: Sequence[Column], *, limit: int, empty: str
) -> None:
    """Print the first `limit` rows of a list of the API; with 0 all of them, as they come."""
    if limit:
        session.output.records(first_rows(session, path, parameters, limit=limit), columns, empty=empty)
    else:
        session.output.records(session.service.pages(path, parameters), columns, empty=empty)


def first_rows(session: Session, path: str, parameters: Parameters, *, limit: int) -> list[Mapping[str, Any]]:
    """So many of them, or with 0 all; people are told if there are more."""
    rows = list(session.service.pages(path, parameters, limit=limit + 1 if limit else None))
    if 0 < limit < len(rows):
        session.output.say(f"There are more than these {limit}: --limit 0 shows all.")
    return rows[:limit] if limit else rows
