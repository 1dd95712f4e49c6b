"""Lists and counts must not notice how many jobs there are: a small table beside a large one, in turns."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from statistics import median

from sqlalchemy import URL

from benchmarks.people import new_signing_key, sign_up
from benchmarks.postgres import new_database
from benchmarks.report import Finding
from benchmarks.rounds import Effort
from benchmarks.service import HOST, serving

PEOPLE = 10
SMALL_TABLE_ROWS = 1000
RARE_ROWS = 60
"""More than a page of them, and all at the end that a list by status reaches last."""
PAGE = 50
REQUESTS_PER_ROUND = 20
FEWEST_ROUNDS = 9
LIMIT = 1.5

# Jobs of every age, most of them COMPLETED; the oldest ones run still. Past the triggers, since jobs are born PENDING.
_FILL = """
SET session_replication_role = replica;
INSERT INTO jobs (user_id, quota_id, name, gpu_type, num_gpus, time_limit_seconds, command, is_sensitive,
                  reserved_seconds, charged_seconds, status, reason, event_seq, created_at, updated_at, decided_at,
                  decided_by, run_id, executor, launched_at, started_at, finished_at)
SELECT q.user_id, q.id, 'train-resnet', 'A100', 1, 3600, 'python train.py', false,
       3600, CASE WHEN n > {rare} THEN 1800 ELSE 0 END, CASE WHEN n > {rare} THEN 'COMPLETED' ELSE 'RUNNING' END,
       CASE WHEN n > {rare} THEN 'EXITED' END, CASE WHEN n > {rare} THEN 4 ELSE 3 END,
       born, born, born, q.user_id, gen_random_uuid(), 'simulated', born, born, CASE WHEN n > {rare} THEN born END
FROM generate_series(1, {rows}) n
CROSS JOIN LATERAL (SELECT now() - interval '1 day' + n * interval '1 ms') AS birth (born)
JOIN (SELECT *, row_number() OVER (ORDER BY user_id) - 1 AS place FROM user_quotas) q ON q.place = n % {people};
INSERT INTO job_counts (user_id, status, jobs) SELECT user_id, status, count(*) FROM jobs GROUP BY user_id, status;
SET session_replication_role = origin;
"""


PAGES = {
    "first page of `GET /jobs`": "/api/v1/jobs",
    "admin list by a common status": "/api/v1/admin/jobs?status=COMPLETED",
    "admin list by a rare status": "/api/v1/admin/jobs?status=RUNNING",
    "counts per status, of a user": "/api/v1/jobs/counts",
    "counts per status, of everybody": "/api/v1/admin/jobs/counts",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A service with so many jobs, and a connection to it with an admin's token."""

    connection: HTTPConnection
    token: str

    def milliseconds(self, path: str) -> float:
        """The usual time of one of these requests."""
        return median(self._milliseconds(path) for _ in range(REQUESTS_PER_ROUND))

    def _milliseconds(self, path: str) -> float:
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        response = self.connection.getresponse()
        body = response.read()
        milliseconds = (time.perf_counter() - began) * 1000
        assert response.status == HTTPStatus.OK, body
        assert path.endswith("/counts") or len(json.loads(body)) == PAGE, body
        return milliseconds


def measure(server_url: URL, effort: Effort) -> Iterator[Finding]:
    with (
        _table(server_url, "small", SMALL_TABLE_ROWS) as small,
        _table(server_url, "large", effort.large_table_rows) as large,
    ):
        for what, path in PAGES.items():
            yield _compare(what, path, small, large, effort)


def _compare(what: str, path: str, small: Table, large: Table, effort: Effort) -> Finding:
    small.milliseconds(path), large.milliseconds(path)
    pairs = [(small.milliseconds(path), large.milliseconds(path)) for _ in range(max(effort.rounds, FEWEST_ROUNDS))]
    factor = median(at_large / at_small for at_small, at_large in pairs)
    at_small, at_large = (median(column) for column in zip(*pairs, strict=True))
    return Finding(
        f"{what}, {effort.large_table_rows:,} jobs beside {SMALL_TABLE_ROWS:,}",
        f"{factor:.2f} times",
        f"≤ {LIMIT} times",
        factor <= LIMIT,
        f"{at_small:.1f} and {at_large:.1f} ms",
    )


@contextmanager
def _table(server_url: URL, name: str, rows: int) -> Iterator[Table]:
    key = new_signing_key()
    with new_database(server_url, name) as database:
        people = sign_up(database, PEOPLE, key, admin=True)
        database.execute(_FILL.format(rows=rows, rare=RARE_ROWS, people=PEOPLE))
        database.execute("VACUUM ANALYZE")
        settings = {"DATABASE_URL": str(database), "JWT_SECRET_KEY": key, "DISPATCHER": "external"}
        with serving("app.main:app", "/livez", settings) as service:
            connection = HTTPConnection(HOST, service.port, timeout=60)
            yield Table(connection, people[0].token)
            connection.close()
