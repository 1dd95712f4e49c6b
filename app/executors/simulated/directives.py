"""What a command asks of the simulation.

A comment `#SIM` in a job's command, on a line of its own or at the end of one, says how the simulated run behaves:

    python train.py   #SIM exit=7 duration=50% fault=slow-start

| directive | meaning |
|---|---|
| `exit=N` | ends by itself with exit code N, 0 to 255 |
| `signal=N` | dies of signal N, 1 to 64 |
| `duration=90s`, `15m`, `2h`, `50%` | ends by itself after this time or share of its time limit |
| `lines=N` | a run to the end writes N training lines, 1 to 1,000,000 |
| `fault=oom` | is killed for its use of memory |
| `fault=node-loss` | its node goes away |
| `fault=hang` | stops working, but does not end |
| `fault=lost` | the engine forgets it |
| `fault=launch-failure` | cannot be started |
| `fault=slow-start` | takes a while to start |
| `fault=ignore-term` | has to be killed when it is stopped |

The commands `true`, `false`, `exit N` and `sleep N` do in the simulation what they do in a shell.
A command that says any of this is not subject to `SIMULATION_FAILURE_RATE`: it ends well unless it says otherwise.
What is not understood is ignored, and the run's log says so.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Self

_COMMENT = re.compile(r"(?:^|(?<=\s))#SIM(?:[ \t]+(?P<tokens>[^\n]*))?$", re.MULTILINE)
_NUMBER = re.compile(r"[0-9]{1,7}")
_DURATION = re.compile(r"(?P<amount>[0-9]{1,6}(?:\.[0-9]{1,3})?)(?P<unit>[smh%])")
_SIMPLE_COMMAND = re.compile(
    r"true|false|exit(?: (?P<code>[0-9]{1,3}))?|sleep (?P<seconds>[0-9]{1,7}(?:\.[0-9]{1,3})?)"
)
_UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


class Ending(StrEnum):
    """The ways in which a simulated run comes to its end. All but the first two are faults."""

    EXIT = "exit"
    SIGNAL = "signal"
    OUT_OF_MEMORY = "oom"
    NODE_LOSS = "node-loss"
    HANG = "hang"
    LOST = "lost"
    LAUNCH_FAILURE = "launch-failure"


@dataclass(frozen=True, slots=True)
class Fate:
    """How a run ends, with its exit code or the number of its signal."""

    ending: Ending
    number: int = 0

    @property
    def is_success(self) -> bool:
        return self == SUCCESS


SUCCESS = Fate(Ending.EXIT, 0)


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of simulated time, or a share of the time limit."""

    span: timedelta | None = None
    share: float | None = None

    def within(self, time_limit: timedelta) -> timedelta:
        return self.span if self.span is not None else time_limit * (self.share or 0.0)


@dataclass(frozen=True, slots=True)
class Directives:
    """What a command asks for; None is left to the simulation. `remarks` names what was not understood, and why."""

    fate: Fate | None = None
    duration: Duration | None = None
    lines: int | None = None
    slow_start: bool = False
    ignores_term: bool = False
    trains: bool = True
    """False for the simple commands, which neither write training lines nor use their GPUs."""
    remarks: tuple[str, ...] = ()

    def remarking(self, remark: str) -> Self:
        return replace(self, remarks=(*self.remarks, remark))


NOTHING_ASKED = Directives()


def read_directives(command: str) -> Directives | None:
    """The wishes in a command, or None where it has none."""
    simple = _SIMPLE_COMMAND.fullmatch(_COMMENT.sub("", command).strip())
    if simple is None and _COMMENT.search(command) is None:
        return None
    asked = NOTHING_ASKED
    for token in _tokens(command):
        try:
            asked = _with_token(asked, token)
        except ValueError as problem:
            asked = asked.remarking(f"{token}: {problem}")
    return asked if simple is None else _with_simple_command(asked, simple)


def _tokens(command: str) -> Iterator[str]:
    for comment in _COMMENT.finditer(command):
        yield from (comment["tokens"] or "").split()


def _with_token(asked: Directives, token: str) -> Directives:
    key, _, value = token.partition("=")
    match key:
        case "exit":
            return _with_fate(asked, Fate(Ending.EXIT, _number(value, 0, 255)))
        case "signal":
            return _with_fate(asked, Fate(Ending.SIGNAL, _number(value, 1, 64)))
        case "fault":
            return _with_fault(asked, value)
        case "duration":
            return replace(asked, duration=_duration(value))
        case "lines":
            return replace(asked, lines=_number(value, 1, 1_000_000))
    raise ValueError("known are exit, signal, duration, lines and fault")


def _with_fate(asked: Directives, fate: Fate) -> Directives:
    if asked.fate is not None:
        raise ValueError(f"the run already ends by {asked.fate.ending}")
    return replace(asked, fate=fate)


def _number(text: str, lowest: int, highest: int) -> int:
    if _NUMBER.fullmatch(text) is None or not lowest <= int(text) <= highest:
        raise ValueError(f"a number from {lowest} to {highest} is needed")
    return int(text)


def _with_fault(asked: Directives, fault: str) -> Directives:
    if fault == "slow-start":
        return replace(asked, slow_start=True)
    if fault == "ignore-term":
        return replace(asked, ignores_term=True)
    endings = set(Ending) - {Ending.EXIT, Ending.SIGNAL}
    if fault not in endings:
        raise ValueError(f"known faults are {', '.join(sorted(endings))}, ignore-term and slow-start")
    return _with_fate(asked, Fate(Ending(fault)))


def _duration(text: str) -> Duration:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("write it as 90s, 15m, 2h or 50%")
    amount = float(match["amount"])
    if match["unit"] == "%":
        return Duration(share=amount / 100)
    return Duration(span=amount * _UNITS[match["unit"]])


def _with_simple_command(asked: Directives, command: re.Match[str]) -> Directives:
    code = 1 if command[0] == "false" else int(command["code"] or 0) % 256
    return replace(
        asked,
        trains=False,
        fate=asked.fate or Fate(Ending.EXIT, code),
        duration=asked.duration or Duration(span=timedelta(seconds=float(command["seconds"] or 1))),
    )
