"""`scripts/check` says what it left out, fails by what it found, and keeps the front end's tools in step.

It runs in a small project of its own, where every tool is a script that says what it is called with.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
PROGRAMS = [
    "sh",
    "basename",
    "cmp",
    "cp",
    "diff",
    "dirname",
    "flock",
    "head",
    "mkdir",
    "mktemp",
    "readlink",
    "rm",
    "sed",
]
TOOLS = ["biome", "tsc", "html-validate", "openapi-typescript"]
ADVICE = "install Node 18.19 or newer and npm (Debian: apt-get install nodejs npm)\n"
INSTALLING = "Installing package-lock.json into node_modules; the first time this takes half a minute.\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose Python environment is complete, on a machine with Node, whose npm installs well."""
    shutil.copytree(SCRIPTS, tmp_path / "scripts")
    for name in (
        "requirements.txt",
        "requirements-dev.txt",
        ".venv/installed-requirements-dev.txt",
        "package-lock.json",
    ):
        write(tmp_path / name, "")
    write(tmp_path / "frontend/js/api.d.ts", "as generated\n")
    program(tmp_path / ".venv/bin/python", "")
    for name in PROGRAMS:
        found = shutil.which(name)
        assert found is not None, name
        (tmp_path / "programs").mkdir(exist_ok=True)
        (tmp_path / "programs" / name).symlink_to(found)
    program(tmp_path / "programs/node", "")
    program(tmp_path / "programs/npm", "; ".join(installs(tool) for tool in TOOLS))
    return tmp_path


def installs(tool: str) -> str:
    says = "as generated" if tool == "openapi-typescript" else f"this is {tool}"
    script = f"node_modules/.bin/{tool}"
    return f"mkdir -p node_modules/.bin; echo 'echo {says}' > {script}; /bin/chmod +x {script}"


def program(path: Path, does: str) -> None:
    write(path, f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def check(project: Path, **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [project / "scripts/check"],
        env={"PATH": str(project / "programs"), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def lines(output: str, beginnings: Iterable[str]) -> list[str]:
    return [line for line in output.splitlines() if line.startswith(tuple(beginnings))]


def test_all_tools_run_and_are_installed_once(project: Path) -> None:
    code, output, errors = check(project, CI="1")
    assert (code, errors) == (0, INSTALLING)
    assert lines(output, ["this is"]) == ["this is biome", "this is tsc", "this is tsc", "this is html-validate"]
    assert check(project, CI="1") == (0, output, "")


def test_a_changed_lock_is_installed(project: Path) -> None:
    check(project)
    write(project / "package-lock.json", "changed")
    assert check(project)[2] == INSTALLING


def test_a_failed_install_is_one_line(project: Path) -> None:
    program(project / "programs/npm", "echo 'npm error code E404\nnpm error Not found: tsc\nnpm error ...' >&2; exit 1")
    code, _, errors = check(project)
    assert code == 1
    assert errors == (
        INSTALLING + "check: cannot install package-lock.json (Not found: tsc): see to the network and run this again\n"
    )


@pytest.mark.parametrize("failing", ["frontend/js/api.d.ts", "node_modules/.bin/tsc", ".venv/bin/python"])
def test_whatever_fails_fails_the_whole_after_all_have_run(project: Path, failing: str) -> None:
    check(project)
    fails = "case $* in *mypy*) exit 1; esac" if failing.endswith("python") else "exit 1"
    program(project / failing, fails)
    code, output, errors = check(project)
    assert code == 1
    failures = 2 if failing.endswith("tsc") else 1
    assert errors.splitlines()[-1] == f"check: {failures} of the checks failed"
    assert lines(output, ["> "])[-1] == "> scripts/api-types --check"


@pytest.mark.parametrize(
    ("machine", "complaint"),
    [
        ({"node": None}, "Node is not installed: "),
        ({"node": "case $* in -e*) exit 1; esac; echo v16.20.2"}, "Node v16.20.2 is too old: "),
        ({"npm": None}, "npm is not installed: "),
    ],
    ids=["no Node", "old Node", "no npm"],
)
def test_without_node_the_rest_is_checked_but_not_for_a_verdict(
    project: Path, machine: dict[str, str | None], complaint: str
) -> None:
    for name, does in machine.items():
        (project / "programs" / name).unlink()
        if does is not None:
            program(project / "programs" / name, does)
    code, output, errors = check(project)
    assert (code, errors) == (
        0,
        f"Left out: biome, tsc, html-validate and the types of the API. {complaint}{ADVICE}",
    )
    assert lines(output, ["> "])[-1] == "> .venv/bin/python -m app.manage check-migrations"
    assert check(project, CI="1") == (1, output, f"check: {complaint}{ADVICE}")


def test_the_real_node_is_judged_by_its_version() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    judged = subprocess.run(
        ["sh", "-c", '. scripts/lib/node.sh; node -e "$NODE_IS_NEW_ENOUGH"; echo $?; node --version'],
        cwd=SCRIPTS.parent,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    verdict, version = judged.stdout.split()
    major, minor, _ = map(int, version.removeprefix("v").split("."))
    assert (verdict == "0") == ((major, minor) >= (18, 19))
