"""Prints CLASS_DIAGRAM.md: the mapped classes as Mermaid diagrams, drawn from their columns and foreign keys."""
# ruff: noqa: T201

import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from itertools import groupby
from operator import itemgetter

from sqlalchemy import CheckConstraint, Column, Table
from sqlalchemy.dialects import postgresql

from app.models import Base

HEADER = """\
# Class diagram

The mapped classes of [app/models](app/models) and their relations. `scripts/class-diagram` draws this page from the
code, and a test compares the two.

- An arrow leads from the class with the foreign key to the one it names; on it stands the column.
- `text?` may be NULL. PK: primary key, FK: foreign key.
- The classes have no methods: rules are in `app/domain`, actions in `app/services`, SQL in `app/db/queries`.
"""
READING_ORDER = [
    f"app.models.{module}" for module in ("user", "session", "token", "quota", "job", "engine", "gpu", "audit")
]
SHORT_TYPES = {"TIMESTAMP WITH TIME ZONE": "timestamptz", "DOUBLE PRECISION": "float8"}
POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]


def class_diagram() -> str:
    """The whole page, as the present models have it."""
    classes = _mapped_classes()
    sections = [HEADER, "## Relations", _mermaid(_relations(classes))]
    for module, members in groupby(classes, key=lambda mapped: mapped.__module__):
        sections.append(f"## `{module.replace('.', '/')}.py`")
        of_module = list(members)
        sections.append("\n".join(f"- **{mapped.__name__}**: {_docstring(mapped)}" for mapped in of_module))
        sections.append(_mermaid([line for mapped in of_module for line in _class_box(mapped)]))
        if words := [line for mapped in of_module for line in _known_words(mapped)]:
            sections.append("\n".join(words))
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _mapped_classes() -> list[type[Base]]:
    """By module in reading order, and within a module as they stand there."""
    by_table = {mapper.class_.__tablename__: mapper.class_ for mapper in Base.registry.mappers}
    classes = [by_table[table] for table in Base.metadata.tables]
    return sorted(classes, key=lambda mapped: READING_ORDER.index(mapped.__module__))


def _relations(classes: Sequence[type[Base]]) -> Iterator[str]:
    """One arrow for all columns that lead from one class to another with the same multiplicity."""
    names = {mapped.__tablename__: mapped.__name__ for mapped in classes}
    for mapped in classes:
        arrows = [
            (names[key.column.table.name], "0..1" if key.parent.nullable else "1", key.parent.name)
            for column in _table(mapped).columns
            for key in column.foreign_keys
        ]
        if not arrows:
            yield f"class {mapped.__name__}"
        for (target, multiplicity), group in groupby(sorted(arrows), key=itemgetter(0, 1)):
            columns = ", ".join(column for _, _, column in group)
            yield f'{mapped.__name__} "*" --> "{multiplicity}" {target} : {columns}'


def _class_box(mapped: type[Base]) -> Iterator[str]:
    yield f"class {mapped.__name__} {{"
    for column in _table(mapped).columns:
        yield f"    {_type(column)}{'?' if column.nullable else ''} {column.name}{_key(column)}"
    yield "}"


def _type(column: Column[object]) -> str:
    name = column.type.compile(POSTGRESQL)
    return SHORT_TYPES.get(name, name.lower())


def _key(column: Column[object]) -> str:
    return (" PK" if column.primary_key else "") + (" FK" if column.foreign_keys else "")


def _known_words(mapped: type[Base]) -> Iterator[str]:
    """The values that a CHECK made by `one_of` allows."""
    checks = [str(check.sqltext) for check in _table(mapped).constraints if isinstance(check, CheckConstraint)]
    for check in sorted(checks):
        if (listed := re.fullmatch(r"(\w+) IN \((.+)\)", check)) is not None:
            column, values = listed.groups()
            yield f"- `{mapped.__name__}.{column}`: {values.replace(chr(39), '')}"


def _table(mapped: type[Base]) -> Table:
    table = mapped.__table__
    assert isinstance(table, Table)  # noqa: S101
    return table


def _docstring(mapped: type[Base]) -> str:
    return " ".join(cleandoc(mapped.__doc__ or "").split())


def _mermaid(lines: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(["```mermaid", "classDiagram", *(f"    {line}" for line in lines), "```"])


if __name__ == "__main__":
    print(class_diagram(), end="")
