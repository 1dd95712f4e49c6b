"""The house rules of ARCHITECTURE.md, checked: who may import whom, and what stands where."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from app.api.deps import get_admin, get_autocommit, get_caller, get_transaction
from app.main import app as service

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "app"
QUERIES = APP / "db" / "queries"
FILES = sorted(APP.rglob("*.py"))

MAY_IMPORT: dict[str, set[str]] = {
    "core": {"domain"},
    "domain": set(),
    "models": {"core", "domain"},
    "db": {"core", "domain", "models"},
    "schemas": {"core", "domain"},
    "services": {"core", "domain", "models", "db", "schemas"},
    "executors": {"core", "domain"},
    "dispatcher": {"core", "domain", "models", "db", "services", "executors"},
    "api": {"core", "domain", "db", "schemas", "services"},
    "manage": {"core", "domain", "db", "schemas", "services", "main"},
    "main": {"core", "domain", "db", "services", "executors", "dispatcher", "api"},
}
"""Folder by folder: what it may use besides itself. `main.py` puts the parts together, so it knows most of them."""

SQL = re.compile(
    r"\b(SELECT\b.+\bFROM|INSERT\s+INTO|UPDATE\s+\w+\s+(\w+\s+)?SET|DELETE\s+FROM|LOCK\s+TABLE|TRUNCATE)\b", re.DOTALL
)
UPDATE_JOBS = re.compile(
    r"\bUPDATE\s+jobs\b.*?\bSET\b(?P<assignments>.*?)\b(?:FROM|WHERE)\b", re.DOTALL | re.IGNORECASE
)
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base_service"}


def layer(path: Path) -> str:
    return path.relative_to(APP).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Modules, and with `from x import y` both `x` and `x.y`."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)} imports relatively"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def packages(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(path)}


def imported_layers(path: Path) -> set[str]:
    return {module.split(".")[1] for module in imports(path) if module.startswith("app.")}


def texts(path: Path) -> Iterator[tuple[str, str]]:
    """Every string in the code that is no docstring, with its place."""
    docstrings = {
        id(statement.value)
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        for statement in node.body
        if isinstance(statement, ast.Expr)
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value, f"{name(path)}:{node.lineno}"


def attributes(path: Path) -> Iterator[tuple[str, str, str]]:
    """Every `owner.attribute` in the code, with its place."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            yield owner, node.attr, f"{name(path)}:{node.lineno}"


def test_imports_go_in_one_direction() -> None:
    for path in FILES:
        if path.parent != APP or path.name == "main.py":
            assert imported_layers(path) <= MAY_IMPORT[layer(path)] | {layer(path)}, name(path)


def test_every_folder_has_its_rule() -> None:
    folders = {path.name for path in APP.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert folders | {"main"} == MAY_IMPORT.keys()


def test_the_domain_needs_only_the_standard_library_and_a_calendar() -> None:
    for path in (APP / "domain").rglob("*.py"):
        assert packages(path) <= sys.stdlib_module_names | {"app", "jdatetime"}, name(path)
        assert imported_layers(path) <= {"domain"}, name(path)
        assert not packages(path) & {
            "os",
            "io",
            "socket",
            "subprocess",
            "asyncio",
            "logging",
            "pathlib",
            "random",
            "time",
        }


def test_only_the_edge_knows_http() -> None:
    for path in FILES:
        if layer(path) not in {"api", "main"}:
            assert not packages(path) & {"fastapi", "starlette", "uvicorn", "http"}, name(path)


def test_sql_stands_only_in_the_queries() -> None:
    """Except for what `db/embedded.py` asks a server through psql, before there is any connection."""
    elsewhere = [path for path in FILES if not path.is_relative_to(QUERIES) and path != APP / "db" / "embedded.py"]
    assert [place for path in elsewhere for text, place in texts(path) if SQL.search(text)] == []
    builders = {f"sqlalchemy.{name}" for name in ("text", "select", "insert", "update", "delete", "func")}
    assert [name(path) for path in elsewhere if layer(path) != "models" and builders & imports(path)] == []


def test_the_edge_commits_and_nobody_else() -> None:
    within = [path for path in FILES if layer(path) in {"services", "db"} and path != APP / "db" / "engine.py"]
    ends = [place for path in within for _, attribute, place in attributes(path) if attribute in {"commit", "rollback"}]
    assert ends == []


def test_one_function_assigns_a_status() -> None:
    """The only statement that sets a job's status is the one behind `services.transitions.apply`."""
    setters = [
        place
        for path in FILES
        for text, place in texts(path)
        for match in UPDATE_JOBS.finditer(text)
        if re.search(r"(?:^|[\s,(])status\s*=", match["assignments"])
    ]
    assert len(setters) == 1, setters
    assert [name(path) for path in FILES if "jobs.move(" in path.read_text("utf-8")] == ["app/services/transitions.py"]


def test_one_place_turns_refusals_into_http() -> None:
    knowing = [
        name(path)
        for path in FILES
        if "http.HTTPStatus" in imports(path) and {"app.domain.errors", "app.domain.errors.DomainError"} & imports(path)
    ]
    assert knowing == ["app/api/errors.py"]


def test_files_are_named_by_their_subject() -> None:
    assert [name(path) for path in FILES if path.stem in VAGUE_NAMES] == []


def test_only_the_clock_asks_what_time_it_is() -> None:
    asked = [
        place
        for path in FILES
        for owner, attribute, place in attributes(path)
        if owner in {"datetime", "date"}
        and attribute in {"now", "utcnow", "today"}
        and path != APP / "core" / "clock.py"
    ]
    assert asked == []


def dependants() -> Iterator[tuple[str, Dependant]]:
    for route in iter_route_contexts(service.routes):
        if route.path and route.path.startswith("/api/v1"):
            yield f"{sorted(route.methods or ())} {route.path}", route.dependant


def test_the_person_comes_before_the_connection() -> None:
    """FastAPI solves dependencies in order, and the identity query needs a connection of its own for a moment."""
    people: set[Any] = {get_caller, get_admin}
    connections: set[Any] = {get_transaction, get_autocommit}
    for route, dependant in dependants():
        places = {dependency.call: place for place, dependency in enumerate(dependant.dependencies)}
        first_connection = min((places[call] for call in connections & places.keys()), default=len(places))
        assert all(places[call] < first_connection for call in people & places.keys()), route


def test_every_route_under_admin_demands_an_admin() -> None:
    for route, dependant in dependants():
        calls = {dependency.call for dependency in dependant.dependencies}
        assert (get_admin in calls) == ("/api/v1/admin/" in route), route
