import pytest

from app.executors.slurm.gres import Gpus, parse_gpus, parse_indexes
from app.executors.slurm.hostlist import expand
from app.executors.slurm.nodes import parse
from app.executors.slurm.queue import NotUnderstood
from tests.executors.slurm.samples_of import sample


def test_every_gpu_of_the_cluster_is_told_with_its_use() -> None:
    gpus = parse(sample("22.05/sinfo.txt"))

    assert [gpu.slot.uuid for gpu in gpus] == [f"slurm:{node}:{index}" for node in ("n1", "n2") for index in range(4)]
    assert {gpu.gpu_type for gpu in gpus} == {"a100"}
    assert [gpu.busy for gpu in gpus] == [True, True, True, True, True, True, False, False]
    assert not any(gpu.offline_reason for gpu in gpus)


def test_a_drained_node_tells_why_by_whom_and_since_when() -> None:
    gpus = parse(sample("22.05/sinfo-draining.txt"))

    assert {gpu.offline_reason for gpu in gpus if gpu.slot.node == "n1"} == {None}
    assert {gpu.offline_reason for gpu in gpus if gpu.slot.node == "n2"} == {
        "drained: fan broken | replaced soon (root, 2026-11-24 03:29 UTC)"
    }


@pytest.mark.parametrize(
    ("state", "offline"),
    [
        ("idle", None),
        ("mixed+planned", None),
        ("allocated", None),
        ("idle~", None),
        ("idle+cloud+powered_down", None),
        ("down*", "down"),
        ("idle*", "not responding"),
        ("mixed+drain", "drained"),
        ("idle+maint", "in maintenance"),
        ("maint$", "in maintenance"),
        ("reserved", "reserved"),
        ("down+not_responding", "down"),
        ("idle+invalid_reg", "not as configured"),
        ("unknown", "in an unknown state"),
    ],
)
def test_states_in_which_slurm_gives_a_node_to_nobody_are_told(state: str, offline: str | None) -> None:
    gpus = parse(f"n1|{state}|gpu:2|gpu:0|Unknown|Unknown|none|\n")

    assert [gpu.offline_reason for gpu in gpus] == [offline] * 2


def test_a_node_in_two_partitions_is_told_once_and_one_of_the_future_never() -> None:
    line = "n[1-2]|idle|gpu:h100:1(S:0-1)|gpu:h100:0(IDX:N/A)|Unknown|Unknown|none|\n"

    assert [gpu.slot.node for gpu in parse(line + line + line.replace("n[1-2]|idle", "n3|future"))] == ["n1", "n2"]


def test_types_on_one_node_have_indexes_one_after_the_other() -> None:
    gres, used = "gpu:a100:2(S:0),gpu:t4:2(S:1),nic:1", "gpu:a100:1(IDX:1),gpu:t4:1(IDX:3),nic:0"

    gpus = parse(f"n1|mixed|{gres}|{used}|Unknown|Unknown|none|\n")

    assert [(gpu.gpu_type, gpu.slot.index, gpu.busy) for gpu in gpus] == [
        ("a100", 0, False),
        ("a100", 1, True),
        ("t4", 2, False),
        ("t4", 3, True),
    ]


def test_without_indexes_the_gpus_in_use_are_counted() -> None:
    gpus = parse("n1|mixed|gpu:4|gpu:3|Unknown|Unknown|none|\n")

    assert [gpu.busy for gpu in gpus] == [True, True, True, False]
    assert {gpu.gpu_type for gpu in gpus} == {"gpu"}


def test_a_cluster_without_gpus_has_none() -> None:
    assert parse("n1|idle|(null)|gpu:0|Unknown|Unknown|none|\n\n") == []


@pytest.mark.parametrize("output", ["sinfo: error", "n1|idle|gpu:1", "n[2-1]|idle|gpu:1|gpu:0|Unknown|Unknown|none|"])
def test_other_fields_are_refused(output: str) -> None:
    with pytest.raises(NotUnderstood):
        parse(output)


@pytest.mark.parametrize(
    ("hostlist", "names"),
    [
        ("", []),
        ("n1", ["n1"]),
        ("n1,gpu-b", ["n1", "gpu-b"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("n[08-11]", ["n08", "n09", "n10", "n11"]),
        ("r[1-2]n[01-02]x,z", ["r1n01x", "r1n02x", "r2n01x", "r2n02x", "z"]),
    ],
)
def test_short_names_of_nodes_are_written_out(hostlist: str, names: list[str]) -> None:
    assert expand(hostlist) == names


@pytest.mark.parametrize("hostlist", ["n[2-1]", "n[x]", "n[1-999999999]"])
def test_ranges_that_are_none_are_refused(hostlist: str) -> None:
    with pytest.raises(ValueError, match=r"no range|invalid literal"):
        expand(hostlist)


@pytest.mark.parametrize(
    ("gres", "gpus"),
    [
        ("gpu:a100:4", [Gpus("a100", 4, frozenset())]),
        ("gpu:8(S:0-1)", [Gpus("gpu", 8, frozenset())]),
        ("gres:gpu:a100:1", [Gpus("a100", 1, frozenset())]),
        ("gres/gpu:a100:1", [Gpus("a100", 1, frozenset())]),
        ("gpu:a100:3(IDX:0,2-3)", [Gpus("a100", 3, frozenset({0, 2, 3}))]),
        ("gpu:a100:0(IDX:N/A)", [Gpus("a100", 0, frozenset())]),
        ("nic:2,shard:gpu:4,(null)", []),
    ],
)
def test_resources_are_read(gres: str, gpus: list[Gpus]) -> None:
    assert parse_gpus(gres) == gpus


def test_the_indexes_of_all_gpus_are_read() -> None:
    assert parse_indexes("gpu:a100:1(IDX:0),gpu:t4:2(IDX:4-5)") == {0, 4, 5}
