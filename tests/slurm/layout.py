"""What a sandbox cluster is made of: its options, its files, and the text of Slurm's configuration."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

CLUSTER = "sandbox"
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurm-wlm",
    "slurmd": "slurm-wlm",
    "sbatch": "slurm-wlm",
}
ACCOUNTING_PACKAGES = {"slurmdbd": "slurmdbd", "sacctmgr": "slurm-wlm", "mariadbd": "mariadb-server"}


@dataclass(frozen=True, slots=True)
class Options:
    """What kind of cluster. Its nodes are processes on this machine; their GPUs and CPUs are pretended."""

    nodes: int = 2
    gpus: int = 4
    cpus: int = 64
    gpu_type: str = "a100"
    accounting: bool = True
    """With slurmdbd, and so with sacct."""
    enforces_accounts: bool = False
    """Refuses accounts that it does not know, as most real clusters do."""
    cgroups: bool = False
    """Limits of memory by cgroup v1, and no process escapes its job."""
    kill_wait_seconds: int = 3
    slurmd_timeout_seconds: int = 20
    min_job_age_seconds: int = 300
    """For how long slurmctld, and so squeue, remembers a job that has ended."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]


@dataclass(frozen=True, slots=True)
class Ports:
    slurmctld: int
    slurmdbd: int
    slurmd: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of a cluster lies: below one directory that other users can enter."""

    directory: Path

    @property
    def configuration(self) -> Path:
        return self.directory / "slurm.conf"

    @property
    def control(self) -> Path:
        """The keeper's socket. It is there when, and only while, the cluster is up."""
        return self.directory / "keeper.socket"

    @property
    def munge_socket(self) -> Path:
        return self.directory / "munge" / "munge.socket"

    @property
    def database_socket(self) -> Path:
        return self.directory / "database" / "socket"

    @property
    def output(self) -> Path:
        """What the daemons say."""
        return self.directory / "output"

    @property
    def job_logs(self) -> Path:
        """A folder for the logs of jobs, which is shared with the nodes, as they are on this machine."""
        return self.directory / "job-logs"

    def device(self, number: int) -> Path:
        return self.directory / "dev" / f"nvidia{number}"

    def log_of(self, daemon: str) -> Path:
        return self.output / f"{daemon}.log"


def missing_packages(options: Options) -> list[str]:
    """Debian's packages that a cluster needs and that are not installed."""
    programs = PACKAGES | (ACCOUNTING_PACKAGES if options.accounting else {})
    path = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
    return sorted({package for program, package in programs.items() if shutil.which(program, path=path) is None})


def configuration_files(layout: Layout, options: Options, ports: Ports, host: str) -> Iterator[tuple[str, str]]:
    """Names below the cluster's directory, and what stands in these files."""
    yield "slurm.conf", _slurm_conf(layout, options, ports, host)
    yield "gres.conf", _gres_conf(layout, options)
    if options.cgroups:
        yield "cgroup.conf", _CGROUP_CONF
    if options.accounting:
        yield "slurmdbd.conf", _slurmdbd_conf(layout, ports)


def _slurm_conf(layout: Layout, options: Options, ports: Ports, host: str) -> str:
    nodes = "\n".join(
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={options.cpus} RealMemory=16000 "
        f"Gres=gpu:{options.gpu_type}:{options.gpus} State=UNKNOWN"
        for name, port in zip(options.node_names, ports.slurmd, strict=True)
    )
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports.slurmctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={layout.munge_socket}
StateSaveLocation={layout.directory}/state
SlurmdSpoolDir={layout.directory}/spool-%n
SlurmctldPidFile={layout.directory}/slurmctld.pid
SlurmdPidFile={layout.directory}/slurmd-%n.pid
ProctrackType=proctrack/{"cgroup" if options.cgroups else "linuxproc"}
TaskPlugin=task/{"cgroup" if options.cgroups else "none"}
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout={options.slurmd_timeout_seconds}
KillWait={options.kill_wait_seconds}
InactiveLimit=0
MinJobAge={options.min_job_age_seconds}
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=64
SlurmdParameters=config_overrides
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
{_accounting(layout, options, ports)}
{nodes}
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def _accounting(layout: Layout, options: Options, ports: Ports) -> str:
    if not options.accounting:
        return "AccountingStorageType=accounting_storage/none"
    # With munge the "password" is the path of its socket.
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.slurmdbd}
AccountingStoragePass={layout.munge_socket}
AccountingStorageTRES=gres/gpu,gres/gpu:{options.gpu_type}
{"AccountingStorageEnforce=associations" if options.enforces_accounts else ""}"""


def _gres_conf(layout: Layout, options: Options) -> str:
    return (
        f"NodeName={','.join(options.node_names)} Name=gpu Type={options.gpu_type} "
        f"File={layout.device(0).with_name('nvidia')}[0-{options.gpus - 1}]\n"
    )


_CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
ConstrainDevices=no
"""


def _slurmdbd_conf(layout: Layout, ports: Ports) -> str:
    # libmariadb finds the socket of "localhost" by the variable MYSQL_UNIX_PORT.
    return f"""\
AuthType=auth/munge
AuthInfo=socket={layout.munge_socket}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports.slurmdbd}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
PidFile={layout.directory}/slurmdbd.pid
"""
