"""What tests on a real Slurm begin with. A conftest imports the fixtures that its tests use."""

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import SlurmCluster, shared_cluster, what_is_missing
from tests.slurm.layout import Options

SHARED = Options(gpus=32)
"""So many that no test waits for another's."""


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """One for all workers of a run. Who wants to kill a part of it starts one of its own."""
    need_slurm(SHARED)
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent
    with shared_cluster(directory / "slurm", SHARED) as cluster:
        yield cluster


def need_slurm(options: Options) -> None:
    """Leave the test out where there can be no such cluster, or fail where CI is set: nothing is left out there."""
    if missing := what_is_missing(options):
        if "CI" in os.environ:
            pytest.fail(missing)
        pytest.skip(missing)


def announce(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Slurm's commands find the cluster, for the time of a test."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
