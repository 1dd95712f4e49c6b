"""`scripts/slurm-sandbox`: a Slurm cluster with pretended GPUs on this machine, to try the service with."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.slurm.cluster import SlurmCluster, remove_stale, what_is_missing
from tests.slurm.layout import Options


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/slurm-sandbox", description=__doc__)
    parser.add_argument("verb", choices=["up", "down", "status"])
    parser.add_argument("--gpus", type=int, default=4, help="on each of the two nodes (4)")
    parser.add_argument("--no-accounting", action="store_true", help="without slurmdbd, and so without sacct")
    arguments = parser.parse_args()
    directory = Path(os.environ.get("SLURM_SANDBOX") or Path(tempfile.gettempdir()) / "gpu-task-manager-slurm")
    cluster = SlurmCluster.join(directory)
    if arguments.verb == "down":
        if cluster is not None:
            cluster.end()
        return
    if cluster is None and arguments.verb == "up":
        cluster = start(directory, Options(gpus=arguments.gpus, accounting=not arguments.no_accounting))
    if cluster is None:
        parser.exit(1, f"no cluster runs in {directory}: scripts/slurm-sandbox up\n")
    settings = {"EXECUTOR": "slurm", **cluster.environment, "SLURM_LOG_DIR": str(cluster.job_logs)}
    advice = " ".join([*(f"{name}={value}" for name, value in settings.items()), "scripts/serve"])
    sys.stdout.write(f"{cluster.run('sinfo', '-N')}\n{cluster.run('squeue')}\nServe with it:\n{advice}\n")


def start(directory: Path, options: Options) -> SlurmCluster:
    if missing := what_is_missing(options):
        raise SystemExit(missing)
    if directory.exists():
        if directory.is_symlink() or directory.owner() != "root":
            raise SystemExit(f"{directory} is somebody else's: set SLURM_SANDBOX to another directory")
        remove_stale(directory)
    directory.mkdir(mode=0o755)
    return SlurmCluster.start(options, directory, stays=True)


if __name__ == "__main__":
    main()
