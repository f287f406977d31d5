"""A SLURM cluster of one node, this machine, whose files are in one folder; Debian's packages bring the programs."""

import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.launch_tools import find
from tests.support.waiting import wait_for

CONFIG = """ClusterName=palgan
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 Gres=gpu:2
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
"""Two devices that every machine has stand for GPUs."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Starts the cluster, and yields the variables that lead sbatch and the others to it."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(CONFIG.format(host=host, folder=folder, control=free_port(), node=free_port()))
    gpus = "".join(f"NodeName={host} Name=gpu File=/dev/{name}\n" for name in ("null", "zero"))
    (folder / "gres.conf").write_text(gpus)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    variables = {"SLURM_CONF": str(folder / "slurm.conf")}
    files = [
        f"--{name}={folder}/munge.{end}"
        for name, end in (
            ("socket", "socket"), ("key-file", "key"), ("pid-file", "pid"), ("log-file", "log"), ("seed-file", "seed"),
        )
    ]  # fmt: skip

    daemons: list[subprocess.Popen] = []

    def start(name: str, *words: str) -> None:
        daemons.append(subprocess.Popen([find(name) or name, *words], env=variables))

    try:
        start("munged", "--foreground", "--force", *files)
        wait_for(lambda: (folder / "munge.socket").exists())
        start("slurmctld", "-D", "-c")
        start("slurmd", "-D", "-N", host)
        look = [find("sinfo") or "sinfo", "--noheader"]
        wait_for(lambda: "idle" in subprocess.run(look, env=variables, capture_output=True, text=True).stdout)
        yield variables
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(300)
