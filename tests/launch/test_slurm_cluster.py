"""The launcher on SLURM with a real cluster of one node, on which two tasks train."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.launch_tools import needs, takes_minutes
from tests.support.launch_world import LAUNCH
from tests.support.places import QUICK_COMPILATION, ROOT
from tests.support.slurm_cluster import slurm_cluster
from tests.support.waiting import wait_for

pytestmark = [needs("sbatch", "slurmctld", "slurmd", "munged"), takes_minutes]
SMALL = [
    "--config.batch_size=4", "--config.resolution=64", "--config.net.attention=none", "--config.net.norm=batch",
    "--config.net.spectral=false", "--config.data.train=synthetic", "--config.data.val=", "--config.log_every=1steps",
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    with slurm_cluster(folder) as variables:
        training = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_COMPILATION, "PALGAN_MOUNT": str(folder)}
        job = {"PALGAN_GPUS_PER_NODE": "2", "PALGAN_CPUS_PER_GPU": "1", "PALGAN_TIME": "30", "PALGAN_TFDS_DIR": "none"}
        yield folder, {**os.environ, **variables, **training, **job, "PALGAN_CONFIG": "tiny"}


def call(environment: dict[str, str], *words: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=1800)


def log_of(done: subprocess.CompletedProcess, name: str) -> str:
    """The job's log, which SLURM writes beside the launcher's checkout; it is removed."""
    number = done.stdout.split("Submitted batch job ")[1].split()[0]
    path = ROOT / f"{name}-{number}.log"
    text = path.read_text()
    path.unlink()
    return text


def test_sbatch_would_take_the_job_and_no_misspelled_one(cluster):
    _, environment = cluster
    script = call(environment, LAUNCH / "slurm.sh", "--dry-run").stdout
    test = script.replace("sbatch ", "sbatch --test-only ", 1)
    process = call(environment, "bash", "-c", test)
    assert process.returncode == 0 and "to start at" in process.stderr, process.stderr
    assert call(environment, "bash", "-c", test.replace("--gpus-per-node", "--gpus-for-node")).returncode != 0


def test_bad_input_ends_the_job_and_the_launcher_with_2(cluster):
    _, environment = cluster
    process = call(environment | {"PALGAN_NAME": "bad"}, LAUNCH / "slurm.sh", "--wait", "--", "--config.bath_size=3")
    assert process.returncode == 2, process.stderr
    log = log_of(process, "bad")
    assert "did you mean batch_size?" in log and "the training refused its input" in log


def test_two_tasks_train_are_stopped_and_go_on_in_the_next_turn(cluster):
    folder, environment = cluster
    environment = environment | {"PALGAN_NAME": "two"}
    with subprocess.Popen(
        [LAUNCH / "slurm.sh", "--wait", "--", *SMALL, "--config.total=300steps"],
        env=environment, stdout=subprocess.PIPE, text=True,
    ) as launcher:  # fmt: skip
        metrics = folder / "runs/two/metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") > 3, launcher)
        # What SLURM sends two minutes before the end of a job's time: to its tasks, and not to the script.
        call(environment, "scancel", "--signal=TERM", "--name=two").check_returncode()
        output = launcher.communicate(timeout=1800)[0]
    assert launcher.returncode == 0, "of the last turn"
    log = log_of(subprocess.CompletedProcess([], 0, output), "two")
    assert "process 1 of 2" in log and "launch: turn 1 ended with 75; the next one goes on" in log
    assert "launch: finished after 2 turn(s)" in log
    steps = [line["step"] for line in map(json.loads, metrics.read_text().splitlines()) if "loss/g" in line]
    assert steps == list(range(1, 301)), "none lost, none twice"
