import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.domain.execution import RunState
from app.executors.slurm.job import ExitStatus, SlurmJob, most_telling, run_of
from app.executors.slurm.queue import TEXT_ARGUMENTS, NotUnderstood, parse_json, parse_text
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

VERSIONS = ("22.05", "23.02", "23.11", "24.05", "25.05")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_json_of_every_version_says_the_same(version: str) -> None:
    jobs = by_run(parse_json(sample(f"{version}/squeue.json")))

    assert jobs[EXITS_WELL].phase is RunState.ENDED
    assert jobs[EXITS_WELL].exit == ExitStatus(exit_code=0)
    assert jobs[EXITS_7].exit == ExitStatus(exit_code=7)
    assert jobs[SEGFAULT].exit == ExitStatus(signal=11)
    assert jobs[CANCELLED].exit == ExitStatus(signal=15)
    assert jobs[CANCELLED].states == {"CANCELLED"}
    assert jobs[TIMED_OUT].states == {"TIMEOUT"}
    assert jobs[WAITS].phase is RunState.STARTING
    assert jobs[WAITS].reason == "Resources"
    assert jobs[WAITS].started_at == datetime(2026, 11, 24, 3, 35, 5, tzinfo=UTC)
    assert jobs[TWO_NODES].phase is jobs[RUNS].phase is RunState.RUNNING
    assert jobs[TWO_NODES].placement == "n1:0,3 n2:0,1"
    assert jobs[TWO_NODES].gpus == 4
    assert (jobs[RUNS].job_id, jobs[RUNS].uid) == ("275", 0)
    assert jobs[RUNS].reason is None


@pytest.mark.parametrize("version", ["22.05/squeue-completing.json", *(f"{v}/squeue.json" for v in VERSIONS[1:])])
def test_a_job_that_cleans_up_has_not_ended(version: str) -> None:
    cleaning_up = [job for job in parse_json(sample(version)) if job.run_id == IGNORES_SIGTERM]

    assert [job.phase for job in cleaning_up] == [RunState.RUNNING]


def test_text_says_what_json_says_but_for_the_indexes_of_gpus() -> None:
    from_json, from_text = (
        by_run(parse_json(sample("22.05/squeue.json"))),
        by_run(parse_text(sample("22.05/squeue.txt"))),
    )

    assert from_text.keys() == from_json.keys()
    for run_id, job in from_text.items():
        told = from_json[run_id]
        assert (job.phase, job.exit, job.started_at, job.gpus) == (told.phase, told.exit, told.started_at, told.gpus)
        assert (job.job_id, job.reason, job.never_began) == (told.job_id, told.reason, told.never_began)
        assert job.uid == told.uid
    assert from_text[TWO_NODES].placement == "n1 n2"
    assert [job.phase for job in parse_text(sample("22.05/squeue-completing.txt"))] == [RunState.RUNNING]


def test_a_job_that_was_cancelled_while_it_waited_never_began() -> None:
    jobs = by_run(parse_json(sample("22.05/squeue.json")))

    assert jobs[CANCELLED_EARLY].never_began
    assert not jobs[CANCELLED].never_began
    assert not jobs[NO_LOG].never_began


def test_a_job_whose_nodes_the_controller_forgot_did_begin() -> None:
    start = datetime(2026, 11, 24, tzinfo=UTC)
    job = SlurmJob(RUNS, "7", frozenset({"FAILED"}), started_at=start, ended_at=start + timedelta(seconds=13))

    assert not job.never_began


def test_jobs_of_others_are_passed_over_whatever_their_names_are() -> None:
    assert "somebody|else's" in sample("22.05/squeue.txt")
    assert run_of("gtm-") is run_of("gtm-7") is run_of("training") is run_of(f"gtm-{{{RUNS}}}") is None
    assert parse_json(json.dumps({"jobs": [{"name": "training"}]})) == []


def test_an_empty_list_with_an_error_is_no_answer() -> None:
    with pytest.raises(NotUnderstood, match="Failed while looking for jobs"):
        parse_json(sample("22.05/squeue-unreachable.json"))


@pytest.mark.parametrize(
    "output",
    ["", "slurm_load_jobs error", "[]", '{"jobs": 3}', '{"jobs": [{}]}', f'{{"jobs": [{{"name": "gtm-{RUNS}"}}]}}'],
)
def test_json_of_another_form_is_refused(output: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_json(output)


@pytest.mark.parametrize("rest", ["", "|RUNNING", "|RUNNING|1|2|n1|zero|gres/gpu=1|None|", "|RUNNING|1|2|n[2-1]|0|||"])
def test_output_with_other_fields_is_refused(rest: str) -> None:
    with pytest.raises(NotUnderstood):
        parse_text(f"0|7|gtm-{RUNS}{rest}\n")


@pytest.mark.parametrize(
    "name",
    [f"gtm-{RUNS}|x", f"x|\n0|8|gtm-{RUNS}", f"\n0|8|gtm-{RUNS}", f"gtm-{RUNS}\n", f"GTM-{RUNS}", f"gtm-{RUNS.hex}"],
)
def test_a_strange_name_makes_no_job_of_ours_and_hides_none(name: str) -> None:
    """Slurm takes any name, and writes as many characters of it as are asked for."""
    assert "Name:41|" in TEXT_ARGUMENTS[-1]
    rest = "RUNNING|1795490951|1795491251|n1|0||None|"

    jobs = parse_text(f"1000|9|{name[:41]}|{rest}\n0|275|gtm-{WAITS} |{rest}\n")

    assert [(job.run_id, job.job_id, job.uid) for job in jobs] == [(WAITS, "275", 0)]


def test_numbers_that_are_not_set_or_infinite_are_none() -> None:
    document = json.loads(sample("23.11/squeue.json"))
    record = next(job for job in document["jobs"] if job["name"] == f"gtm-{WAITS}")
    record["start_time"] = {"set": False, "infinite": False, "number": 5}
    record["end_time"] = {"set": True, "infinite": True, "number": 5}

    job = by_run(parse_json(json.dumps(document)))[WAITS]

    assert job.started_at is job.ended_at is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0, ExitStatus(exit_code=0)),
        (1792, ExitStatus(exit_code=7)),
        (65280, ExitStatus(exit_code=255)),
        (15, ExitStatus(signal=15)),
        (139, ExitStatus(signal=11)),
        (4021, ExitStatus(signal=53)),
    ],
)
def test_a_wait_status_is_an_exit_or_a_signal(status: int, expected: ExitStatus) -> None:
    assert ExitStatus.of_wait_status(status) == expected


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        ({"RUNNING", "CONFIGURING"}, RunState.STARTING),
        ({"COMPLETED", "COMPLETING"}, RunState.RUNNING),
        ({"SUSPENDED"}, RunState.RUNNING),
        ({"PENDING", "REQUEUED"}, RunState.STARTING),
        ({"NODE_FAIL"}, RunState.ENDED),
        ({"REVOKED"}, None),
        ({"SOMETHING_NEW"}, None),
    ],
)
def test_states_and_flags_come_to_one_phase(states: set[str], phase: RunState | None) -> None:
    assert SlurmJob(RUNS, "1", frozenset(states)).phase is phase


def test_of_two_jobs_the_one_that_began_the_run_is_the_run() -> None:
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    refused = SlurmJob(RUNS, "9", frozenset({"FAILED"}))
    first = SlurmJob(RUNS, "10", frozenset({"COMPLETED"}), started_at=moment, placement="n1")
    second = SlurmJob(RUNS, "11", frozenset({"FAILED"}), started_at=moment, placement="n1")

    assert most_telling([refused, first, second], "10") is first
    assert most_telling([refused, first, second], None) is second
    assert most_telling([refused, first], None) is first


def test_a_mark_counts_for_nothing_against_what_slurm_tells() -> None:
    """A job can submit another one with the name of its run, and write that one's number into the mark."""
    moment = datetime(2026, 11, 24, tzinfo=UTC)

    def job(number: str, state: str, seconds: int) -> SlurmJob:
        """Of a running one Slurm tells the end that its limit will make."""
        ended_at = moment + timedelta(seconds=seconds)
        return SlurmJob(RUNS, number, frozenset({state}), started_at=moment, ended_at=ended_at, placement="n1")

    running, long, short = job("7", "RUNNING", 600), job("7", "COMPLETED", 3600), job("8", "COMPLETED", 1)
    assert most_telling([running, short], "8") is running
    assert most_telling([running, job("8", "RUNNING", 86400)], "7") is running
    assert most_telling([long, short], "8") is long
    assert most_telling([long, short], "7") is long
    of_a_moment = job("7", "COMPLETED", 9)
    assert most_telling([of_a_moment, short], "8") is short


def by_run(jobs: list[SlurmJob]) -> dict[UUID, SlurmJob]:
    return {job.run_id: job for job in jobs}
