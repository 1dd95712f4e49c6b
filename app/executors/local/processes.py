"""Processes of runs, as the executor sees them from outside: who they are, and how to be rid of them.

The wrapper does all of this for its own run. It is needed here for runs whose wrapper was killed.
"""

import json
import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any
from uuid import UUID

from app.executors.local import wrapper

RUN_ID_VARIABLE = b"GTM_RUN_ID="
KILL_INTERVAL_SECONDS = 0.05
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def boot_id() -> str:
    """Of the machine since it was last started."""
    return wrapper.boot_id()


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, and no other one that is given its number later."""

    pid: int
    start_ticks: int
    boot_id: str


def identity(pid: int) -> ProcessIdentity | None:
    """Who has this pid now; None: nobody."""
    now = wrapper.process_identity(pid)
    return None if now is None else ProcessIdentity(pid, now[1], boot_id())


def age_seconds(start_ticks: int) -> float:
    """For how long a process has been there, by a clock that nobody sets and that goes on while the machine sleeps."""
    return wrapper.boottime() - start_ticks / TICKS_PER_SECOND


def signal_process(pid: int, start_ticks: int, boot_id_then: str, signal: Signals) -> bool:
    """Signal this process, and no other one that has its pid now; false if it is gone."""
    return boot_id_then == boot_id() and wrapper.send(pid, start_ticks, signal)


def run_of(pid: int) -> UUID | None:
    """The run that a process belongs to by its environment; None also for processes that we may not look into."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return next((UUID(_run_id(variable)) for variable in variables if variable.startswith(RUN_ID_VARIABLE)), None)
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return None


def _run_id(variable: bytes) -> str:
    return variable.removeprefix(RUN_ID_VARIABLE).decode("ascii")


def pids_of(run_ids: Collection[UUID]) -> Mapping[UUID, Collection[int]]:
    """The processes of several runs, by their environment, in one look at all there are."""
    found: dict[UUID, list[int]] = {run_id: [] for run_id in run_ids}
    if found:
        for pid in wrapper.processes():
            if (run_id := run_of(pid)) in found:
                found[run_id].append(pid)
    return found


def processes_of(run_id: UUID, cgroups: Iterable[str] = (), session: str | None = None) -> set[ProcessIdentity]:
    """All living processes that are proved to belong to a run: by cgroup, environment, session, or descent.

    The dead are none of them, though nobody may ever ask how they ended: as in a container whose first process does
    not care for orphans.
    """
    alive = wrapper.everybody()
    members = {pid for cgroup in cgroups for pid in wrapper.cgroup_members(cgroup)}
    roots = {
        (pid, start_ticks)
        for pid, (_, start_ticks) in alive.items()
        if pid in members or run_of(pid) == run_id or (session is not None and wrapper.session_mark(pid) == session)
    }
    # What was learned of a pid since we looked holds for who had it then, only if nobody else has it now.
    roots = {(pid, ticks) for pid, ticks in roots if pid != os.getpid() and _has_pid(pid, ticks)}
    found = roots | wrapper.descendants(alive, [pid for pid, _ in roots])
    boot = boot_id()
    return {ProcessIdentity(pid, start_ticks, boot) for pid, start_ticks in found if not _is_dead(pid)}


def _has_pid(pid: int, start_ticks: int) -> bool:
    now = wrapper.process_identity(pid)
    return now is not None and now[1] == start_ticks


def _is_dead(pid: int) -> bool:
    """All of its threads are; the first one alone may be dead while others go on."""
    try:
        states = [task.read_text(errors="replace") for task in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # it changes just now: the next look tells
    return all(state[state.rindex(")") + 2] in "ZX" for state in states)


def leftovers(directory: Path) -> set[ProcessIdentity]:
    """What still lives of a run whose wrapper is dead."""
    return processes_of(UUID(directory.name), _cgroups(directory), _session(directory))


def kill_leftovers(directory: Path, patience_seconds: float) -> bool:
    """SIGKILL to all that is left of a run whose wrapper is dead, until nothing is; false if something survives."""
    cgroups = _cgroups(directory)
    give_up_at = time.monotonic() + patience_seconds
    while True:
        for cgroup in cgroups:
            wrapper.kill_cgroup(cgroup)
        left = leftovers(directory)
        if not left:
            break
        for process in left:
            wrapper.send(process.pid, process.start_ticks, SIGKILL)
        if time.monotonic() > give_up_at:
            return False
        time.sleep(KILL_INTERVAL_SECONDS)
    for cgroup in cgroups:
        wrapper.remove_cgroup(cgroup)
    return True


def _cgroups(directory: Path) -> list[str]:
    """The run's groups as its wrapper noted them; only those that bear its name, whoever wrote the note."""
    try:
        noted = [Path(path) for path in _note(directory)["cgroups"]]
    except (KeyError, TypeError):
        return []
    return [str(path) for path in noted if path.name == directory.name and path.is_dir()]


def _session(directory: Path) -> str | None:
    """The mark of the session in which the command began, if the machine was not started again since."""
    note = _note(directory)
    mark = note.get("session")
    return mark if isinstance(mark, str) and note.get("boot_id") == boot_id() else None


def _note(directory: Path) -> Mapping[str, Any]:
    try:
        note = json.loads((directory / "child.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
