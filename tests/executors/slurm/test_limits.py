"""How long Slurm can let a run hold its GPUs, from what Slurm says of its settings."""

import pytest

from app.domain.execution import TimeKeeping
from app.executors.slurm.limits import parse
from app.executors.slurm.queue import NotUnderstood
from tests.executors.slurm.samples_of import sample

CONFIG = sample("22.05/config.txt")
PARTITIONS = sample("22.05/partitions.txt")
WITH_A_LIMIT = PARTITIONS.replace("OverTimeLimit=NONE", "OverTimeLimit=5").replace("Name=gpu", "Name=long")


def test_a_run_holds_its_gpus_until_it_is_looked_at_and_killed() -> None:
    """KillWait is 3 s in the sandbox; a limit of one second is one of a minute."""
    keeping = parse(CONFIG, PARTITIONS, used=())
    assert keeping == TimeKeeping(step_seconds=60, ending_seconds=33)
    assert keeping.longest_hold_seconds(1) == 93
    assert keeping.longest_hold_seconds(60) == 93
    assert keeping.longest_hold_seconds(61) == 153


@pytest.mark.parametrize(
    ("used", "over_time"), [((), 5), (("long", "gpu"), 5), (("long",), 5), (("gpu",), 2), (("other",), 2)]
)
def test_the_most_that_a_partition_allows_counts_where_jobs_can_come_into_it(
    used: tuple[str, ...], over_time: int
) -> None:
    config = CONFIG.replace("= 0 min", "= 2 min")
    assert parse(config, PARTITIONS + WITH_A_LIMIT, used=used).ending_seconds == 33 + over_time * 60


def test_time_without_an_end_is_none_to_reserve() -> None:
    config = CONFIG.replace("= 0 min", "= UNLIMITED")
    assert parse(config, PARTITIONS, used=()).ending_seconds == 33


def test_what_says_nothing_of_the_time_to_be_killed_is_not_understood() -> None:
    with pytest.raises(NotUnderstood, match="KillWait"):
        parse("slurm_load_ctl_conf error", "", used=())
