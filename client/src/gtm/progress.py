"""What a person is told while a command waits: a line that lives on a terminal, elsewhere a line for each change."""

from types import TracebackType
from typing import TYPE_CHECKING

from gtm.output import Output, harmless

if TYPE_CHECKING:
    from rich.status import Status

BAR_CELLS = 24


class StatusLine:
    """Shown on stderr while its context lasts."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = ""
        self._live: Status | None = None

    def __enter__(self) -> "StatusLine":
        if self._output.shows_progress:
            console = self._output.console(to_stderr=True)
            console.soft_wrap = False
            self._live = console.status("")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, text: str, share: float | None = None) -> None:
        """`share`: how much is done, 0 to 1; None where nobody knows."""
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(harmless(text if share is None else f"{bar(share)} {text}")))
        elif text != self._said:
            self._output.say(text)
        self._said = text


def bar(share: float) -> str:
    """`━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  50%`."""
    done = int(share * BAR_CELLS)
    return "━" * done + "╌" * (BAR_CELLS - done) + f" {share:4.0%}"
