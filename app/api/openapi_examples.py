"""Gives every body in the OpenAPI document an example, put together from examples of its fields."""

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

BY_NAME: Mapping[str, Any] = {
    "access_token": "eyJhbGciOiJIUzI1NiIs…",
    "action": "approve",
    "allowed": ["start", "cancel"],
    "available_hours": 62.5,
    "available_hours_after": 54.5,
    "available_hours_now": 62.5,
    "charged_gpu_hours": 3.2,
    "client_id": "",
    "client_secret": "",
    "command": "python train.py --epochs 10",
    "data_location": "/data/imagenet",
    "email": "sara@example.org",
    "estimated_hours": 4,
    "full_name": "Sara Ahmadi",
    "gpu_type": "A100",
    "grant_type": "password",
    "hours": -1.5,
    "is_active": True,
    "job_name": "train-resnet",
    "justification": "Baseline for the paper, due on Friday",
    "limit_hours": 100,
    "memory_bytes": 85_899_345_920,
    "name": "train-resnet",
    "node": "node1",
    "note": "Fine, but please checkpoint every hour",
    "num_gpus": 2,
    "password": "quiet-River-71-lantern",
    "progress": 0.4,
    "reason": "Use the T4s for this size",
    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "reserved_gpu_hours": 8,
    "reserved_beyond_limit_gpu_hours": 0,
    "reserved_hours": 25.5,
    "scope": "",
    "used_hours": 12,
    "username": "sara@example.org",
    "utilisation": 0.93,
    "uuid": "GPU-5c1b7f5e-5d0c-5b0e-8f0a-0c9c1d2b3a4f",
}
BY_FORMAT: Mapping[str, Any] = {
    "date-time": "2026-11-23T12:00:00Z",
    "date": "2026-11-23",
    "uuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
}
BY_TYPE: Mapping[str, Any] = {"string": "text", "boolean": False, "integer": 1, "number": 1.0, "null": None}
BY_MEDIA_TYPE: Mapping[str, Any] = {
    "text/event-stream": 'event: job\nid: 812-4711\ndata: {"job_id": 17, "from_status": "PENDING", …}\n\n',
}


def add_examples(operation: Schema, schemas: Mapping[str, Schema]) -> None:
    """Leaves alone what shows an example already."""
    bodies = [operation["requestBody"]] if "requestBody" in operation else []
    for body in [*bodies, *operation["responses"].values()]:
        for media_type, content in body.get("content", {}).items():
            if {"example", "examples"} & content.keys():
                continue
            if media_type in BY_MEDIA_TYPE:
                content["example"] = BY_MEDIA_TYPE[media_type]
            elif "schema" in content:
                content["example"] = _example(content["schema"], schemas)


def _example(schema: Schema, schemas: Mapping[str, Schema], name: str = "") -> Any:
    """The schema's own example, or one by the field's name if the schema can take it, or by format and type."""
    schema = _resolved(schema, schemas)
    own = [schema[key] for key in ("example", "const") if key in schema]
    own += [schema[key][0] for key in ("examples", "enum") if schema.get(key)]
    if own:
        return own[0]
    if schema.get("type") == "object":
        return {part: _example(inner, schemas, part) for part, inner in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    by_type = BY_TYPE.get(schema.get("type", "null"))
    return BY_FORMAT.get(schema.get("format", "")) or BY_NAME.get(name, schema.get("default", by_type))


def _resolved(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """What a reference leads to, and the first of several possibilities."""
    while "$ref" in schema or "anyOf" in schema:
        schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema["anyOf"][0]
    return schema
