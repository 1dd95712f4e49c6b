"""`scripts/serve` prepares its environment once, whatever interrupts it.

It runs in a small project of its own, where a package named `uvicorn` prints what it is called with.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import free_port
from tests.waiting import HANG_SECONDS, wait_until

SCRIPTS = Path(__file__).parents[2] / "scripts"
INSTALLING = "Installing requirements.txt into .venv; the first time this takes a minute or two.\n"


def make_project(directory: Path) -> Path:
    shutil.copytree(SCRIPTS, directory / "scripts")
    (directory / "requirements.txt").write_text(pin(directory, "uvicorn", "1.0"), encoding="utf-8")
    return directory


def pin(project: Path, name: str, version: str) -> str:
    """Make a wheel, and the line of a requirements file that asks for it."""
    wheels = project / "wheels"
    wheels.mkdir(exist_ok=True)
    wheel = wheels / f"{name}-{version}-py3-none-any.whl"
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{name}/__main__.py", f"import sys; print('{name} {version}', *sys.argv[1:])")
        archive.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{information}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def start(project: Path, script: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [project / "scripts" / script, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        start_new_session=True,
        env={
            "PATH": os.environ["PATH"],
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": (project / "wheels").as_uri(),
            "PORT": str(free_port()),
            **environment,
        },
    )


def run(project: Path, script: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
    with start(project, script, *arguments, **environment) as process:
        output, errors = process.communicate(timeout=HANG_SECONDS)
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first two starts happened at once."""
    project = make_project(tmp_path_factory.mktemp("a project") / "پروژهٔ من")
    with start(project, "serve") as one, start(project, "serve") as other:
        ends = [process.communicate(timeout=HANG_SECONDS) for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], ends
    assert sorted(errors for _, errors in ends) == ["", INSTALLING]
    return project


def test_a_second_start_installs_nothing_and_passes_arguments_on(served: Path) -> None:
    assert run(served, "serve", "--reload", PORT="8765") == (
        0,
        "uvicorn 1.0 app.main:app --no-proxy-headers --port 8765 --reload\n",
        "",
    )


def test_changed_requirements_are_installed(served: Path) -> None:
    (served / "requirements.txt").write_text(pin(served, "uvicorn", "1.1"), encoding="utf-8")
    code, output, errors = run(served, "serve")
    assert (code, output[:11], errors) == (0, "uvicorn 1.1", INSTALLING)


def test_a_failed_install_is_one_line_and_the_next_run_goes_on(served: Path) -> None:
    (served / "requirements.txt").write_text(pin(served, "uvicorn", "1.2"), encoding="utf-8")
    code, output, errors = run(served, "serve", PIP_FIND_LINKS="file:///nowhere")
    assert (code, output) == (1, "")
    assert errors.startswith(INSTALLING + "serve: cannot install requirements.txt (ERROR: No matching distribution")
    assert len(errors.splitlines()) == 2
    assert run(served, "serve")[:2][1].startswith("uvicorn 1.2")


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with start(project, "serve") as doomed:
        wait_until((project / ".venv/unfinished").exists)
        os.killpg(doomed.pid, signal.SIGKILL)
    (project / ".venv/half-written").touch()
    code, output, _ = run(project, "serve")
    assert (code, output[:11]) == (0, "uvicorn 1.0")
    assert not (project / ".venv/half-written").exists()


@contextlib.contextmanager
def listener_on(host: str) -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((host, 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("choose", [lambda port: {"PORT": port}, lambda port: {"arguments": f"--port={port}"}])
def test_a_port_in_use_is_one_line(choose: Callable[[str], dict[str, str]]) -> None:
    with listener_on("127.0.0.1") as port:
        code, errors = check_address(**choose(str(port)))
    assert code == 1
    assert errors == (
        f"serve: port {port} on 127.0.0.1 is in use: "
        "stop the program that uses it, or choose another one, for instance PORT=8001\n"
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("--port=http", "serve: 'http' is no port"),
        ("--port=70000", "serve: '70000' is no port"),
        ("--host=192.0.2.1", "is no address of this machine"),
        ("--host=no.such.host.invalid", "cannot be resolved"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(arguments: str, complaint: str) -> None:
    code, errors = check_address(arguments=arguments)
    assert code == 1
    assert complaint in errors
    assert len(errors.splitlines()) == 1


def test_a_socket_file_needs_no_port() -> None:
    assert check_address(arguments="--uds=/tmp/some.sock", PORT="nonsense") == (0, "")


def check_address(arguments: str = "", **environment: str) -> tuple[int, str]:
    check = subprocess.run(
        [sys.executable, SCRIPTS / "lib/check_address.py", *arguments.split()],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return check.returncode, check.stderr


@pytest.mark.parametrize(
    ("python", "complaint"),
    [
        (None, "serve: python3 is not installed: install Python 3.11 or newer"),
        ("case $* in *version_info*) exit 1 ;; esac; echo Python 3.9.2", "serve: python3 is Python 3.9.2, too old: "),
        ("case $* in *ensurepip*) exit 1 ;; esac", "serve: python3 has no venv module: install it (Debian: apt-get"),
    ],
    ids=["missing", "too old", "without venv"],
)
def test_an_unfit_python_is_one_line(python: str | None, complaint: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "dirname", "readlink", "basename", "cmp"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    if python is not None:
        (programs / "python3").write_text(f"#!/bin/sh\n{python}\n", encoding="utf-8")
        (programs / "python3").chmod(0o755)
    code, output, errors = run(project, "serve", PATH=str(programs))
    assert (code, output) == (1, "")
    assert errors.startswith(complaint)
    assert len(errors.splitlines()) == 1
