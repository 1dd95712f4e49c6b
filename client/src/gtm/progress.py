"""What a person is told while a command waits: a line with a bar on a terminal, elsewhere a line for each change."""

from types import TracebackType
from typing import TYPE_CHECKING

from gtm.output import Output, harmless

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class StatusLine:
    """Shown on stderr while its context lasts."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = ""
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> "StatusLine":
        if self._output.shows_progress:
            self._bar = _bar_on(self._output)
            self._bar[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()

    def show(self, text: str, share: float | None = None) -> None:
        """`share`: how much is done, 0 to 1; None where nobody knows."""
        if self._bar is not None:
            progress, task = self._bar
            total = None if share is None else 1.0
            progress.update(task, description=harmless(text), total=total, completed=share or 0.0)
        elif text != self._said:
            self._output.say(text)
        self._said = text


def _bar_on(output: Output) -> "tuple[Progress, TaskID]":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.description}", markup=False),
    )
    progress = Progress(*columns, console=output.console(to_stderr=True), transient=True)
    return progress, progress.add_task("", total=None)
