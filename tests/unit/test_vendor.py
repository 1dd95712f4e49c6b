"""The libraries of the front end are the files that were locked, whole, licensed and on their own."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "frontend" / "vendor"
LOCK = json.loads((ROOT / "frontend" / "vendor.lock.json").read_text(encoding="utf-8"))
TOOLS = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]
PACKAGES = sorted(VENDOR.iterdir())
IMPORT = re.compile(r"""\b(?:from|import)\s*\(?\s*"([^"]+)\"""")
SYMBOL = "{http://www.w3.org/2000/svg}symbol"


def check_vendor(root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/vendor", "--check"], cwd=root, capture_output=True, text=True, check=False
    )


def test_vendored_files_are_the_ones_that_were_locked() -> None:
    check = check_vendor()
    assert check.returncode == 0, check.stdout


@pytest.fixture
def copy_of_two_files(tmp_path: Path) -> Path:
    """A project with one vendored licence and the sprite, and a lock that names them."""
    package = LOCK["bootstrap-icons"]
    licence = f"vendor/bootstrap-icons@{package['version']}/LICENSE"
    for source in ("scripts/vendor", "frontend/icons.svg", f"frontend/{licence}"):
        (tmp_path / source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / source).write_bytes((ROOT / source).read_bytes())
    (tmp_path / "frontend/vendor.lock.json").write_text(json.dumps({"bootstrap-icons": package}), encoding="utf-8")
    assert check_vendor(tmp_path).returncode == 0
    return tmp_path / "frontend"


def test_a_changed_a_missing_and_an_unknown_file_are_noticed(copy_of_two_files: Path) -> None:
    (licence,) = copy_of_two_files.glob("vendor/*/LICENSE")
    licence.unlink()
    licence.with_name("bootstrap-icons.js").write_text("", encoding="utf-8")
    with (copy_of_two_files / "icons.svg").open("a", encoding="utf-8") as sprite:
        sprite.write("<!-- mended by hand -->")
    check = check_vendor(copy_of_two_files.parent)
    assert check.returncode == 1
    folder = f"vendor/{licence.parent.name}"
    assert check.stdout.splitlines() == [
        f"not in the lock: {folder}/bootstrap-icons.js",
        f"missing: {folder}/LICENSE",
        "changed: icons.svg",
    ]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_vendored_package_carries_its_licence(package: Path) -> None:
    assert any((package / name).is_file() for name in ("LICENSE", "LICENSE.md", "OFL.txt"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_vendored_package_needs_no_file_that_is_not_here(package: Path) -> None:
    missing = [f"{file}: {target}" for file, target in asked_for(package) if not (file.parent / target).is_file()]
    assert not missing


def asked_for(package: Path) -> Iterator[tuple[Path, str]]:
    """What a browser would fetch for the files of a package: imports, and the source maps that they name."""
    for file in package.rglob("*"):
        if file.suffix in {".js", ".css"}:
            text = file.read_text(encoding="utf-8")
            for found in re.finditer(r"^(?://|/\*)# sourceMappingURL=([^\s*]+)", text, re.MULTILINE):
                yield file, found[1]
            if file.name != "swagger-ui-bundle.js":  # a bundle by its name, and full of sentences with `from "…"`
                yield from ((file, found) for found in IMPORT.findall(text))


def test_the_sprite_has_exactly_the_icons_of_the_lock() -> None:
    symbols = list(ElementTree.parse(ROOT / "frontend" / "icons.svg").iter(SYMBOL))  # noqa: S314 - our own file
    assert [symbol.get("id") for symbol in symbols] == sorted(LOCK["bootstrap-icons"]["icons"])
    assert all(symbol.get("viewBox") and len(symbol) for symbol in symbols)


def test_the_tools_are_pinned_by_hash_and_not_to_a_registry() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    root, *packages = lock["packages"].values()
    assert root["devDependencies"] == TOOLS
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in TOOLS.values())
    for package in packages:
        assert package["integrity"].startswith("sha512-"), package
        assert "resolved" not in package, package


def test_the_types_of_the_charts_are_those_of_the_vendored_release() -> None:
    assert TOOLS["chart.js"] == LOCK["chart.js"]["version"]
