"""How a job is put into words and into an exit code."""

from typing import Any

import pytest

from gtm.errors import CommandError, ExitCode
from gtm.jobview import exit_code_of, gpu_hours, summary
from gtm.progress import BAR_CELLS, bar
from gtm.watching import detaching


@pytest.mark.parametrize(
    ("status", "own", "code"),
    [
        ("COMPLETED", 0, 0),
        ("FAILED", 7, 7),
        ("FAILED", None, 1),
        ("FAILED", 0, 1),
        ("CANCELLED", None, 1),
        ("CANCELLED", 143, 1),
        ("REJECTED", None, 1),
    ],
)
def test_a_shell_is_told_how_a_job_ended(status: str, own: int | None, code: int) -> None:
    assert exit_code_of({"status": status, "exit_code": own}) == code


@pytest.mark.parametrize(
    ("hours", "text"),
    [(8.0, "8 GPU-hours"), (1, "1 GPU-hour"), (0.004, "less than 0.01 GPU-hours"), (0.0, "0 GPU-hours"), (None, "-")],
)
def test_gpu_hours_have_two_decimals_at_most(hours: float | None, text: str) -> None:
    assert gpu_hours(hours) == text


def test_a_job_is_summed_up_by_what_it_may_take() -> None:
    job: dict[str, Any] = {"name": "train.sh", "num_gpus": 2, "gpu_type": "A100"}
    job |= {"estimated_hours": 1.5, "reserved_gpu_hours": 3.0}
    assert summary(job) == "train.sh: 2 A100 for up to 1h30m, 3 GPU-hours"


def test_a_bar_is_full_when_all_is_done_and_not_before() -> None:
    assert bar(0.0) == "╌" * BAR_CELLS + "   0%"
    assert bar(1.0) == "━" * BAR_CELLS + " 100%"
    assert bar(0.99).count("━") == BAR_CELLS - 1


def test_ctrl_c_detaches_and_says_the_way_back() -> None:
    with pytest.raises(CommandError) as detached, detaching(4, 5):
        raise KeyboardInterrupt
    assert detached.value.exit_code == ExitCode.INTERRUPTED
    assert detached.value.message == "Detached. Jobs 4 5 go on."
    assert any("gtm cancel 4 5" in line for line in detached.value.details)
