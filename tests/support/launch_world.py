"""A folder with programs of a cloud or a cluster that write down how they were called and do what a test says."""

import subprocess
from pathlib import Path

from tests.support.places import ROOT

LAUNCH = ROOT / "launch"
GOOGLE = {"PALGAN_PROJECT": "colors", "PALGAN_ZONE": "us-west4-a", "PALGAN_BUCKET": "pictures"}
IMAGE = {"PALGAN_IMAGE": "registry/palgan:1"}
NEEDED = {
    "tpu_vm.sh": GOOGLE,
    "queued_resource.sh": GOOGLE,
    "xpk.sh": GOOGLE | IMAGE | {"PALGAN_CLUSTER": "tpus"},
    "gke_jobset.sh": IMAGE | {"PALGAN_BUCKET": "pictures"},
    "slurm.sh": {},
    "sky.sh": {"PALGAN_BUCKET": "pictures"},
}
"""The launchers, and what has to be given to each."""
PROGRAM = {"tpu_vm.sh": "gcloud", "queued_resource.sh": "gcloud", "gke_jobset.sh": "kubectl", "slurm.sh": "sbatch"} | {
    "xpk.sh": "xpk",
    "sky.sh": "sky",
}
PROGRAMS = ("gcloud", "xpk", "kubectl", "sbatch", "srun", "scontrol", "scancel", "sky", "docker", "git")
RECORD = """#!/bin/bash
exec 9>> "$CALLS"; flock 9; printf '%s\\0' "$(basename "$0")" "$@" $'\\n' >&9; exec 9>&-
next() {  # the next line of a file, of which the last one stays; machines ask at the same time
  flock "$HERE" sh -c 'head -n 1 "$1"; if [ "$(wc -l < "$1")" -gt 1 ]; then sed -i 1d "$1"; fi' - "$1"
}
"""
TRAINING = """case $(next "$HERE/training") in
  finished) echo "finished at step 12; checkpoints are in it" >&2 ;;
  stopped) echo "stopped early and saved step 5" >&2; exit 75 ;;
  crashed) exit 1 ;;
  refused) echo "palgan: error: that is no config." >&2; exit 2 ;;
esac
"""
"""What stands for python: one line of HERE/training says how a training ends."""


class World:
    """A folder with the programs, first on the PATH; HERE in their bodies is it."""

    def __init__(self, folder: Path):
        self.folder, self.bin, self.home = folder, folder / "bin", folder / "home"
        self.bin.mkdir(), self.home.mkdir()
        self.variables = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(self.home),
            "HERE": str(folder),
            "CALLS": str(folder / "calls"),
            "PALGAN_POLL_SECONDS": "0",
        }
        for name in PROGRAMS:
            self.program(name)

    def program(self, name: str, body: str = "") -> None:
        path = self.bin / name
        path.write_text(RECORD + body)
        path.chmod(0o755)

    def lines(self, name: str, *lines: str) -> None:
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        command = ["bash", str(LAUNCH / script), *arguments]
        environment = self.variables | variables
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=600)

    def launch(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return self.run(script, *arguments, **NEEDED[script] | variables)

    @property
    def calls(self) -> list[list[str]]:
        path = Path(self.variables["CALLS"])
        calls = path.read_text().split("\n\0")[:-1] if path.exists() else []
        return [call.split("\0")[:-1] for call in calls]

    def count(self, program: str, *words: str) -> int:
        return sum(call[0] == program and all(word in call for word in words) for call in self.calls)


CLOUD = """case "$*" in
  *"tpu-vm describe"*)
    state=$(next "$HERE/vm")
    case $state in NOT_FOUND | UNAVAILABLE) echo "ERROR: (gcloud) $state: it" >&2; exit 1 ;; esac
    echo "$state" ;;
  *"tpu-vm create"*) echo READY > "$HERE/vm" ;;
  *"queued-resources describe"*)
    state=$(next "$HERE/queue")
    case $state in NOT_FOUND | UNAVAILABLE) echo "ERROR: (gcloud) $state: it" >&2; exit 1 ;; esac
    echo "$state"
    if [[ $state == ACTIVE ]]; then echo READY > "$HERE/vm"; fi ;;
  *"tpu-vm scp"*) for home in "$HERE"/worker*; do cp "$5" "$home/${6#*:}" || exit; done ;;
  *"tpu-vm ssh"*)
    for word; do case $word in --worker=*) worker=${word#*=} ;; --command=*) command=${word#*=} ;; esac; done
    [[ $worker != all ]] || worker='*'
    for home in "$HERE"/worker$worker; do (cd "$home" && HOME=$home bash -c "$command") || code=$?; done
    exit "${code:-0}" ;;
esac
"""
"""A slice of two machines: folders, in which what comes through ssh is really run."""
