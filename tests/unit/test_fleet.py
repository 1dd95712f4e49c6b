import pytest

from app.core.config import ConfigurationError
from app.executors.simulated.fleet import GIB, parse_fleet


def test_a_fleet_is_read_in_the_order_written() -> None:
    fleet = parse_fleet("node1=A100x2, gpu-2.lab=RTX4090x1")

    assert [(gpu.slot.node, gpu.slot.index, gpu.gpu_type) for gpu in fleet] == [
        ("node1", 0, "A100"),
        ("node1", 1, "A100"),
        ("gpu-2.lab", 0, "RTX4090"),
    ]
    assert [gpu.memory_bytes for gpu in fleet] == [80 * GIB, 80 * GIB, 24 * GIB]
    assert not any(gpu.contended for gpu in fleet)


def test_the_last_x_parts_type_and_count() -> None:
    assert [gpu.gpu_type for gpu in parse_fleet("n=GTXx2")] == ["GTX", "GTX"]
    assert [gpu.gpu_type for gpu in parse_fleet("n=ax1x2")] == ["ax1", "ax1"]


def test_an_unknown_type_has_some_memory() -> None:
    assert parse_fleet("n=Zeta9x1")[0].memory_bytes == 16 * GIB


def test_identifiers_are_unique_and_survive_a_restart_and_a_change_elsewhere() -> None:
    small, large = parse_fleet("a=A100x2"), parse_fleet("b=T4x2,a=A100x4")

    assert small == large[2:4]
    assert len({gpu.slot.uuid for gpu in large}) == 6


def test_another_type_in_a_place_is_another_gpu() -> None:
    assert parse_fleet("a=A100x1")[0].slot.uuid != parse_fleet("a=T4x1")[0].slot.uuid


@pytest.mark.parametrize("count", [1, 64])
def test_a_node_has_up_to_64_gpus(count: int) -> None:
    assert len(parse_fleet(f"a=A100x{count}")) == count


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a node is missing"),
        ("a=A100x1,", "a node is missing"),
        ("a=A100x1,,b=T4x1", "a node is missing"),
        ("a", "cannot read 'a'"),
        ("a=A100", "cannot read 'a=A100'"),
        ("a=x4", "cannot read 'a=x4'"),
        ("=A100x4", "cannot read '=A100x4'"),
        ("a=A100*4", "cannot read"),
        ("a=A100x-1", "cannot read"),
        ("a=A100x۴", "cannot read"),
        ("a = A100x4", "cannot read"),
        ("a b=A100x4", "cannot read"),
        ("a=A100x4;b=T4x4", "cannot read"),
        ("a=A100x1\nb=T4x1", "cannot read"),
        ("a=A100x0", "must have 1 to 64 GPUs"),
        ("a=A100x65", "must have 1 to 64 GPUs"),
        ("a=A100x1,a=A100x1", "the node a is named twice"),
        ("a=A100x1,a=T4x1", "the node a is named twice"),
    ],
)
def test_an_unreadable_fleet_is_refused_with_advice(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse_fleet(text)

    assert str(refusal.value).startswith(f"SIMULATED_FLEET: {problem}") or problem in str(refusal.value)
    assert "write nodes as node1=A100x8" in str(refusal.value)
    assert "\n" not in str(refusal.value)
