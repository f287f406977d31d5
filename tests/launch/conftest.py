"""Worlds in which launchers run: with a cloud of two machines, or a cluster of SLURM."""

import pytest

from tests.support.launch_world import CLOUD, TRAINING, World
from tests.support.places import ROOT


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def cloud(world) -> World:
    world.program("gcloud", CLOUD)
    world.program(
        "git", f'for word; do case $word in --output=*) tar -C {ROOT} -czf "${{word#*=}}" launch ;; esac; done'
    )
    world.program("python", TRAINING + "sleep 0.1\n")
    for name in ("uv", "gcsfuse", "sudo"):
        world.program(name)
    world.program("mountpoint", "exit 1")
    for machine in (0, 1):
        (world.folder / f"worker{machine}").mkdir()
    world.lines("vm", "NOT_FOUND")
    return world


BATCH = """while [[ $1 != *.sbatch ]]; do
  case $1 in
    --cpus-per-task=*) export SLURM_CPUS_PER_TASK=${1#*=} ;;
    --chdir=*) cd "${1#*=}" ;;
    --export=ALL,*) export "${1#*ALL,}" ;;
  esac
  shift
done
export SLURM_JOB_ID=7 TMPDIR=$HERE
for turn in 0 1 2 3 4 5; do
  rm -f "$HERE/again"
  code=0; SLURM_RESTART_COUNT=$turn bash "$@" || code=$?
  [[ -e $HERE/again ]] || exit "$code"
done
"""
"""What stands for sbatch: runs the job at once, and again where it asked for it."""


@pytest.fixture
def slurm(world) -> World:
    world.program("sbatch", BATCH)
    world.program("srun", 'while [[ $1 == -* ]]; do shift; done; "$@"')
    world.program("scontrol", 'touch "$HERE/again"')
    world.program("python", TRAINING)
    world.variables |= {"PALGAN_PYTHON": "python", "PALGAN_MOUNT": str(world.folder)}
    return world
