"""A service whose engine does nothing, so that a test can write into the database what an engine would have told.

See `still_app.py`, to be run with an external dispatcher that nobody starts. `EXECUTOR` names the engine that it passes
for. A log is a file `JOB_ID.log` in `DATA_DIR`, or a folder of that name with what the local engine
keeps; without it, it is out of reach. Samples are in `JOB_ID.json`.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from app.core.clock import Clock
from app.core.config import Settings
from app.domain.execution import GpuSlot, JobSpec, LogChunk, LogUnavailable, UtilisationSample
from app.executors.local import log


class StillEngine:
    def __init__(self, settings: Settings) -> None:
        self.name = settings.executor
        self.places_gpus = settings.executor != "slurm"
        self._directory = settings.data_dir

    async def read_log(
        self,
        spec: JobSpec,
        *,
        ended_at: datetime | None,
        progress: float | None = None,  # noqa: ARG002 - the contract's name
        offset: int,
        limit: int,
    ) -> LogChunk:
        path = self._file(spec, "log")
        if path.is_dir():
            return log.read(path, offset=offset, limit=limit, complete=ended_at is not None)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise LogUnavailable(str(path)) from None
        return LogChunk(offset, content[offset : offset + limit], len(content), complete=ended_at is not None)

    async def read_utilisation(
        self,
        spec: JobSpec,
        *,
        ended_at: datetime | None,  # noqa: ARG002 - the contract's name
        limit: int,
    ) -> Sequence[UtilisationSample]:
        path = self._file(spec, "json")
        samples = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return [
            UtilisationSample(datetime.fromisoformat(at), GpuSlot(node, index, ""), share, memory)
            for at, node, index, share, memory in samples[:limit]
        ]

    def _file(self, spec: JobSpec, suffix: str) -> Path:
        return self._directory / f"{spec.job_id}.{suffix}"


def create_still_engine(settings: Settings, clock: Clock) -> StillEngine:  # noqa: ARG001 - as `create_executor`
    return StillEngine(settings)
