"""Where the end of a log begins, and what a download sends, with a log that a test wrote itself."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.execution import JobSpec, LogChunk, UtilisationSample
from app.services import runs
from app.services.runs import LINE_SOUGHT_BYTES, RunOfJob

pytestmark = pytest.mark.anyio

LINES = "first\nدوم\nthird\n".encode()
RUN = RunOfJob(
    spec=JobSpec(
        run_id=UUID(int=7),
        job_id=7,
        name="train",
        owner_email="sara@example.com",
        command="python train.py",
        gpu_type="A100",
        num_gpus=1,
        time_limit=timedelta(hours=1),
        launched_at=datetime(2026, 3, 10, tzinfo=UTC),
    ),
    ended_at=None,
)
NOT_STARTED = RunOfJob(spec=None, ended_at=None)


class WrittenLog:
    """An engine whose one run has printed this so far, of which the first bytes may have been cut away."""

    name = "written"
    places_gpus = True

    def __init__(self, content: bytes, *, cut: int = 0) -> None:
        self.content = content
        self.cut = cut

    async def read_log(
        self,
        spec: JobSpec,  # noqa: ARG002
        *,
        ended_at: datetime | None,
        progress: float | None = None,  # noqa: ARG002
        offset: int,
        limit: int,
    ) -> LogChunk:
        offset = max(offset, self.cut)
        return LogChunk(offset, self.content[offset : offset + limit], len(self.content), complete=ended_at is not None)

    async def read_utilisation(
        self,
        spec: JobSpec,  # noqa: ARG002
        *,
        ended_at: datetime | None,  # noqa: ARG002
        limit: int,  # noqa: ARG002
    ) -> Sequence[UtilisationSample]:
        return []


async def tail_of(content: bytes, tail: int, *, cut: int = 0) -> bytes:
    return content[await runs.find_tail(WrittenLog(content, cut=cut), RUN, tail) :]


@pytest.mark.parametrize(
    ("tail", "shown"),
    [
        (1000, LINES),
        (len(LINES), LINES),
        (len(LINES) - 1, "دوم\nthird\n".encode()),
        (len("دوم\nthird\n".encode()), "دوم\nthird\n".encode()),
        (len("دوم\nthird\n".encode()) - 1, b"third\n"),
        (6, b"third\n"),
    ],
)
async def test_the_end_of_a_log_begins_with_a_whole_line(tail: int, shown: bytes) -> None:
    assert await tail_of(LINES, tail) == shown


@pytest.mark.parametrize("tail", range(1, 6))
async def test_a_last_line_longer_than_what_is_wanted_is_shown_in_part(tail: int) -> None:
    assert await tail_of(LINES, tail) == b"third\n"[-tail:]


@pytest.mark.parametrize(
    ("content", "tail", "shown"),
    [
        ("۱۲۳۴", 8, "۱۲۳۴"),
        ("۱۲۳۴", 7, "۲۳۴"),
        ("۱۲۳۴", 6, "۲۳۴"),
        ("۱۲۳۴", 1, ""),
        ("€€", 5, "€"),
        ("€€", 4, "€"),
        ("€€", 3, "€"),
        ("🎯🎯", 7, "🎯"),
        ("🎯🎯", 6, "🎯"),
        ("🎯🎯", 5, "🎯"),
        ("a🎯\n", 4, "\n"),
    ],
)
async def test_it_never_begins_within_a_character(content: str, tail: int, shown: str) -> None:
    assert (await tail_of(content.encode(), tail)).decode() == shown


async def test_what_is_no_text_is_not_searched_for_a_character_for_ever() -> None:
    assert await tail_of(b"\x80" * 100, 10) == b"\x80" * 7


async def test_the_beginning_of_a_line_is_sought_for_a_while_only() -> None:
    content = b"x" * 3 * LINE_SOUGHT_BYTES + b"\nlast\n"
    assert len(await tail_of(content, 2 * LINE_SOUGHT_BYTES)) == 2 * LINE_SOUGHT_BYTES
    assert await tail_of(content, LINE_SOUGHT_BYTES - 1) == b"last\n"


async def test_what_was_cut_away_is_no_part_of_the_end() -> None:
    content = b"gone\nhalf gone\nlast\n"
    assert await tail_of(content, 18, cut=8) == b"last\n"
    assert await tail_of(b"gone" + "۱۲".encode(), 7, cut=5) == "۲".encode()


async def test_a_log_that_has_not_begun_ends_at_its_beginning() -> None:
    assert await runs.find_tail(WrittenLog(b""), NOT_STARTED, 10) == 0
    assert await runs.find_tail(WrittenLog(b""), RUN, 10) == 0


async def test_a_download_is_the_log_as_it_was_when_it_began() -> None:
    log = WrittenLog(b"x" * 200_000, cut=1000)
    pieces = await runs.download_log(log, RUN)
    log.content += b"later"
    sent = b"".join([piece async for piece in pieces])
    assert len(sent) == 199_000
    assert b"later" not in sent


async def test_a_download_ends_where_its_log_is_lost() -> None:
    log = WrittenLog(b"x" * 200_000)
    pieces = await runs.download_log(log, RUN)
    first = await anext(pieces)
    log.content = log.content[: len(first)]
    assert [piece async for piece in pieces] == []


async def test_the_download_of_a_log_that_has_not_begun_is_empty() -> None:
    pieces = await runs.download_log(WrittenLog(b""), NOT_STARTED)
    assert [piece async for piece in pieces] == []
