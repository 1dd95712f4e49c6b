"""`gtm quota` and `gtm gpus`."""

from datetime import timedelta

import pytest

from gtm.quotaview import BAR_CELLS, bar, change
from tests.client.runner import Gtm
from tests.factories import Person
from tests.services.desk import Desk

pytestmark = pytest.mark.anyio


async def test_the_quota_is_a_month_in_numbers(sara: Gtm, desk: Desk, user: Person) -> None:
    await desk.submit(user, num_gpus=2)
    outcome = sara("quota")
    assert "Granted\t1000 GPU-hours\n" in outcome.out
    assert "Reserved\t2 GPU-hours\n" in outcome.out
    assert outcome.err == "998 GPU-hours left.\nNext: gtm quota --entries\n"
    assert sara("quota", "--json").json["available_hours"] == 998


async def test_the_ledger_says_why_each_number_moved(sara: Gtm, desk: Desk, user: Person) -> None:
    job_id = await desk.submit(user, num_gpus=2)
    heading, reserved, granted = sara("quota", "--entries").lines
    assert heading.split("\t")[1:6] == ["What", "Job", "Granted", "Reserved", "Used"]
    assert reserved.split("\t")[1:6] == ["RESERVE", f"{job_id} train-resnet", "-", "+2", "-"]
    assert granted.split("\t")[1:6] == ["GRANT", "-", "+1000", "-", "-"]
    assert [entry["kind"] for entry in sara("quota", "--entries", "--limit", "1", "-o", "jsonl").jsonl] == ["RESERVE"]


async def test_on_a_terminal_the_quota_has_a_bar(sara: Gtm, desk: Desk, user: Person) -> None:
    await desk.submit(user)
    with sara.on_terminal("quota") as terminal:
        assert terminal.wait() == 0
    assert "▒" + "·" * (BAR_CELLS - 1) in terminal.seen


def test_a_bar_shows_every_part_that_is_there() -> None:
    assert bar({"limit_hours": 100, "used_hours": 50, "reserved_hours": 25}) == "█" * 20 + "▒" * 10 + "·" * 10
    assert bar({"limit_hours": 1000, "used_hours": 0.1, "reserved_hours": 0}) == "█" + "·" * 39
    assert bar({"limit_hours": 0, "used_hours": 0, "reserved_hours": 0}) == "·" * 40
    assert bar({"limit_hours": 10, "used_hours": 30, "reserved_hours": 10}) == "█" * 30 + "▒" * 10


def test_a_change_has_its_sign() -> None:
    assert [change(hours) for hours in (8.0, -2.5, 0.0)] == ["+8", "-2.5", "-"]


async def test_gpu_types_are_listed_with_what_is_free(sara: Gtm, desk: Desk, user: Person, admin: Person) -> None:
    long = timedelta(hours=300)
    job_id = await desk.submit(user, gpu_type="V100", num_gpus=3, command="sleep 1080000", time_limit=long)
    await desk.approve(admin, job_id)
    await desk.start(admin, job_id)
    outcome = sara("gpus")
    assert "V100\t4\t1\t32 GiB" in outcome.lines
    assert "Next: gtm submit --gpus A100:1 --time 1h SCRIPT" in outcome.err
    assert sara("gpus", "-o", "id").lines == ["A100", "T4", "V100"]


async def test_each_gpu_is_for_admins(sara: Gtm, reza: Gtm) -> None:
    sara("gpus", "--each", code=4)
    heading, first, *_ = reza("gpus", "--each").lines
    assert heading.split("\t")[:4] == ["GPU", "ID", "Type", "State"]
    assert first.split("\t")[0] == "node1:0"
