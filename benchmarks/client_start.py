"""What people wait for `gtm`: the time of a whole call, and what it adds to the request that it makes.

Every call is a process, as at a prompt. The same request is sent in turns with it over a connection that is open
already, so that the difference is all of the client's: Python's start, imports, the connection, and printing. Of many
calls the median says what a person meets. What else the machine does can only add to it, but not to the time on a core,
which stands behind it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sqlalchemy import URL

from benchmarks.people import Person, new_signing_key, sign_up
from benchmarks.postgres import new_database
from benchmarks.report import Finding
from benchmarks.request_rates import wait_for_fleet
from benchmarks.rounds import Effort
from benchmarks.service import HOST, PROJECT, Service, serving

JOBS = 40
CALLS_A_ROUND = 5
LIMIT_MS = 300
PS = "/api/v1/jobs?status=PENDING&status=APPROVED&status=RUNNING&limit=50"
"""What `gtm ps` asks for."""

SUBMISSION = {"name": "train-resnet", "gpu_type": "A100", "num_gpus": 1, "command": "python train.py"}


@dataclass(frozen=True, slots=True)
class Call:
    """How long one took, and how long it was at work."""

    wall_ms: float
    core_ms: float


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    key = new_signing_key()
    with new_database(server_url, "client") as database, TemporaryDirectory() as home:
        [person] = sign_up(database, 1, key)
        settings = {"DATABASE_URL": str(database), "JWT_SECRET_KEY": key}
        with serving("app.main:app", "/readyz", settings) as service:
            wait_for_fleet(database)
            _submit(service, person)
            environment = _environment(service, person, Path(home))
            calls = effort.rounds * CALLS_A_ROUND
            yield _help(environment, calls)
            yield _listing(service, person, environment, calls)


def _submit(service: Service, person: Person) -> None:
    connection = HTTPConnection(HOST, service.port)
    headers = {"Authorization": f"Bearer {person.token}", "Content-Type": "application/json"}
    for _ in range(JOBS):
        connection.request("POST", "/api/v1/jobs", json.dumps(SUBMISSION), headers)
        answer = connection.getresponse()
        assert answer.status == HTTPStatus.CREATED, answer.read()
        answer.read()
    connection.close()


def _environment(service: Service, person: Person, home: Path) -> Mapping[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(PROJECT / "client" / "src"),
        "GTM_URL": f"http://{HOST}:{service.port}",
        "GTM_TOKEN": person.token,
    }


def _help(environment: Mapping[str, str], calls: int) -> Finding:
    _call(environment, "--help")
    made = [_call(environment, "--help") for _ in range(calls)]
    return _finding("`gtm --help`", [call.wall_ms for call in made], made, "")


def _listing(service: Service, person: Person, environment: Mapping[str, str], calls: int) -> Finding:
    connection = HTTPConnection(HOST, service.port)
    _request_ms(connection, person), _call(environment, "ps")
    pairs = [(_call(environment, "ps"), _request_ms(connection, person)) for _ in range(calls)]
    connection.close()
    return _finding(
        f"`gtm ps` of {JOBS} jobs over the same request by itself",
        [call.wall_ms - request_ms for call, request_ms in pairs],
        [call for call, _ in pairs],
        f"; the request takes {median(request_ms for _, request_ms in pairs):.0f} ms",
    )


def _finding(what: str, waits_ms: Sequence[float], made: Sequence[Call], more: str) -> Finding:
    return Finding(
        what,
        f"{median(waits_ms):.0f} ms",
        f"< {LIMIT_MS} ms",
        median(waits_ms) < LIMIT_MS,
        f"{min(waits_ms):.0f} to {max(waits_ms):.0f} ms in {len(made)} calls, "
        f"{median(call.core_ms for call in made):.0f} ms on a core{more}",
    )


def _call(environment: Mapping[str, str], *arguments: str) -> Call:
    command = [sys.executable, "-m", "gtm", *arguments]
    before = _core_seconds_of_children()
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall_ms = (time.perf_counter() - began) * 1000
    return Call(wall_ms, (_core_seconds_of_children() - before) * 1000)


def _core_seconds_of_children() -> float:
    """Of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _request_ms(connection: HTTPConnection, person: Person) -> float:
    began = time.perf_counter()
    connection.request("GET", PS, headers={"Authorization": f"Bearer {person.token}"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == HTTPStatus.OK
    return (time.perf_counter() - began) * 1000
