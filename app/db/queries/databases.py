"""Whole databases, for checks that need an empty one. The names are ours, never a client's."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


async def create(connection: AsyncConnection, name: str) -> None:
    await connection.execute(text(f"CREATE DATABASE {_quoted(name)}"))


async def drop(connection: AsyncConnection, name: str) -> None:
    await connection.execute(text(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)"))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
