"""What must be kept in step by hand, and is not forgotten because of this."""

import subprocess
import sys
import tomllib
from pathlib import Path

from app.core.version import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION


def test_vendored_files_are_the_ones_that_were_locked() -> None:
    check = subprocess.run(
        [sys.executable, "scripts/vendor", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert check.returncode == 0, check.stdout


def test_every_vendored_package_carries_its_licence() -> None:
    packages = list((ROOT / "frontend" / "vendor").iterdir())
    assert packages
    for package in packages:
        assert (package / "LICENSE").is_file(), package.name
