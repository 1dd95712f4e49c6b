"""A job in a YAML file: the options of the command line without their dashes, and `command`.

Values are read as they are written. YAML itself would take `2:30:00` for the number 9000, and `no` for a truth.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gtm.errors import UsageError
from gtm.jobspec.options import WRITTEN_OPTIONS, JobOptions, with_command

if TYPE_CHECKING:
    import yaml

MOST_CHARACTERS = 65_536
READERS = {**WRITTEN_OPTIONS, "command": with_command}


def load_job_file(path: Path) -> JobOptions:
    """What the file asks for.

    Raises:
        UsageError: it cannot be read, is no YAML, or asks for something unknown or impossible.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not text in UTF-8.") from None
    return read_job_file(text, str(path))


def read_job_file(text: str, name: str) -> JobOptions:
    options = JobOptions()
    seen: set[str] = set()
    for line, key, value in _entries(text, name):
        try:
            options = _option(key, value, seen).over(options)
        except UsageError as mistake:
            raise UsageError(f"{name}, line {line}: {mistake}") from None
    return options


def _option(key: str, value: str, seen: set[str]) -> JobOptions:
    if key not in READERS:
        raise UsageError(f"{key} is unknown here; known are {', '.join(READERS)}.")
    if key in seen:
        raise UsageError(f"{key} stands here a second time.")
    seen.add(key)
    if not value.strip():
        raise UsageError(f"{key} has no value.")
    return READERS[key](value)


def _entries(text: str, name: str) -> Iterator[tuple[int, str, str]]:
    """The keys and values of the one mapping in the file, each with the number of its line."""
    import yaml

    root = _composed(text, name)
    if not isinstance(root, yaml.MappingNode):
        raise UsageError(f"{name} is not a list of `option: value` lines.")
    for key, value in root.value:
        line = key.start_mark.line + 1
        if not (isinstance(key, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode)):
            raise UsageError(f"{name}, line {line}: an option needs one value, as text.")
        yield line, key.value, value.value


def _composed(text: str, name: str) -> "yaml.Node | None":
    import yaml

    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{name} has {len(text):,} characters; {MOST_CHARACTERS:,} are possible.")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{name}{line} is not YAML: {error.problem}.") from None
    except (yaml.YAMLError, RecursionError):
        raise UsageError(f"{name} is not YAML.") from None
