"""How exactly Slurm keeps time limits, from `scontrol show config` and `scontrol show partition`.

Limits are whole minutes. The controller looks twice a minute for jobs whose time is up, and gives them OverTimeLimit
more, which a partition can set for itself. Then a job has KillWait between SIGTERM and SIGKILL, and keeps its GPUs.
"""

import re
from collections.abc import Collection

from app.domain.execution import TimeKeeping
from app.executors.slurm.queue import NotUnderstood

CONFIG_ARGUMENTS = ("show", "config")
PARTITION_ARGUMENTS = ("--all", "--oneliner", "show", "partition")
MINUTE_SECONDS = 60
LOOKS_FOR_LIMITS_EVERY_SECONDS = 30
"""Slurm's PERIODIC_TIMEOUT, which no setting changes."""

USUAL = TimeKeeping(MINUTE_SECONDS, LOOKS_FOR_LIMITS_EVERY_SECONDS + 30)
"""As Slurm comes: KillWait is 30 s, and there is no OverTimeLimit."""

_SETTING = r"^{name}\s*=\s*(\S+)"
_PARTITION = re.compile(r"PartitionName=(\S+)")
_OVER_TIME_LIMIT = re.compile(r"OverTimeLimit=(\S+)")


def parse(config: str, partitions: str, *, used: Collection[str]) -> TimeKeeping:
    """Of these partitions, or of all where none is named.

    Raises:
        NotUnderstood: KillWait is not told.
    """
    kill_wait = _setting(config, "KillWait")
    if not kill_wait.isdecimal():
        raise NotUnderstood(f"scontrol show config: KillWait={kill_wait}")
    usual = _minutes(_setting(config, "OverTimeLimit"))
    own = [
        _minutes(found[1])
        for line in partitions.splitlines()
        if (name := _PARTITION.search(line)) and (not used or name[1] in used)
        if (found := _OVER_TIME_LIMIT.search(line)) and found[1] != "NONE"
    ]
    over_time = max([usual, *own]) * MINUTE_SECONDS
    return TimeKeeping(MINUTE_SECONDS, LOOKS_FOR_LIMITS_EVERY_SECONDS + over_time + int(kill_wait))


def _setting(config: str, name: str) -> str:
    found = re.search(_SETTING.format(name=name), config, re.MULTILINE)
    return found[1] if found else ""


def _minutes(text: str) -> int:
    """Without an end is no time to reserve: the dispatcher ends what holds on for longer than was reserved."""
    return int(text) if text.isdecimal() else 0
