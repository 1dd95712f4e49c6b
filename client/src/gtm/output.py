"""What a command prints: data on stdout, in the format that was asked for; messages for people on stderr.

    table   for people: aligned and coloured on a terminal, tab-separated with a heading elsewhere
    json    the API's own fields: an array for a list, an object for one thing
    jsonl   the same, one object a line as it comes
    csv     the API's own fields with a heading, nested ones as `owner.email`
    id      ids alone, one a line

What people wrote (names, commands, reasons) may hold characters that a terminal obeys: they are shown, never sent.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Record = Mapping[str, Any]

OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and newline, and those that turn the direction of what follows."""

ISOLATED = re.compile(r"(\u2068[^\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*\u2069)")
"""A name that runs the other way, as the service writes it into a sentence: it turns nothing but itself."""

LINE_BREAKS = re.compile(r"[\t\n]+")
FORMULA = re.compile(r"^[=+\-@\t\r]")
NUMBER = re.compile(r"^[+-]?[0-9][0-9.]*$")
NOTHING = "-"


def plain(value: Any) -> str:
    """A value as a person reads it in a line."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(plain(each) for each in value) or NOTHING
    return str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its title, the path of its field (`owner.email`; "" is the whole record), how to show it.

    `style` gives a colour's name for the raw value (`green`), or None. What `wraps` is never cut on a narrow terminal.
    """

    title: str
    path: str
    show: Callable[[Any], str] = plain
    style: Callable[[Any], str | None] = lambda _: None
    align_right: bool = False
    wraps: bool = False

    def text(self, record: Record) -> str:
        return harmless(self.show(value_at(record, self.path)))

    def color(self, record: Record) -> str | None:
        return self.style(value_at(record, self.path))


@dataclass
class Output:
    """Where it goes and how. `format` is one of OUTPUT_FORMATS."""

    format: str = "table"
    color: bool = True
    _: KW_ONLY
    stdout: TextIO
    stderr: TextIO

    def records(
        self, records: Iterable[Record], columns: Sequence[Column], *, empty: str, id_field: str = "id"
    ) -> None:
        """Print a list. `empty` is what people are told (on stderr) if there is nothing in it."""
        match self.format:
            case "json":
                self._write(_json(list(records), indent=2))
            case "jsonl":
                for record in records:
                    self._write(_json(record))
            case "csv":
                self._write_csv(records)
            case "id":
                for record in records:
                    self._write(str(record[id_field]))
            case _:
                self._write_table(list(records), columns, empty)

    def record(self, record: Record, fields: Sequence[Column], *, id_field: str = "id") -> None:
        """Print one thing, for people with a line per field."""
        match self.format:
            case "json":
                self._write(_json(record, indent=2))
            case "jsonl":
                self._write(_json(record))
            case "csv":
                self._write_csv([record])
            case "id":
                self._write(str(record[id_field]))
            case _:
                self._write_fields(record, fields)

    def data(self, text: str) -> None:
        """A line of data that has no other form: a completion script, a path."""
        self._write(text)

    def say(self, message: str, *, then: str | None = None) -> None:
        """A message to people, and with `then` the command that is useful next."""
        print(harmless(message), file=self.stderr)
        if then is not None:
            print(f"Next: {then}", file=self.stderr)

    def warn(self, message: str) -> None:
        print(self._painted("warning:", "33"), harmless(message), file=self.stderr)

    def error(self, message: str) -> None:
        print(self._painted("gtm:", "31"), harmless(message), file=self.stderr)

    @property
    def is_terminal(self) -> bool:
        return self.stdout.isatty()

    @property
    def shows_progress(self) -> bool:
        """Whether people look on: spinners and progress bars (on stderr) are for them alone."""
        return self.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def console(self, *, to_stderr: bool = False) -> "Console":
        """For tables and progress bars of rich, in the colours that were asked for."""
        from rich.console import Console  # slow to import, and only terminals need it

        return Console(
            file=self.stderr if to_stderr else self.stdout,
            no_color=not self.color,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )

    def _write(self, line: str) -> None:
        print(line, file=self.stdout)

    def _write_table(self, records: Sequence[Record], columns: Sequence[Column], empty: str) -> None:
        if not records:
            self.say(empty)
        elif self.is_terminal:
            self._write_rich_table(records, columns)
        else:
            self._write("\t".join(column.title for column in columns))
            for record in records:
                self._write("\t".join(LINE_BREAKS.sub(" ", column.text(record)) for column in columns))

    def _write_rich_table(self, records: Sequence[Record], columns: Sequence[Column]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
        for column in columns:
            justify: Literal["left", "right"] = "right" if column.align_right else "left"
            overflow: Literal["fold", "ellipsis"] = "fold" if column.wraps else "ellipsis"
            table.add_column(column.title, justify=justify, no_wrap=not column.wraps, overflow=overflow)
        for record in records:
            table.add_row(
                *(Text(LINE_BREAKS.sub(" ", each.text(record)), style=each.color(record) or "") for each in columns)
            )
        console = self.console()
        console.soft_wrap = False
        console.print(table)

    def _write_fields(self, record: Record, fields: Sequence[Column]) -> None:
        width = max(len(field.title) for field in fields) + 2 if self.is_terminal else 0
        for field in fields:
            text = field.text(record)
            if self.is_terminal:
                self._write(field.title.ljust(width) + text.replace("\n", "\n" + " " * width))
            else:
                self._write(f"{field.title}\t{LINE_BREAKS.sub(' ', text)}")

    def _write_csv(self, records: Iterable[Record]) -> None:
        import csv

        writer = csv.writer(self.stdout, lineterminator="\n")
        heading: list[str] | None = None
        for record in records:
            flat = dict(flattened(record))
            if heading is None:
                heading = list(flat)
                writer.writerow(heading)
            writer.writerow([no_formula(flat.get(name, "")) for name in heading])

    def _painted(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self.color and self.stderr.isatty() else text


def wants_color(environment: Mapping[str, str], *, no_color: bool) -> bool:
    """https://no-color.org: any value but an empty one says no."""
    return not (no_color or environment.get("NO_COLOR") or environment.get("TERM") == "dumb")


def harmless(text: str) -> str:
    r"""Characters that a terminal would obey, as `\x1b`."""
    parts = ISOLATED.split(text)
    return "".join(part if index % 2 else OBEYED.sub(_escaped, part) for index, part in enumerate(parts))


def value_at(record: Record, path: str) -> Any:
    """`value_at(job, "owner.email")`; None where something on the way is missing."""
    value: Any = record
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def flattened(record: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of a CSV row; a list is JSON in one cell."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, _cell(value)


def no_formula(text: str) -> str:
    """A spreadsheet runs what begins like a formula, unless a quote stands before it."""
    return f"'{text}" if FORMULA.match(text) and not NUMBER.match(text) else text


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(value: Any, indent: int | None = None) -> str:
    return OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False, indent=indent))


def _escaped(found: "re.Match[str]") -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
