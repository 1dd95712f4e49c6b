"""Tables for spreadsheets: UTF-8 with byte order mark, ASCII digits, ISO dates with the Persian one beside, no formula.

A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV injection). Numbers are no
texts, so those below zero stay numbers.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from decimal import Decimal

from app.domain.periods import jalali_day

BYTE_ORDER_MARK = "\ufeff"
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Cell = str | int | Decimal | None


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A whole file."""
    return BYTE_ORDER_MARK + lines([columns, *rows])


def lines(rows: Iterable[Sequence[Cell]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def number(value: float | None, decimals: int) -> Decimal | None:
    """A number with so many decimals, whatever they are."""
    return None if value is None else round(Decimal(value), decimals)


def day(instant: datetime, zone: tzinfo) -> str:
    return instant.astimezone(zone).date().isoformat()


def moment(instant: datetime | None, zone: tzinfo) -> tuple[str, str]:
    """Two cells: the local time to the second with its offset, and the Persian day. Empty for nothing."""
    if instant is None:
        return "", ""
    return instant.astimezone(zone).isoformat(timespec="seconds"), jalali_day(instant, zone)


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.lstrip(" ").startswith(FORMULA_BEGINNINGS) else cell
