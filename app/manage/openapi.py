"""The HTTP contract as a file, for generators of clients and for comparison between releases."""

import json
from pathlib import Path
from typing import Annotated

import typer


def export_openapi(
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of standard output.")] = None,
) -> None:
    """Write the OpenAPI document. It needs no database."""
    from app.main import app  # noqa: PLC0415 - the whole service, which no other command needs

    document = json.dumps(app.openapi(), ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    if output is None:
        typer.echo(document, nl=False)
    else:
        output.write_text(document, encoding="utf-8")
