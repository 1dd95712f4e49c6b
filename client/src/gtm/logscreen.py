"""A log on its way out: to a file or pipe as it is, to a terminal without what a terminal would obey.

Colours and the carriage returns of progress bars pass. A sequence that moves elsewhere, renames the window or asks the
terminal for an answer is shown instead: who reads a log (an admin, say) is not always who wrote it.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Callable

from gtm.output import Output, harmless

COLOR = re.compile(r"\x1b\[[0-9;]*m")
KEPT = re.compile(r"(\x1b\[[0-9;]*m|[\r\b])")
UNFINISHED = re.compile(r"\x1b(?:\[[0-9;]{0,32})?$")


def log_writer(output: Output) -> Callable[[bytes], None]:
    """Takes the log piece by piece; a piece may end inside a character."""
    if output.is_terminal:
        return Screen(output).write

    def write(data: bytes) -> None:
        output.stdout.buffer.write(data)
        output.stdout.buffer.flush()

    return write


class Screen:
    """A terminal, and the beginning of what has not come completely."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def write(self, data: bytes) -> None:
        text = self._held + self._decoder.decode(data)
        unfinished = UNFINISHED.search(text)
        self._held = unfinished[0] if unfinished else ""
        shown = text[: len(text) - len(self._held)]
        self._output.stdout.write(showable(shown, color=self._output.color))
        self._output.stdout.flush()


def showable(text: str, *, color: bool) -> str:
    """The text with everything that a terminal obeys made visible, but colours (if wanted), `\\r` and `\\b`."""
    if not color:
        text = COLOR.sub("", text)
    parts = KEPT.split(text)
    return "".join(part if index % 2 else harmless(part) for index, part in enumerate(parts))
