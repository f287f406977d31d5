"""The launcher on Ray with a real Ray, on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.launch_tools import ENVIRONMENT, needs, takes_minutes
from tests.support.launch_world import LAUNCH
from tests.support.places import QUICK_COMPILATION, ROOT

pytestmark = [needs("ray"), takes_minutes]
SMALL = [
    "--config.batch_size=4", "--config.resolution=64", "--config.net.attention=none", "--config.net.norm=batch",
    "--config.net.spectral=false", "--config.data.train=synthetic", "--config.data.val=", "--config.log_every=1steps",
    "--config.total=3steps",
]  # fmt: skip
STOPPED_ONCE = 'test -e "$0/stopped" || { sleep 2; touch "$0/stopped"; exit 75; }'


@pytest.fixture
def on_two_tasks(tmp_path: Path):
    def run(*command: str) -> subprocess.CompletedProcess:
        words = [str(ENVIRONMENT / "python"), str(LAUNCH / "ray_tasks.py"), "--nodes", "2", "--attempts", "3", "--"]
        variables = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK_COMPILATION, "RAY_AUTH_MODE": "disabled"}
        # On a busy machine, the half minute that Ray waits for its own processes is short.
        variables |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "600"}
        environment = {**os.environ, **variables, "HOME": str(tmp_path)}
        return subprocess.run(
            [*words, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1800
        )

    return run


def test_two_tasks_train_together(on_two_tasks, tmp_path):
    run = tmp_path / "run"
    training = ["-m", "palgan_jax.main", "--config", "tiny", "--workdir", str(run), "--distributed=on", *SMALL]
    process = on_two_tasks(sys.executable, *training)
    assert process.returncode == 0, process.stderr
    assert "process 1 of 2" in process.stdout + process.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss/g" in line] == [1, 2, 3]


def test_a_run_that_was_stopped_is_begun_again_and_bad_input_is_not(on_two_tasks, tmp_path):
    second_run = on_two_tasks("bash", "-c", STOPPED_ONCE, str(tmp_path))
    assert second_run.returncode == 0 and second_run.stderr.count("ended with 75") == 1
    refusal = on_two_tasks(sys.executable, "-m", "palgan_jax.main", "--config", "tiny", "--config.bath_size=1")
    assert refusal.returncode == 2 and "attempt" not in refusal.stderr
