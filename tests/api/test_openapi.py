"""The OpenAPI document names every operation, shows an example for each, and declares every error."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from app.core.config import Settings
from app.main import create_app

PROBLEM = {"$ref": "#/components/schemas/Problem"}


@pytest.fixture(scope="module")
def document(settings: Settings) -> dict[str, Any]:
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_operation_is_named_once_and_described(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    for method, path, operation in operations(document):
        assert operation["operationId"].isidentifier(), path
        assert operation["tags"], path
        assert len(operation["summary"]) > 10, (method, path)


def test_every_error_is_declared_as_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        responses = operation["responses"]
        declared = {status for status in responses if status >= "400"}
        expected = {"500"}
        if path.startswith("/api/v1"):
            expected |= {"422", "503"}
        if path.startswith("/api/v1/admin"):
            expected |= {"401", "403"}
        if "security" in operation:
            expected |= {"401"}
        if "{" in path:
            expected |= {"404"}
        if "requestBody" in operation:
            expected |= {"413", "415"}
        assert expected <= declared, (method, path)
        for status in declared:
            assert responses[status]["content"]["application/problem+json"]["schema"] == PROBLEM, (method, path)


def test_frameworks_own_error_shape_is_gone(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"], reference


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_signing_in_is_described_for_the_authorize_button(document: dict[str, Any]) -> None:
    [scheme] = document["components"]["securitySchemes"].values()
    assert scheme["flows"]["password"]["tokenUrl"] == "/api/v1/auth/login"


def test_every_body_shows_an_example_that_its_schema_accepts(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in bodies + list(operation["responses"].values()):
            for media_type, content in body.get("content", {}).items():
                if media_type != "text/csv":
                    assert "example" in content, (method, path, media_type)
                if "schema" in content:
                    schema = {**content["schema"], "components": document["components"]}
                    jsonschema_rs.validate(schema, content["example"])
