"""The documents in the project's folder, and how tests read them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
READMES = ["README.md", "README.fa.md"]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, without their fences."""
    return [body for found, body in FENCE.findall(text) if found == language]


def session(text: str) -> str:
    """The first session of a README: the block that signs people in."""
    (found,) = [block for block in blocks(text, "bash") if "/auth/login" in block]
    return found


def table_rows(text: str) -> list[list[str]]:
    """The cells of every line of every table, as they are written."""
    lines = FENCE.sub("", text).splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
