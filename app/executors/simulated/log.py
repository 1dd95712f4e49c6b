"""The log that a simulated run writes: a header, training lines, and how it ended.

All training lines of one run are equally long, so that any part of a log is made without what stands before it.
"""

from collections.abc import Iterator
from datetime import timedelta
from math import cos, exp, pi
from signal import SIGKILL, SIGTERM, strsignal

from app.domain.execution import EndReason, JobSpec
from app.executors.simulated.plan import LINES_PER_EPOCH, RunPlan, draw

NOTICE = "This is a simulated run: no command was executed and no real GPU was used."
STEPS_PER_LINE = 100

_JOINERS = "\u200c\u200d"
"""Not printable by themselves, but part of Persian and other words."""


class SimulatedLog:
    """The log of one run, as far as it is written."""

    def __init__(self, spec: JobSpec, plan: RunPlan) -> None:
        self._spec = spec
        self._plan = plan
        self._header = _header(spec, plan)
        self._epochs = -(-plan.lines // LINES_PER_EPOCH)
        self._epoch_digits = len(str(self._epochs))
        self._hour_digits = len(str(max(plan.starts_after + plan.work, plan.ends_after) // timedelta(hours=1)))
        self._final_loss = 0.2 + 0.4 * draw(spec.run_id, "final loss")
        self._samples_per_second = spec.num_gpus * (700 + 600 * draw(spec.run_id, "speed"))
        self._line_length = len(self._line(0)) if plan.lines else 0

    def read(self, lines: int, ended_after: timedelta | None = None, *, offset: int, limit: int) -> tuple[bytes, int]:
        """The bytes from `offset`, at most `limit` of them, and the length of the whole log so far.

        `lines` training lines are printed; `ended_after` is set when nothing more will be.
        """
        footer = b"" if ended_after is None else self._footer(ended_after)
        lines_end = len(self._header) + lines * self._line_length
        size = lines_end + len(footer)
        end = min(size, offset + limit)
        if offset >= end:
            return b"", size
        return b"".join(
            (
                self._header[offset:end],
                self._lines(max(0, offset - len(self._header)), min(end, lines_end) - len(self._header)),
                footer[max(0, offset - lines_end) : max(0, end - lines_end)],
            )
        ), size

    def _lines(self, start: int, end: int) -> bytes:
        """Bytes `[start, end)` of all training lines."""
        if start >= end:
            return b""
        first = start // self._line_length
        text = b"".join(self._line(index) for index in range(first, -(-end // self._line_length)))
        return text[start - first * self._line_length : end - first * self._line_length]

    def _line(self, index: int) -> bytes:
        plan = self._plan
        done = (index + 1) / plan.lines
        printed_at = plan.starts_after + plan.work * (index + 1) / plan.lines
        epoch, line_of_epoch = divmod(index, LINES_PER_EPOCH)
        noise = draw(self._spec.run_id, f"line {index}")
        loss = self._final_loss + 5 * exp(-5 * done) + 0.1 * noise
        if line_of_epoch < LINES_PER_EPOCH - 1:
            what = f"step {(line_of_epoch + 1) * STEPS_PER_LINE:>4}/{LINES_PER_EPOCH * STEPS_PER_LINE}"
            speed = self._samples_per_second * (1.03 - 0.06 * noise)
            detail = f"lr {3e-4 * (1 + cos(pi * done)) / 2:.1e}  {speed:>9,.0f} samples/s"
        else:
            loss += 0.05
            what = "validation    "
            detail = f"saved checkpoint-{epoch + 1:0{self._epoch_digits}}".rjust(31)
        where = f"{self._stamp(printed_at)} epoch {epoch + 1:>{self._epoch_digits}}/{self._epochs}"
        return f"{where}  {what}  loss {loss:.4f}  {detail}\n".encode()

    def _footer(self, elapsed: timedelta) -> bytes:
        """The last lines of a run that ended after so much time, be it by itself or because it was stopped."""
        lines = _last_words(self._plan) if elapsed >= self._plan.ends_after else ["Stopped before its end."]
        return "".join(f"{self._stamp(elapsed)} {line}\n" for line in lines).encode()

    def _stamp(self, elapsed: timedelta) -> str:
        minutes, seconds = divmod(elapsed // timedelta(seconds=1), 60)
        hours, minutes = divmod(minutes, 60)
        return f"[{hours:>{self._hour_digits}}:{minutes:02}:{seconds:02}]"


def _header(spec: JobSpec, plan: RunPlan) -> bytes:
    return "".join(f"{line}\n" for line in _header_lines(spec, plan)).encode()


def _header_lines(spec: JobSpec, plan: RunPlan) -> Iterator[str]:
    """What is run and where. Text of the job's owner stands behind a mark, so that it cannot pass for ours."""
    yield NOTICE
    yield f"Job {spec.job_id}: {_printable(spec.name)}"
    yield f"Run {spec.run_id}, launched {spec.launched_at:%Y-%m-%d %H:%M:%S} UTC, time limit {spec.time_limit}"
    for node in dict.fromkeys(slot.node for slot in spec.slots):
        indexes = ", ".join(str(slot.index) for slot in spec.slots if slot.node == node)
        yield f"Node {node}: {spec.gpu_type} {indexes}"
    if spec.data_location is not None:
        yield f"Data: {_printable(spec.data_location)}"
    for line in spec.command.splitlines():
        yield f"  > {_printable(line)}"
    for remark in plan.remarks:
        yield f"Ignored: {_printable(remark)}"


def _printable(text: str) -> str:
    """Text on one line, with control characters, direction overrides and the like written as escapes."""
    return "".join(
        char if char.isprintable() or char in _JOINERS else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def _last_words(plan: RunPlan) -> list[str]:
    end = plan.end
    match end.reason:
        case EndReason.EXITED:
            return ["Done.", "Exit code 0."]
        case EndReason.NONZERO_EXIT:
            return [*_traceback(end.message), f"Exit code {end.exit_code}."]
        case EndReason.SIGNALLED:
            return [f"{strsignal(end.signal or SIGTERM)}."]
        case EndReason.OUT_OF_MEMORY:
            return [f"{strsignal(SIGKILL)}: out of memory."]
        case EndReason.TIME_LIMIT:
            return [f"Stopped at its time limit of {plan.ends_after}."]
        case _:
            return []


def _traceback(message: str | None) -> list[str]:
    if message is None:
        return []
    return [
        "Traceback (most recent call last):",
        '  File "train.py", line 214, in <module>',
        "    main()",
        '  File "train.py", line 187, in main',
        "    loss = train_one_epoch(model, loader, optimizer)",
        message,
    ]
