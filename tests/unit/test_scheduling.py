"""Which approved jobs start next, and why the others wait."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.execution import WaitReason
from app.domain.scheduling import WaitingJob, explain_waits, plan_starts

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
A_DAY = timedelta(hours=24)


def waiting(job_id: int, num_gpus: int, *, hours: float = 1, gpu_type: str = "A100", **more: bool) -> WaitingJob:
    return WaitingJob(job_id, gpu_type, num_gpus, NOW - timedelta(hours=hours), more.get("lacks_quota", False))


def plan(queue: list[WaitingJob], **free: int) -> list[int]:
    return plan_starts(queue, free, now=NOW, starvation_limit=A_DAY)


def test_jobs_start_in_the_order_of_approval() -> None:
    assert plan([waiting(7, 2), waiting(3, 2), waiting(5, 2)], A100=4) == [7, 3]


def test_a_job_that_does_not_fit_lets_smaller_ones_pass() -> None:
    assert plan([waiting(1, 8), waiting(2, 1)], A100=4) == [2]


def test_a_job_that_has_starved_is_passed_by_nobody_of_its_type() -> None:
    queue = [waiting(1, 8, hours=25), waiting(2, 1), waiting(3, 1, gpu_type="T4")]
    assert plan(queue, A100=4, T4=1) == [3]


def test_a_starved_job_starts_once_it_fits() -> None:
    assert plan([waiting(1, 8, hours=25), waiting(2, 1)], A100=9) == [1, 2]


def test_a_job_without_quota_in_this_month_holds_nobody_up() -> None:
    assert plan([waiting(1, 1, hours=99, lacks_quota=True), waiting(2, 1)], A100=1) == [2]


def test_each_job_is_told_the_one_reason_why_it_waits() -> None:
    queue = [waiting(1, 1, lacks_quota=True), waiting(2, 8), waiting(3, 1)]
    by_hand = explain_waits(queue, {"A100": 4}, starts_by_itself=False)
    by_itself = explain_waits(queue, {"A100": 4}, starts_by_itself=True)
    assert by_hand == {1: WaitReason.AWAITING_QUOTA, 2: WaitReason.AWAITING_GPUS, 3: WaitReason.AWAITING_START}
    assert by_itself == {1: WaitReason.AWAITING_QUOTA, 2: WaitReason.AWAITING_GPUS, 3: WaitReason.AWAITING_GPUS}


@given(
    sizes=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(["A100", "T4"]), st.integers(0, 72)), max_size=20),
    free=st.fixed_dictionaries({"A100": st.integers(0, 16), "T4": st.integers(0, 16)}),
)
def test_no_plan_takes_more_gpus_than_are_free(sizes: list[tuple[int, str, int]], free: dict[str, int]) -> None:
    queue = [waiting(number, size, gpu_type=kind, hours=age) for number, (size, kind, age) in enumerate(sizes)]
    started = set(plan_starts(queue, free, now=NOW, starvation_limit=A_DAY))
    for kind, count in free.items():
        assert sum(job.num_gpus for job in queue if job.job_id in started and job.gpu_type == kind) <= count
