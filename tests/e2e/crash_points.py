"""The places in the code at which a test can make a process die: see `app/core/crash_points.py`."""

import os
import re

from tests.surroundings import PROJECT

IS_LONG = os.environ.get("TEST_DEPTH") == "long"
CALL = re.compile(r'crash_point\("([a-z.-]+)"\)')


def crash_points_of(folder: str) -> list[str]:
    """Their names, in the files of a folder of `app`."""
    sources = (path.read_text(encoding="utf-8") for path in (PROJECT / "app" / folder).rglob("*.py"))
    return sorted({point for source in sources for point in CALL.findall(source)})
