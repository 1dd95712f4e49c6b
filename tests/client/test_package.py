"""The client as a package of its own: what it is called, what it needs, and that it stands alone."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from app.core.version import VERSION as SERVICE_VERSION
from gtm import VERSION
from tests.client.runner import new_gtm
from tests.e2e.processes import PROJECT

CLIENT = PROJECT / "client"
SOURCES = sorted((CLIENT / "src").rglob("*.py"))
METADATA = tomllib.loads((CLIENT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


def test_the_client_has_the_version_of_the_service() -> None:
    assert VERSION == SERVICE_VERSION == METADATA["version"]


def test_the_client_imports_nothing_of_the_service() -> None:
    needed = {"typer", "rich", "httpx2", "platformdirs", "yaml", "tomli", "jdatetime"}
    known = needed | {"gtm"} | set(sys.stdlib_module_names)
    assert SOURCES
    assert {str(path): others for path in SOURCES if (others := imported(path) - known)} == {}


def test_it_installs_by_pip_and_runs_by_itself(tmp_path: Path) -> None:
    target = tmp_path / "installed"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"),
            *("--disable-pip-version-check", "--no-index", "--target", target, CLIENT),
        ],
        check=True,
        capture_output=True,
    )
    assert {entry.name.partition("-")[0] for entry in target.iterdir()} == {
        "bin",
        "gtm",
        "gpu_task_manager_client",
    }
    gtm = new_gtm(tmp_path / "somebody", PYTHONPATH=str(target), GTM_URL="http://127.0.0.1:1")
    done = subprocess.run(
        [target / "bin" / "gtm", "version"],
        env=gtm.variables({}),
        cwd=gtm.directory,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0] == f"gtm\t{VERSION}"
