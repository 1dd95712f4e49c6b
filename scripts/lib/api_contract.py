"""Prints the OpenAPI document without what makes no type: examples, and the refusals, which are alike everywhere."""
# ruff: noqa: T201

import json
from typing import Any

from app.main import app


def contract() -> dict[str, Any]:
    document: dict[str, Any] = _without_examples(app.openapi())
    for methods in document["paths"].values():
        for operation in methods.values():
            answers = operation["responses"]
            operation["responses"] = {status: answer for status, answer in answers.items() if status < "400"}
    return document


def _without_examples(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _without_examples(inner) for name, inner in part.items() if name not in ("example", "examples")}
    if isinstance(part, list):
        return [_without_examples(inner) for inner in part]
    return part


if __name__ == "__main__":
    print(json.dumps(contract(), sort_keys=True))
