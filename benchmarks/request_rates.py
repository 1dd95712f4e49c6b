"""What a request costs: a submission beside its bare SQL in pgbench, a read beside a route that does nothing."""

import re
import time
from collections.abc import Iterator, Sequence

from sqlalchemy import URL

from app.db.queries import jobs, sessions
from benchmarks import load
from benchmarks.load import Load, request
from benchmarks.people import FIRST_SESSION, Person, new_signing_key, sign_up
from benchmarks.postgres import PGBENCH_CLIENTS, BenchDatabase, new_database
from benchmarks.report import Finding
from benchmarks.rounds import Effort, in_turns
from benchmarks.service import Service, serving

PEOPLE = 200
FLEET_SECONDS = 30.0
SUBMISSION = {
    "name": "train-resnet",
    "gpu_type": "A100",
    "num_gpus": 2,
    "estimated_hours": 1.5,
    "command": "python train.py",
}
LITERALS = {
    "name": "'train-resnet'",
    "gpu_type": "'A100'",
    "num_gpus": "2",
    "time_limit_seconds": "5400",
    "reserved_seconds": "10800",
    "command": "'python train.py'",
    "data_location": "NULL",
    "is_sensitive": "false",
    "justification": "NULL",
    "key": "NULL",
    "body_sha256": "NULL",
    "now": "now()",
    "user_id": "CAST(:user_id AS bigint)",
    "session_id": "CAST('0000000000000' || :session AS uuid)",
}
"""The same submission in SQL."""


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    key = new_signing_key()
    with new_database(server_url, "requests") as database:
        people = sign_up(database, PEOPLE, key)
        settings = {"DATABASE_URL": str(database), "JWT_SECRET_KEY": key}
        with serving("app.main:app", "/readyz", settings) as service:
            wait_for_fleet(database)
            yield _submitting(service, database, people, effort)
            yield _reading(service, database, people, effort)


def wait_for_fleet(database: BenchDatabase) -> None:
    """The dispatcher enters the GPUs into the table a moment after the service is ready."""
    deadline = time.monotonic() + FLEET_SECONDS
    while not database.fetch("SELECT FROM gpus LIMIT 1"):
        assert time.monotonic() < deadline, "no dispatcher has entered its GPUs"
        time.sleep(0.1)


def _submitting(service: Service, database: BenchDatabase, people: Sequence[Person], effort: Effort) -> Finding:
    submissions = Load([request("POST", "/api/v1/jobs", person.token, SUBMISSION) for person in people])
    script = submission_script(people)
    compared = in_turns(
        effort.rounds,
        ours=lambda: submissions.rate(service.port, effort.seconds),
        theirs=lambda: database.pgbench(script, effort.seconds),
    )
    return Finding(
        "`POST /jobs` beside pgbench with its two statements",
        f"{compared.ratio:.0%}",
        "≥ 20 %, aim 30 %",
        compared.ratio >= 0.20,
        f"{compared}; {load.CONNECTIONS} connections, {PGBENCH_CLIENTS} of pgbench",
    )


def submission_script(people: Sequence[Person]) -> str:
    """For pgbench: the statements of a submission by any of these people."""
    choices = [
        rf"\set user_id random({people[0].user_id}, {people[-1].user_id})",
        rf"\set session {FIRST_SESSION} + :user_id",
    ]
    statements = [
        re.sub(r"(?<!:):(\w+)", lambda parameter: LITERALS[parameter[1]], " ".join(statement.text.split()))
        for statement in (sessions._LIVE, jobs._SUBMIT)
    ]
    return "\n".join([*choices, *(f"{statement};" for statement in statements), ""])


def _reading(service: Service, database: BenchDatabase, people: Sequence[Person], effort: Effort) -> Finding:
    some_jobs = database.fetch("SELECT DISTINCT ON (user_id) id, user_id FROM jobs ORDER BY user_id, id")
    tokens = {person.user_id: person.token for person in people}
    reads = Load([request("GET", f"/api/v1/jobs/{job['id']}", tokens[job["user_id"]]) for job in some_jobs])
    nothing = Load([request("GET", "/")])
    with serving("benchmarks.empty:app", "/") as empty:
        compared = in_turns(
            effort.rounds,
            ours=lambda: reads.rate(service.port, effort.seconds),
            theirs=lambda: nothing.rate(empty.port, effort.seconds),
        )
    return Finding(
        "`GET /jobs/{id}` beside an empty FastAPI route",
        f"{compared.ratio:.0%}",
        "≥ 15 %, aim 30 %",
        compared.ratio >= 0.15,
        f"{compared}; {load.CONNECTIONS} connections",
    )
