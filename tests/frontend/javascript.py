"""As much of JavaScript as it takes to tell code, comments, strings and templates apart."""

import re
from dataclasses import dataclass, field

REGEX_MAY_STAND_AFTER = re.compile(r"(?:^|[(\[{},;:=!&|?+*~^<>-]|\b(?:return|typeof|case|of|in))\s*$")
REGEX = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/\w*")
QUOTED = re.compile(r""""((?:\\.|[^"\\\n])*)"|'((?:\\.|[^'\\\n])*)'""")


@dataclass(frozen=True)
class Text:
    """A string or a template: `parts` are what stands between its expressions."""

    line: int
    after: str
    """The code before it on the same line, such as `t(` or `html`."""
    parts: tuple[str, ...]

    def __str__(self) -> str:
        return "${}".join(self.parts)


@dataclass
class Script:
    source: str
    code: str = ""
    """Without comments, and without what stands in strings and templates."""
    comments: list[str] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def __post_init__(self) -> None:
        end = self._read_code(0)
        assert end == len(self.source), f"unbalanced brace in line {self._line(end)}"

    def _read_code(self, at: int) -> int:
        """Up to the brace that closes more than was opened, or to the end."""
        depth = 0
        while at < len(self.source):
            here = self.source[at]
            if self.source.startswith(("//", "/*"), at):
                at = self._read_comment(at)
            elif here in "\"'":
                at = self._read_string(at)
            elif here == "`":
                at = self._read_template(at)
            elif here == "/" and REGEX_MAY_STAND_AFTER.search(self.code[-20:]):
                at = self._match(REGEX, at).end()
                self.code += "/(?:)/"
            else:
                depth += {"{": 1, "}": -1}.get(here, 0)
                if depth < 0:
                    return at
                self.code += here
                at += 1
        return at

    def _read_comment(self, at: int) -> int:
        closing = "\n" if self.source[at + 1] == "/" else "*/"
        end = self.source.find(closing, at + 2)
        end = len(self.source) if end < 0 else end + len(closing.strip())
        self.comments.append(self.source[at:end])
        return end

    def _read_string(self, at: int) -> int:
        found = self._match(QUOTED, at)
        self._keep(at, self.code, (found[0][1:-1],))
        self.code += '""'
        return found.end()

    def _read_template(self, at: int) -> int:
        start, before, parts = at, self.code, [""]
        self.code += "`"
        at += 1
        while self.source[at] != "`":
            if self.source.startswith("${", at):
                self.code += "${"
                at = self._read_code(at + 2) + 1
                self.code += "}"
                parts.append("")
            else:
                length = 2 if self.source[at] == "\\" else 1
                parts[-1] += self.source[at : at + length]
                at += length
        self.code += "`"
        self._keep(start, before, tuple(parts))
        return at + 1

    def _keep(self, at: int, before: str, parts: tuple[str, ...]) -> None:
        self.texts.append(Text(self._line(at), before.rpartition("\n")[2], parts))

    def _match(self, pattern: re.Pattern[str], at: int) -> re.Match[str]:
        found = pattern.match(self.source, at)
        assert found, f"cannot read line {self._line(at)}"
        return found

    def _line(self, at: int) -> int:
        return self.source.count("\n", 0, at) + 1
