"""Starting a wrapper: from its compiled form where that can be kept, and always from the version that is there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.executors.local import launch, wrapper
from app.executors.local.run_directory import RunDirectory
from tests.executors.local.wrapper_runs import MakeRun, WrapperRun, made_runs


@pytest.fixture
def make_run() -> Iterator[MakeRun]:
    with made_runs() as make:
        yield make


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the wrapper that this process has not compiled yet."""
    copy = tmp_path / "wrapper.py"
    shutil.copy(wrapper.__file__, copy)
    monkeypatch.setattr(wrapper, "__file__", str(copy))
    launch._compiled.cache_clear()
    yield copy
    launch._compiled.cache_clear()


def test_a_wrapper_does_not_carry_its_source(make_run: MakeRun, program: Path) -> None:
    compiled = launched_from(make_run("sleep 60", launch=False))

    assert (compiled.parent, compiled.suffix) == (program.parent / "__pycache__", ".pyc")
    compiled.unlink()  # as by an upgrade
    assert launched_from(make_run("sleep 60", launch=False)) == program


def test_what_was_compiled_of_an_earlier_version_is_not_run(make_run: MakeRun, program: Path) -> None:
    compiled = launched_from(make_run("sleep 60", launch=False))
    assert compiled.is_relative_to(program.parent)
    compiled.write_bytes(b"an earlier version")
    launch._compiled.cache_clear()

    assert launched_from(make_run("sleep 60", launch=False)) == compiled


def test_where_nothing_compiled_can_be_kept_the_source_does_as_well(make_run: MakeRun, program: Path) -> None:
    (program.parent / "__pycache__").touch()

    assert launched_from(make_run("sleep 60", launch=False)) == program


def launched_from(run: WrapperRun) -> Path:
    launch.launch_wrapper(RunDirectory(run.path))
    argv = Path(f"/proc/{run.wrapper}/cmdline").read_bytes().split(b"\0")
    return Path(argv[argv.index(b"-E") + 1].decode())
