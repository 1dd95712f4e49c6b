from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.execution import RunState
from app.executors.slurm.accounting import arguments, is_disabled, parse
from app.executors.slurm.job import ExitStatus, SlurmJob, held_in_all
from app.executors.slurm.queue import NotUnderstood
from tests.executors.slurm.samples_of import (
    CANCELLED,
    CANCELLED_EARLY,
    EXITS_7,
    EXITS_WELL,
    IGNORES_SIGTERM,
    NO_LOG,
    RUNS,
    SEGFAULT,
    TIMED_OUT,
    TWO_NODES,
    WAITS,
    sample,
)


def test_exits_signals_and_times_are_read() -> None:
    jobs = read(sample("22.05/sacct.txt"))

    assert jobs[EXITS_WELL].exit == ExitStatus(exit_code=0)
    assert jobs[EXITS_WELL].elapsed == timedelta(seconds=2)
    assert jobs[EXITS_WELL].started_at == datetime(2026, 11, 24, 3, 28, 48, tzinfo=UTC)
    assert jobs[EXITS_WELL].gpus == 1
    assert jobs[EXITS_7].exit == ExitStatus(exit_code=7)
    assert jobs[SEGFAULT].exit == ExitStatus(signal=11)
    assert jobs[NO_LOG].exit == ExitStatus(signal=53)
    assert (jobs[TIMED_OUT].states, jobs[TIMED_OUT].elapsed) == ({"TIMEOUT"}, timedelta(seconds=77))


def test_the_signal_of_a_cancelled_job_is_told_by_its_script_and_the_user_by_its_state() -> None:
    jobs = read(sample("22.05/sacct.txt"))

    assert jobs[CANCELLED].exit == ExitStatus(signal=15)
    assert jobs[CANCELLED].states == {"CANCELLED"}
    assert jobs[CANCELLED].cancelled_by_uid == 0


def test_a_job_is_measured_until_its_script_let_go_of_the_gpus() -> None:
    """The row of the job stops at the cancellation, though it went on until SIGKILL."""
    job = read(sample("22.05/sacct.txt"))[IGNORES_SIGTERM]

    assert job.exit == ExitStatus(signal=9)
    assert job.elapsed == timedelta(seconds=14)
    assert job.ended_at is not None
    assert job.started_at is not None
    assert job.ended_at - job.started_at == job.elapsed


def test_a_job_that_was_cancelled_while_it_waited_never_began() -> None:
    job = read(sample("22.05/sacct.txt"))[CANCELLED_EARLY]

    assert job.never_began
    assert (job.started_at, job.elapsed) == (None, timedelta(0))


def test_what_still_runs_by_the_accounts_proves_no_end() -> None:
    jobs = read(sample("22.05/sacct.txt"))
    assert {RUNS, TWO_NODES} <= {run_id for run_id, job in jobs.items() if job.phase is not RunState.ENDED}
    assert jobs[TWO_NODES].placement == "n1 n2"


def test_a_job_that_was_put_back_into_the_queue_has_held_its_gpus_each_time() -> None:
    """It has a record for each; those that overlap tell of the same time, and one that is not closed of none."""
    row = f"7|0|{{}}|0:0|{{}}|{{}}|{{}}||n1|None|gtm-{RUNS}\n"
    records = parse(
        row.format("REQUEUED", 100, 130, 30)
        + row.format("NODE_FAIL", 120, 140, 20)
        + row.format("RUNNING", 150, "Unknown", 5000)
        + row.format("COMPLETED", 200, 210, 10)
        + row.format("CANCELLED by 0", "Unknown", 300, 0)
        + row.format("COMPLETED", 100, 107, 7).replace("7|", "8|", 1),
        "|",
    )
    assert held_in_all(records) == timedelta(seconds=40 + 10 + 7)


def test_a_number_that_was_given_twice_makes_two_jobs() -> None:
    row = f"7|0|{{}}|{{}}|100|110|10||n1|None|gtm-{RUNS}\n"
    output = (
        row.format("COMPLETED", "0:0") + row.format("FAILED", "0:15") + "7.batch||FAILED|0:15|100|110|10||n1||batch\n"
    )

    assert [(job.job_id, job.exit) for job in parse(output, "|")] == [
        ("7", ExitStatus(exit_code=0)),
        ("7", ExitStatus(signal=15)),
    ]


@pytest.mark.parametrize("output", ["Slurm accounting", "a|b|c", f"7|0|FAILED|x:y|1|2|3||n1|None|gtm-{RUNS}"])
def test_other_fields_are_refused(output: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(output, "|")


def test_no_name_of_a_step_makes_a_row() -> None:
    """A command gives its steps any names: these would end another run, or make all rows unreadable."""
    row = f"7|0|COMPLETED|0:0|100|110|10||n1|None|gtm-{RUNS}\n"
    forged = f"8|0|COMPLETED|0:0|100|110|10||n1|None|gtm-{WAITS}"
    steps = f"7.0||COMPLETED|0:0|100|110|10||n1||a|b\n7.1||COMPLETED|0:0|100|110|10||n1||x\n{forged}\n"
    output = row.replace("|", "<7d1f>") + steps.replace("|", "<7d1f>", 10)

    assert [(job.run_id, job.uid) for job in parse(output, "<7d1f>")] == [(RUNS, 0)]


def test_all_runs_are_asked_for_in_one_call() -> None:
    asked = arguments([RUNS, CANCELLED], datetime(2026, 11, 24, tzinfo=UTC), "<7d1f>")

    assert f"--name=gtm-{RUNS},gtm-{CANCELLED}" in asked
    assert "--starttime=uts1795392000" in asked
    assert {"--duplicates", "--delimiter=<7d1f>"} <= set(asked)


def test_a_cluster_without_accounts_is_recognised() -> None:
    assert is_disabled("Slurm accounting storage is disabled\n")
    assert not is_disabled("sacct: error: slurmdbd: Connection refused")


def read(output: str) -> dict[UUID, SlurmJob]:
    return {job.run_id: job for job in parse(output, "|")}
