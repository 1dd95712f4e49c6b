"""Runs the tests of the scripts' own: each *.test.js beside this file, in Node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = sorted(HERE.glob("*.test.js"))
ADVICE = "Node is not installed: get it (Debian: apt-get install nodejs npm)"


@pytest.fixture
def node() -> str:
    program = shutil.which("node")
    if program is None:
        if "CI" in os.environ:
            pytest.fail(ADVICE)
        pytest.skip(ADVICE)
    return program


@pytest.mark.parametrize("test", TESTS, ids=lambda test: test.name)
def test_the_library_does_what_its_tests_say(node: str, test: Path) -> None:
    run = subprocess.run(
        [node, "--test", "--test-reporter=spec", test],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr
