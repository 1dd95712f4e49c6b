"""What all tables share: the constraint names, and how a text column is limited to an enumeration."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, ClassVar

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, MetaData, Sequence, Text, func, text
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import UserDefinedType

event_id_sequence = Sequence("event_id_seq")
"""Numbers job events and quota entries together, so that one stream can carry both in order."""


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
        }
    )
    type_annotation_map: ClassVar = {datetime: DateTime(timezone=True), str: Text(), int: BigInteger()}


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's `xid8`: a 64-bit transaction number that never wraps, carried as text."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid8"


BigIntId = Annotated[int, mapped_column(Identity(always=True), primary_key=True)]
EventId = Annotated[
    int, mapped_column(event_id_sequence, server_default=event_id_sequence.next_value(), primary_key=True)
]
WrittenBy = Annotated[str, mapped_column(TransactionId(), server_default=text("pg_current_xact_id()"))]
CreatedAt = Annotated[datetime, mapped_column(server_default=func.now())]


def one_of(column: str, values: Iterable[str], name: str | None = None) -> CheckConstraint:
    """TEXT with a CHECK, not a PostgreSQL enum: a new value needs no lock and can be used at once."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name or f"{column}_known")


def sql_list(values: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{value}'" for value in values) + ")"


ONE_ACTOR = "num_nonnulls(actor_user_id, actor_process) = 1"
