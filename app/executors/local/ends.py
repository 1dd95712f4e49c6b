"""How a run ended, from what was written when it did: its wrapper's evidence, or our verdict where that was killed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from signal import SIGTERM
from typing import Any

from app.domain.execution import EndReason, Observation, RunState
from app.executors.local.run_directory import Started

LOST = "The process that watched over this run was killed, so nothing proves how the run ended."
NOT_GONE = "Some processes of this run could not be killed."
MACHINE_RESTARTED = "The machine was restarted while this run was under way."

_STOPPED_BY = {
    "time_limit": EndReason.TIME_LIMIT,
    "oom": EndReason.OUT_OF_MEMORY,
    "disk": EndReason.OUT_OF_DISK,
    "launch": EndReason.LAUNCH_FAILURE,
    "stop": EndReason.SIGNALLED,
}


def end_by_evidence(evidence: Mapping[str, Any], started: Started | None) -> Observation:
    """A run that was stopped has ended by a signal, whatever its command made of it."""
    stopped = evidence["stopped"]
    exit_code, signal = evidence["exit_code"], evidence["signal"]
    if stopped is not None:
        reason = _STOPPED_BY[stopped]
    elif signal is not None:
        reason = EndReason.SIGNALLED
    elif exit_code is not None:
        reason = EndReason.EXITED if exit_code == 0 else EndReason.NONZERO_EXIT
    else:
        reason = EndReason.LOST
    if stopped == "stop":
        exit_code, signal = None, signal or SIGTERM
    began = evidence["started_at"] is not None
    return Observation(
        RunState.ENDED,
        timedelta(seconds=evidence["elapsed_seconds"]),
        started_at=started.at if began and started is not None else None,
        reason=reason,
        ended_at=_moment(evidence["ended_at"]) if began and evidence["ended_at"] is not None else None,
        exit_code=exit_code,
        signal=signal,
        message=evidence["message"],
    )


def end_by_verdict(verdict: Mapping[str, Any], started: Started | None) -> Observation:
    """A run without a wrapper held its GPUs until now if anything of it was alive; if not, polls have told how long."""
    if (never_began := verdict.get("never_began")) is not None:  # as releases up to 0.1.0 wrote it
        reason, message = EndReason.LAUNCH_FAILURE, never_began
    elif verdict.get("node_failed"):
        reason, message = EndReason.NODE_FAILURE, MACHINE_RESTARTED
    else:
        reason, message = EndReason.LOST, LOST if verdict["gone"] else NOT_GONE
    at = _moment(verdict["at"])
    held = at - started.at if started is not None and verdict.get("was_alive") else timedelta(0)
    return Observation(
        RunState.ENDED,
        max(timedelta(0), held),
        started_at=None if started is None else started.at,
        reason=reason,
        ended_at=at,
        message=message,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
