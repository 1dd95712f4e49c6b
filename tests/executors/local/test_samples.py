from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.domain.execution import GpuSlot
from app.executors.local import samples
from app.executors.local.devices import Reading

BEGAN = datetime(2026, 3, 21, 8, 30, tzinfo=UTC)
SLOTS = [GpuSlot("here", 0, "GPU-0"), GpuSlot("here", 3, "GPU-3")]
FIVE_SECONDS = timedelta(seconds=5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples"


def append(path: Path, number: int) -> None:
    reading = Reading(0.5, 2**33, power_watts=300.5, temperature_celsius=71)
    samples.append(path, BEGAN + number * FIVE_SECONDS, SLOTS, dict.fromkeys(SLOTS, reading))


def test_what_was_measured_is_read_again(path: Path) -> None:
    samples.append(path, BEGAN, SLOTS, {SLOTS[1]: Reading(0.25, 7), SLOTS[0]: Reading(1.0, 2**40, 99.5, 55)})

    first, second = samples.read(path, SLOTS, limit=10)

    assert (first.at, first.slot, first.utilisation, first.memory_used_bytes) == (BEGAN, SLOTS[0], 1.0, 2**40)
    assert (first.power_watts, first.temperature_celsius) == (99.5, 55)
    assert (second.slot, second.utilisation, second.memory_used_bytes) == (SLOTS[1], 0.25, 7)
    assert (second.power_watts, second.temperature_celsius) == (None, None)


def test_a_run_without_samples_has_none(path: Path) -> None:
    assert samples.read(path, SLOTS, limit=10) == []


def test_a_sample_that_a_crash_cut_short_is_overwritten(path: Path) -> None:
    append(path, 0)
    with path.open("ab") as file:
        file.write(b"half a record")

    append(path, 1)

    assert [sample.at for sample in samples.read(path, SLOTS, limit=10)] == [BEGAN] * 2 + [BEGAN + FIVE_SECONDS] * 2


def test_a_few_of_many_samples_are_evenly_apart_and_end_with_the_last(path: Path) -> None:
    for number in range(100):
        append(path, number)

    chosen = samples.read(path, SLOTS, limit=21)

    moments = [sample.at for sample in chosen[::2]]
    assert len(chosen) == 20
    assert [sample.slot for sample in chosen[:2]] == SLOTS
    assert moments == [BEGAN + number * FIVE_SECONDS for number in range(9, 100, 10)]
    assert samples.read(path, SLOTS, limit=1) == []


def test_a_long_run_keeps_a_small_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_MOMENTS", 64)
    sizes = []
    for number in range(1000):
        append(path, number)
        sizes.append(path.stat().st_size)

    kept = samples.read(path, SLOTS, limit=10**6)

    assert max(sizes) < 64 * 2 * 32
    assert kept[0].at == BEGAN
    assert 64 <= len(kept) < 128
    assert [sample.at for sample in kept] == sorted(sample.at for sample in kept)


def test_the_older_a_run_the_further_apart_its_samples() -> None:
    assert samples.interval_for(timedelta(0)) == samples.interval_for(timedelta(hours=5)) == FIVE_SECONDS
    for days in (1, 10, 30):
        elapsed = timedelta(days=days)
        assert samples.MOST_MOMENTS / 2 < elapsed / samples.interval_for(elapsed) <= samples.MOST_MOMENTS


def test_no_link_is_followed(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        append(path, 0)
