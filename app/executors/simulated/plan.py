"""The whole course of a simulated run, known from its specification alone.

Chance is drawn from the run's id, so that a plan is the same in every process and after every restart.
"""

from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b
from signal import SIGKILL, SIGSEGV, SIGTERM, strsignal
from uuid import UUID

from app.domain.execution import EndReason, JobSpec
from app.executors.simulated.directives import NOTHING_ASKED, SUCCESS, Directives, Ending, Fate, read_directives

SHORTEST_RUN = timedelta(milliseconds=1)
LONGEST_START = timedelta(minutes=2)
USUAL_TIME_PER_LINE = timedelta(seconds=30)
FEWEST_LINES = 20
LINES_PER_EPOCH = 10

CRASHES = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB",
    "FileNotFoundError: [Errno 2] No such file or directory: 'data/train/shard-0042.tar'",
    "ValueError: Expected more than 1 value per channel when training, got input size torch.Size([1, 512])",
    "RuntimeError: Loss is not finite: lower the learning rate or clip the gradients",
)
"""The last lines of the tracebacks that failing runs print."""


@dataclass(frozen=True, slots=True)
class End:
    """How a run comes to its end, as an observation will tell it."""

    reason: EndReason
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """What will happen to a run if nobody stops it. All times are simulated and count from the launch."""

    work: timedelta
    """How long the command computes when it comes to its end. A run that fails or is stopped gets less far."""
    starts_after: timedelta
    ends_after: timedelta
    """Never more than the time limit."""
    hangs_after: timedelta | None
    """From here on the command does nothing, though it still runs."""
    end: End
    lines: int
    """Training lines written by the whole work; 0 for a command that does not train."""
    ignores_term: bool
    remarks: tuple[str, ...]

    def worked(self, elapsed: timedelta) -> timedelta:
        """How much of the work is done after so much time."""
        active = elapsed if self.hangs_after is None else min(elapsed, self.hangs_after)
        return min(self.work, max(timedelta(0), active - self.starts_after))

    def progress(self, elapsed: timedelta) -> float:
        return self.worked(elapsed) / self.work

    def lines_printed(self, progress: float) -> int:
        """How many training lines are written when so much of the work is done."""
        return int(progress * self.lines)


def plan_run(spec: JobSpec, failure_rate: float) -> RunPlan:
    """Decide a run: by what its command asks for, else by lot.

    `failure_rate` is the share of lots that do not end well: of those, most crash and one in five needs too much time.
    """
    asked = read_directives(spec.command)
    fate, share = _lot(spec.run_id, failure_rate) if asked is None else _wish(spec.run_id, asked)
    asked = asked or NOTHING_ASKED
    duration = max(SHORTEST_RUN, asked.duration.within(spec.time_limit) if asked.duration else spec.time_limit * share)
    work = duration if fate.is_success else duration / (0.1 + 0.8 * draw(spec.run_id, "how far"))
    starts_after = min(LONGEST_START, spec.time_limit / 5) if asked.slow_start else timedelta(0)
    ends_after = starts_after + duration
    hangs_after = ends_after if fate.ending is Ending.HANG else None
    launches = fate.ending is not Ending.LAUNCH_FAILURE
    reaches_limit = launches and (hangs_after is not None or ends_after > spec.time_limit)
    return RunPlan(
        work=work,
        starts_after=starts_after,
        ends_after=spec.time_limit if reaches_limit else ends_after,
        hangs_after=hangs_after,
        end=_end_at_limit(asked) if reaches_limit else _own_end(spec.run_id, fate, trains=asked.trains),
        lines=(asked.lines or _usual_lines(work)) if asked.trains else 0,
        ignores_term=asked.ignores_term,
        remarks=asked.remarks,
    )


def _lot(run_id: UUID, failure_rate: float) -> tuple[Fate, float]:
    """How a run ends of which nothing was asked, and after which share of its time limit."""
    share = draw(run_id, "duration")
    if draw(run_id, "failure") >= failure_rate:
        return SUCCESS, 0.3 + 0.68 * share
    mishap = draw(run_id, "mishap")
    if mishap < 0.2:
        return SUCCESS, 1.05 + 0.25 * share
    if mishap < 0.35:
        return Fate(Ending.OUT_OF_MEMORY), 0.02 + 0.6 * share
    if mishap < 0.45:
        return Fate(Ending.SIGNAL, SIGSEGV), 0.02 + 0.6 * share
    return Fate(Ending.EXIT, 1), 0.02 + 0.6 * share


def _wish(run_id: UUID, asked: Directives) -> tuple[Fate, float]:
    """The end that was asked for, else a good one; the share of the time limit counts if no duration was asked for."""
    return asked.fate or SUCCESS, 0.3 + 0.4 * draw(run_id, "duration")


def draw(run_id: UUID, question: str) -> float:
    """A number from 0 to 1 (exclusive) that is always the same for one question about one run."""
    digest = blake2b(question.encode(), key=run_id.bytes, digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _usual_lines(work: timedelta) -> int:
    """Whole epochs of about five minutes, and more than one of them."""
    return max(FEWEST_LINES, work // (USUAL_TIME_PER_LINE * LINES_PER_EPOCH) * LINES_PER_EPOCH)


def _end_at_limit(asked: Directives) -> End:
    return End(EndReason.TIME_LIMIT, signal=SIGKILL if asked.ignores_term else SIGTERM)


def _own_end(run_id: UUID, fate: Fate, *, trains: bool) -> End:
    """The end of a run that is over before its time limit."""
    match fate.ending:
        case Ending.EXIT:
            return _exit(run_id, fate, trains=trains)
        case Ending.SIGNAL:
            return End(EndReason.SIGNALLED, signal=fate.number, message=strsignal(fate.number))
        case Ending.OUT_OF_MEMORY:
            return End(EndReason.OUT_OF_MEMORY, signal=SIGKILL, message="The job used more memory than its node has.")
        case Ending.NODE_LOSS:
            return End(EndReason.NODE_FAILURE, message="The node stopped answering.")
        case Ending.LAUNCH_FAILURE:
            return End(EndReason.LAUNCH_FAILURE, message="The command asks for a failed launch.")
        case _:
            return End(EndReason.LOST)


def _exit(run_id: UUID, fate: Fate, *, trains: bool) -> End:
    if fate.is_success:
        return End(EndReason.EXITED, exit_code=0)
    crash = CRASHES[int(draw(run_id, "crash") * len(CRASHES))] if trains else None
    return End(EndReason.NONZERO_EXIT, exit_code=fate.number, message=crash)
