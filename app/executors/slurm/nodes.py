"""`sinfo`: every GPU of the cluster, whether it is given away, and what keeps it from that. Its JSON changed twice."""

from datetime import datetime

from app.domain.execution import GpuInfo, GpuSlot
from app.executors.slurm.gres import Gpus, parse_gpus
from app.executors.slurm.hostlist import expand
from app.executors.slurm.queue import NotUnderstood, moment_of_text

_FIELDS = "NodeList StateComplete Gres GresUsed User Timestamp Reason"
ARGUMENTS = ("--noheader", "--Node", "--all", f"--Format={','.join(f'{field}:|' for field in _FIELDS.split())}")

_OFFLINE = {
    "down": "down",
    "drain": "drained",
    "drained": "drained",
    "draining": "drained",
    "fail": "failing",
    "failing": "failing",
    "maint": "in maintenance",
    "reserved": "reserved",
    "not_responding": "not responding",
    "invalid_reg": "not as configured",
    "inval": "not as configured",
    "reboot_issued": "rebooting",
    "unknown": "in an unknown state",
    "error": "in an error state",
}
"""States in which Slurm gives a node to nobody. One that sleeps to save power is woken for a job, so it is not here."""
_ABSENT = frozenset({"future"})
_SUFFIXES = {"*": "not_responding", "$": "maint", "^": "reboot_issued"}
_OTHER_SUFFIXES = "~#!%@-+"
_SLURM_HAS_NO_REASON = frozenset({"", "none", "(null)", "N/A"})


def parse(output: str) -> list[GpuInfo]:
    """All GPUs, by node and index. A node stands there once for each of its partitions.

    Raises:
        NotUnderstood: a line has other fields.
    """
    nodes: dict[str, list[GpuInfo]] = {}
    for line in output.splitlines():
        if not line.strip():
            continue
        try:
            names, states, gres, used, user, since, reason = (field.strip() for field in line.split("|", 6))
            for node in expand(names):
                nodes[node] = _gpus_of_node(node, states, gres, used, _why(user, since, reason.removesuffix("|")))
        except ValueError as error:
            raise NotUnderstood(f"sinfo: {line!r}: {error}") from error
    return [gpu for node in sorted(nodes) for gpu in nodes[node]]


def _gpus_of_node(node: str, states: str, gres: str, used: str, why: str) -> list[GpuInfo]:
    tokens = _tokens(states)
    if tokens & _ABSENT:
        return []
    offline = [words for token, words in _OFFLINE.items() if token in tokens]
    offline_reason = f"{offline[0]}{why}" if offline else None
    in_use = {gpus.gpu_type: gpus for gpus in parse_gpus(used)}
    found: list[GpuInfo] = []
    for gpus in parse_gpus(gres):
        indexes = range(len(found), len(found) + gpus.count)
        busy = _busy(indexes, in_use.get(gpus.gpu_type))
        found += [
            GpuInfo(
                GpuSlot(node, index, f"slurm:{node}:{index}"),
                gpus.gpu_type,
                memory_bytes=0,
                busy=index in busy,
                offline_reason=offline_reason,
            )
            for index in indexes
        ]
    return found


def _tokens(states: str) -> set[str]:
    """From `mixed+drain+not_responding`, or `down*` as older versions mark a node that does not respond."""
    tokens = {_SUFFIXES[mark] for mark in states if mark in _SUFFIXES}
    return tokens | {part.strip("".join(_SUFFIXES) + _OTHER_SUFFIXES) for part in states.lower().split("+")}


def _busy(indexes: range, in_use: Gpus | None) -> frozenset[int]:
    """Which of these are given away. Where Slurm tells only how many, the first ones stand for them."""
    if in_use is None:
        return frozenset()
    if len(in_use.indexes) == in_use.count and in_use.indexes <= set(indexes):
        return in_use.indexes
    return frozenset(indexes[: in_use.count])


def _why(user: str, since: str, reason: str) -> str:
    """Slurm's reason, who gave it and when, as in `: fan broken (root, 2026-03-21 08:30 UTC)`."""
    if reason in _SLURM_HAS_NO_REASON:
        return ""
    moment: datetime | None = moment_of_text(since)
    details = [user] if user not in {"", "Unknown"} else []
    details += [f"{moment:%Y-%m-%d %H:%M} UTC"] if moment else []
    return f": {reason} ({', '.join(details)})" if details else f": {reason}"
