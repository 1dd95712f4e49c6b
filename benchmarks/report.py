"""What was measured against what was promised."""

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = ("measured", "figure", "target", "met", "behind the figure")


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise: what was measured, what is wanted, and what stands behind the figure."""

    what: str
    figure: str
    target: str
    is_met: bool
    behind: str = ""

    @property
    def cells(self) -> Sequence[str]:
        return (self.what, self.figure, self.target, "yes" if self.is_met else "**no**", self.behind)


def markdown_table(findings: Sequence[Finding]) -> str:
    """The findings as a table that a README can carry."""
    rows = [HEADER, *(finding.cells for finding in findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(map(str.ljust, row, widths)) for row in rows]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)
