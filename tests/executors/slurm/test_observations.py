from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.execution import EndReason, Observation, RunState
from app.executors.slurm.accounting import parse
from app.executors.slurm.job import ExitStatus, SlurmJob
from app.executors.slurm.observations import begun_at, observe, observe_end
from app.executors.slurm.queue import parse_json
from tests.executors.slurm.samples_of import (
    CANCELLED,
    CANCELLED_EARLY,
    EXITS_7,
    EXITS_WELL,
    NO_LOG,
    RUNS,
    SEGFAULT,
    TIMED_OUT,
    TWO_NODES,
    WAITS,
    sample,
)

START = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
NEXT_LOOK = START + timedelta(hours=1)


def test_a_waiting_run_tells_why_and_until_when() -> None:
    seen = look(queued(WAITS))

    assert seen == Observation(
        RunState.STARTING,
        unchanged_until=NEXT_LOOK,
        queue_reason="Resources",
        expected_start_at=datetime(2026, 11, 24, 3, 35, 5, tzinfo=UTC),
        engine_job_id="277",
    )


def test_a_running_run_tells_where_it_is_and_counts_whole_seconds() -> None:
    job = queued(TWO_NODES)
    assert job.started_at is not None

    seen = look(job, now=job.started_at + timedelta(seconds=4.9), num_gpus=4)

    assert seen is not None
    assert (seen.state, seen.placement, seen.elapsed) == (RunState.RUNNING, "n1:0,3 n2:0,1", timedelta(seconds=4))
    assert seen.message is None


def test_a_node_that_is_still_booted_is_no_running_run() -> None:
    seen = look(SlurmJob(RUNS, "7", frozenset({"CONFIGURING"}), started_at=START))

    assert seen is not None
    assert (seen.state, seen.queue_reason, seen.expected_start_at) == (RunState.STARTING, "Configuring", None)


def test_states_that_prove_nothing_are_not_told() -> None:
    assert look(SlurmJob(RUNS, "7", frozenset({"REVOKED"}))) is None
    assert look(queued(EXITS_WELL)) is None


def test_another_number_of_gpus_is_told() -> None:
    seen = look(queued(RUNS), num_gpus=2)

    assert seen is not None
    assert seen.message == "Slurm gave this run 1 GPUs where 2 were asked for."


@pytest.mark.parametrize(
    ("run_id", "reason", "exit_code", "signal"),
    [
        (EXITS_WELL, EndReason.EXITED, 0, None),
        (EXITS_7, EndReason.NONZERO_EXIT, 7, None),
        (SEGFAULT, EndReason.SIGNALLED, None, 11),
        (CANCELLED, EndReason.SIGNALLED, None, 15),
        (CANCELLED_EARLY, EndReason.SIGNALLED, None, None),
        (TIMED_OUT, EndReason.TIME_LIMIT, None, 15),
        (NO_LOG, EndReason.LAUNCH_FAILURE, None, None),
    ],
)
def test_the_controller_and_the_accounts_tell_the_same_ends(
    run_id: UUID, reason: EndReason, exit_code: int | None, signal: int | None
) -> None:
    for job in (queued(run_id), accounted(run_id)):
        seen = end(job)
        assert (seen.state, seen.reason) == (RunState.ENDED, reason)
        assert (seen.exit_code, seen.signal) == (exit_code, signal)


def test_a_job_that_has_run_and_ends_itself_by_slurms_own_signal_is_no_failed_launch() -> None:
    """slurmstepd finds out at once that it cannot open the log."""
    job = SlurmJob(RUNS, "7", frozenset({"FAILED"}), started_at=START, placement="n1", exit=ExitStatus(signal=53))

    seen = end(job, elapsed=timedelta(hours=3))

    assert (seen.reason, seen.signal, seen.elapsed) == (EndReason.SIGNALLED, 53, timedelta(hours=3))


def test_a_log_that_cannot_be_opened_is_told_with_the_node() -> None:
    message = end(accounted(NO_LOG)).message

    assert message == "Slurm could not open the log on n2; is SLURM_LOG_DIR shared with all nodes?"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("OUT_OF_MEMORY", EndReason.OUT_OF_MEMORY),
        ("DEADLINE", EndReason.TIME_LIMIT),
        ("NODE_FAIL", EndReason.NODE_FAILURE),
        ("BOOT_FAIL", EndReason.NODE_FAILURE),
        ("PREEMPTED", EndReason.NODE_FAILURE),
    ],
)
def test_states_have_their_reasons(state: str, reason: EndReason) -> None:
    seen = end(SlurmJob(RUNS, "7", frozenset({state}), started_at=START, placement="n1", exit=ExitStatus(exit_code=0)))

    assert seen.reason is reason
    assert reason is not EndReason.NODE_FAILURE or (seen.exit_code is None and seen.message)


@pytest.mark.parametrize("state", ["LAUNCH_FAILED", "RECONFIG_FAIL"])
def test_a_script_that_slurm_says_it_has_not_run_took_no_time(state: str) -> None:
    job = SlurmJob(RUNS, "7", frozenset({state}), started_at=START, elapsed=timedelta(minutes=3), placement="n1")

    assert (end(job).reason, job.held) == (EndReason.LAUNCH_FAILURE, timedelta(0))


def test_a_run_that_was_cancelled_while_it_waited_took_no_time() -> None:
    assert (end(queued(CANCELLED_EARLY)).started_at, queued(CANCELLED_EARLY).held) == (None, timedelta(0))


def test_one_that_was_put_back_and_did_not_begin_again_has_begun_all_the_same() -> None:
    cancelled = queued(CANCELLED_EARLY)
    assert cancelled.ended_at is not None
    assert end(cancelled, elapsed=timedelta(seconds=9)).started_at == cancelled.ended_at - timedelta(seconds=9)


def test_who_cancelled_is_told_unless_it_was_the_service() -> None:
    assert end(accounted(CANCELLED), own_uids=frozenset({1000})).message == "Cancelled in Slurm by root."
    assert end(accounted(CANCELLED), own_uids=frozenset({0})).message is None


def test_a_cancelled_command_that_chose_its_exit_code_keeps_it() -> None:
    seen = end(SlurmJob(RUNS, "7", frozenset({"CANCELLED"}), started_at=START, placement="n1", exit=ExitStatus(3)))

    assert (seen.reason, seen.exit_code, seen.signal) == (EndReason.SIGNALLED, 3, None)


def test_a_script_that_was_not_run_is_a_failed_launch() -> None:
    refused = SlurmJob(RUNS, "7", frozenset({"FAILED"}), reason="BadConstraints", exit=ExitStatus(signal=1))
    broken = SlurmJob(RUNS, "7", frozenset({"FAILED"}), started_at=START, placement="n1", exit=ExitStatus(exit_code=0))

    assert end(refused).message == "Slurm could not start the run: BadConstraints."
    assert end(refused).reason is end(broken).reason is EndReason.LAUNCH_FAILURE


def test_no_run_begins_before_it_was_launched_in_the_same_second() -> None:
    launched_at = START + timedelta(seconds=0.7)

    assert begun_at(START, launched_at) == launched_at
    assert begun_at(START, START + timedelta(seconds=5)) == START
    assert begun_at(START, None) == START


def queued(run_id: UUID) -> SlurmJob:
    return next(job for job in parse_json(sample("22.05/squeue.json")) if job.run_id == run_id)


def accounted(run_id: UUID) -> SlurmJob:
    return next(job for job in parse(sample("22.05/sacct.txt"), "|") if job.run_id == run_id)


def look(job: SlurmJob, *, now: datetime = START, num_gpus: int | None = None) -> Observation | None:
    return observe(job, now=now, next_look_at=NEXT_LOOK, held_before=timedelta(0), launched_at=None, num_gpus=num_gpus)


def end(job: SlurmJob, *, elapsed: timedelta | None = None, own_uids: frozenset[int] = frozenset({0})) -> Observation:
    held = job.held if elapsed is None else elapsed
    return observe_end(job, elapsed=held, launched_at=None, num_gpus=None, placement=None, own_uids=own_uids)
