"""An admin who submits and approves, and sees what comes of it."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from uuid import UUID

from benchmarks.postgres import BenchDatabase
from benchmarks.service import HOST, Service

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Desk:
    """Of one service; all jobs ask for one GPU of this type."""

    service: Service
    token: str
    database: BenchDatabase
    gpu_type: str

    def approve(self, command: str) -> tuple[int, float]:
        """A new job, and the moment at which somebody began to approve it."""
        wish = {"name": "bench", "gpu_type": self.gpu_type, "num_gpus": 1, "estimated_hours": 0.1, "command": command}
        job_id = self._ask("POST", "/api/v1/jobs", wish)["id"]
        approved_at = time.time()
        self._ask("POST", f"/api/v1/admin/jobs/{job_id}/approve", {})
        return job_id, approved_at

    def cancel(self, job_id: int) -> None:
        self._ask("POST", f"/api/v1/jobs/{job_id}/cancel", {})

    def log(self, job_id: int) -> str:
        return self._raw("GET", f"/api/v1/jobs/{job_id}/log").decode()

    def run_of(self, job_id: int) -> UUID | None:
        """None: nobody has decided to start it yet."""
        [row] = self.database.fetch("SELECT run_id FROM jobs WHERE id = $1", job_id)
        return UUID(str(row["run_id"])) if row["run_id"] else None

    def ticks(self) -> tuple[float, float]:
        """Of the dispatcher so far: how many, and how long they took together."""
        metrics = self._raw("GET", "/metrics").decode()
        [count] = re.findall(r"gtm_dispatcher_tick_seconds_count (\S+)", metrics)
        [seconds] = re.findall(r"gtm_dispatcher_tick_seconds_sum (\S+)", metrics)
        return float(count), float(seconds)

    def _ask(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._raw(method, path, json.dumps(body)))
        return answer

    def _raw(self, method: str, path: str, body: str | None = None) -> bytes:
        connection = HTTPConnection(HOST, self.service.port, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, (method, path, answer.status, content)
        return content


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
