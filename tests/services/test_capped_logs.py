"""Reading a log of which the middle was left out, as the local engine keeps one that grew beyond its limit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from app.api.state import AppState
from app.domain.execution import JobSpec, LogChunk, UtilisationSample
from app.executors.local import log
from app.services import runs
from app.services.events import EventFeed
from app.services.runs import RunOfJob
from tests.conftest import FakeClock
from tests.executors.engines import make_spec
from tests.factories import Person, approve_job, make_fleet, make_job, start_job

pytestmark = pytest.mark.anyio

HEAD, TAIL, TAIL_BEGINS = b"first\n" * 20_000, b"last\n" * 20_000, 10_000_000


@dataclass
class LogsOnDisk:
    """Reads every log from one directory."""

    directory: Path
    name: str = "local"
    places_gpus: bool = True

    async def read_log(
        self,
        spec: JobSpec,  # noqa: ARG002
        *,
        ended_at: datetime | None,
        progress: float | None = None,  # noqa: ARG002
        offset: int,
        limit: int,
    ) -> LogChunk:
        return log.read(self.directory, offset=offset, limit=limit, complete=ended_at is not None)

    async def read_utilisation(
        self,
        spec: JobSpec,  # noqa: ARG002
        *,
        ended_at: datetime | None,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> Sequence[UtilisationSample]:
        return []


@pytest.fixture
def capped(tmp_path: Path) -> LogsOnDisk:
    (tmp_path / "log.0").write_bytes(HEAD)
    (tmp_path / f"log.{TAIL_BEGINS}").write_bytes(TAIL)
    return LogsOnDisk(tmp_path)


async def test_a_download_holds_the_beginning_and_the_end_and_says_what_is_missing(
    capped: LogsOnDisk, clock: FakeClock
) -> None:
    pieces = await runs.download_log(capped, RunOfJob(make_spec(), ended_at=clock()))
    kept = b"".join([piece async for piece in pieces])
    left_out = TAIL_BEGINS - len(HEAD)
    assert kept == HEAD + f"\n[{left_out} bytes of output are left out here]\n".encode() + TAIL


async def test_the_last_bytes_of_a_capped_log_are_found(capped: LogsOnDisk, clock: FakeClock) -> None:
    run = RunOfJob(make_spec(), ended_at=clock())
    assert await runs.find_tail(capped, run, 1000) == TAIL_BEGINS + len(TAIL) - 1000


async def test_who_follows_a_log_is_sent_away_where_bytes_were_left_out(
    capped: LogsOnDisk, state: AppState, user: Person, admin: Person, clock: FakeClock
) -> None:
    await make_fleet(state)
    job = await make_job(state, user)
    await approve_job(state, job.id, admin)
    await start_job(state, job.id, admin)
    state = replace(state, engine=capped)
    feed = EventFeed(state.database, clock)
    followed = b""
    async for piece in runs.follow_log(state.database, feed, capped, user.caller, job.id, offset=0):
        followed += piece
    assert followed == HEAD
