"""What the documents say is so: each that can drift is compared with the code."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
import typer

from app import main
from app.core.config import Settings
from app.core.version import VERSION
from app.domain.job_state import FINAL, TRANSITIONS, JobStatus
from app.manage.__main__ import commands
from scripts.lib.class_diagram import class_diagram
from tests.documents import FENCE, READMES, ROOT, blocks, read, session, table_rows

DOCUMENTS = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BASE_URL = "http://localhost:8000"
PROMISED = {"/ui/index.html", "/docs", "/health"}
"""Addresses that the specification names."""


def operations() -> set[tuple[str, str]]:
    """Method and path of every call, its parameters without their names."""
    paths: dict[str, dict[str, Any]] = main.app.openapi()["paths"]
    return {(method.upper(), nameless(path)) for path, methods in paths.items() for method in methods}


def nameless(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@pytest.mark.parametrize("name", READMES)
def test_the_readme_lists_every_call_of_the_api_and_no_other(name: str) -> None:
    listed = [
        (method, "/api/v1" + nameless(path))
        for row in table_rows(read(name))
        for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^` ]*)`", row[-1])
    ]
    assert sorted(listed) == sorted(operation for operation in operations() if operation[1].startswith("/api/"))


@pytest.mark.parametrize("name", READMES)
def test_the_calls_in_the_first_session_exist(name: str) -> None:
    """Of the right method: curl posts what has a body, and gets the rest."""
    calls = re.findall(r'curl (.*?)"\$api(/[^"?]*)[^"]*"(.*)', session(read(name)))
    assert len(calls) > 10
    for before, path, after in calls:
        posts = "-X POST" in before or re.search(r"\s(-d|--data-urlencode)\s", after)
        assert ("POST" if posts else "GET", "/api/v1" + path.replace("$job", "{}")) in operations(), path


@pytest.mark.anyio
@pytest.mark.parametrize("name", READMES)
async def test_every_address_in_the_readme_answers(name: str, client: httpx2.AsyncClient) -> None:
    addresses = set(re.findall(rf"<{BASE_URL}(/[^>]*)>", read(name)))
    assert addresses >= PROMISED
    for address in addresses:
        answer = await client.get(address)
        assert answer.status_code == 200 or (address, answer.status_code) == ("/readyz", 503), address


@pytest.mark.anyio
async def test_every_call_is_there(client: httpx2.AsyncClient) -> None:
    for method, path in sorted(operations()):
        answer = await client.request(method, path.replace("{}", "1"))
        assert answer.status_code not in (404, 405, 500), (method, path)


@pytest.mark.parametrize("name", READMES)
def test_the_configuration_table_is_the_settings_with_their_defaults(name: str) -> None:
    rows = [row for row in table_rows(read(name)) if re.fullmatch(r"`[A-Z_]+`", row[0])]
    stated = [(row[0].strip("`"), row[1]) for row in rows if row[0].strip("`") not in set(JobStatus)]
    assert stated == [(setting.upper(), default_of(setting)) for setting in Settings.model_fields]


def default_of(setting: str) -> str:
    """As it is written in the table: a dash for nothing."""
    default = Settings.model_fields[setting].default
    if default in (None, (), ""):
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


@pytest.mark.parametrize("name", READMES)
def test_the_operators_commands_are_those_that_exist(name: str) -> None:
    written = [
        command.split()
        for row in table_rows(read(name))
        for command in re.findall(r"^`python -m app\.manage (.+)`$", row[0])
    ]
    group = typer.main.get_command(commands)
    assert isinstance(group, typer.core.TyperGroup)
    assert written == [
        [command, *(parameter.name.upper() for parameter in of.params if parameter.param_type_name == "argument")]
        for command, of in group.commands.items()
    ]


@pytest.mark.parametrize("name", READMES)
def test_the_table_of_states_is_the_state_machine(name: str) -> None:
    stated = {
        JobStatus(row[0].strip("`")): set(re.findall(r"`([A-Z]+)`", row[2]))
        for row in table_rows(read(name))
        if row[0].strip("`") in set(JobStatus)
    }
    assert stated == TRANSITIONS


def test_the_state_chart_is_the_state_machine() -> None:
    (chart,) = [block for block in blocks(read("ARCHITECTURE.md"), "mermaid") if "stateDiagram-v2" in block]
    arrows = re.findall(r"^ *(\S+) --> (\S+)$", chart, re.MULTILINE)
    moves = {(current, target) for current, targets in TRANSITIONS.items() for target in targets}
    assert sorted(arrows) == sorted(moves | {("[*]", JobStatus.PENDING)} | {(status, "[*]") for status in FINAL})


def test_the_class_diagram_is_that_of_the_mapped_classes() -> None:
    assert read("CLASS_DIAGRAM.md") == class_diagram(), "run scripts/class-diagram"


def test_the_changelog_knows_this_version() -> None:
    assert f"\n## [{VERSION}] - " in read("CHANGELOG.md")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text = FENCE.sub("", read(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(file: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_that_are_named_exist(name: str) -> None:
    named = r"`((?:\.ci|app|benchmarks|docs|frontend|migrations|scripts|tests)/[\w./-]*)`"
    for path in re.findall(named, FENCE.sub("", read(name))):
        assert (ROOT / path).exists(), path


def test_the_persian_readme_shows_the_same_commands_and_answers() -> None:
    """In the same order, with comments of its own."""
    english, persian = (
        [(language, re.sub(r"^#.*\n", "", body, flags=re.MULTILINE)) for language, body in FENCE.findall(read(name))]
        for name in READMES
    )
    assert persian == english


def test_persian_text_runs_from_right_to_left_and_commands_do_not() -> None:
    text = read("README.fa.md")
    parts = re.split(r'^<div dir="rtl">\n\n(.*?)\n\n</div>$', text, flags=re.MULTILINE | re.DOTALL)
    prose, between = "".join(parts[1::2]), "".join(parts[::2])
    assert "```" not in prose
    assert FENCE.sub("", between).strip() == ""


def test_what_is_not_persian_keeps_its_direction_in_persian_text() -> None:
    """Left to itself, `/docs` would read `docs/`, and a list of commands would run against the text around it."""
    prose = re.sub(r'<span dir="ltr">.*?</span>', "", FENCE.sub("", read("README.fa.md")))
    steady = r"[A-Za-z]|[A-Za-z].*[A-Za-z0-9]|[0-9.]+|[0-9]+-[0-9]+"
    assert [code for code in re.findall(r"`([^`]+)`", prose) if not re.fullmatch(steady, code)] == []
    assert re.findall(r"[`>]، [`<]", prose) == []


def test_persian_comments_in_commands_can_be_read_from_left_to_right_lines() -> None:
    """A line of code cannot be turned: Latin words or a full stop in a Persian comment would change places."""
    for block in blocks(read("README.fa.md"), "bash"):
        for comment in re.findall(r"^# (.*)$", block, re.MULTILINE):
            assert not re.search(r"[A-Za-z#()]|[^\w]$", comment), comment
