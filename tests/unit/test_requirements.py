"""The pins in requirements*.txt are what pyproject.toml asks for, and `scripts/lock` makes them so."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DEVELOPMENT = [Requirement(line) for line in PROJECT["dependency-groups"]["dev"]]
FILES = [("requirements.txt", RUNTIME), ("requirements-dev.txt", RUNTIME + DEVELOPMENT)]


def entries(file: str) -> dict[NormalizedName, str]:
    """The text of each pin, with its hashes and the comment on who needs it."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    found = re.split(r"^(?=[a-zA-Z0-9])", text, flags=re.MULTILINE)[1:]
    return {canonicalize_name(re.split(r"[^\w.-]", entry, maxsplit=1)[0]): entry for entry in found}


def pin(entry: str) -> Requirement:
    return Requirement(entry.split(" \\\n", maxsplit=1)[0])


def version(entry: str) -> str:
    (specifier,) = pin(entry).specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_is_exact_and_has_hashes(file: str) -> None:
    for entry in entries(file).values():
        assert version(entry)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry


@pytest.mark.parametrize(("file", "wanted"), FILES)
def test_every_dependency_is_pinned_to_a_version_it_allows(file: str, wanted: list[Requirement]) -> None:
    pinned = entries(file)
    for requirement in wanted:
        assert requirement.specifier.contains(version(pinned[canonicalize_name(requirement.name)])), requirement


@pytest.mark.parametrize(("file", "wanted"), FILES)
def test_nothing_is_pinned_for_a_dependency_that_is_gone(file: str, wanted: list[Requirement]) -> None:
    asked_for_here = {name for name, entry in entries(file).items() if PROJECT["project"]["name"] in entry}
    assert asked_for_here == {canonicalize_name(requirement.name) for requirement in wanted}


def test_development_runs_on_the_versions_of_production() -> None:
    development = entries("requirements-dev.txt")
    for name, entry in entries("requirements.txt").items():
        assert pin(development[name]) == pin(entry)
