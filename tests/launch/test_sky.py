"""The launcher with SkyPilot, and its task."""

import subprocess

import jsonschema
import pytest
import yaml

from tests.support.launch_schemas import checked
from tests.support.launch_world import LAUNCH
from tests.support.places import ROOT


def sky_yaml() -> dict:
    return yaml.safe_load((LAUNCH / "sky.yaml").read_text())


def test_the_sky_task_is_one_by_its_schema():
    task = sky_yaml()
    checked(task, "sky")
    for place, name in ((task, "file_mount"), (task["resources"], "job_recover"), (task["envs"], "no-name")):
        place[name] = "x"
        with pytest.raises(jsonschema.ValidationError):
            checked(task, "sky")
        del place[name]


def test_sky_gets_all_that_its_task_asks_for(world):
    result = world.launch("sky.sh", PALGAN_SKY_ACCELERATORS="H100:8", PALGAN_NODES="2", PALGAN_SPOT="false")
    assert result.returncode == 0
    (call,) = world.calls
    assert call[:4] == ["sky", "jobs", "launch", "--yes"] and call[-1] == str(LAUNCH / "sky.yaml")
    assert f"--workdir={ROOT}" in call, "from whatever folder"
    assert {"--gpus=H100:8", "--num-nodes=2", "--no-use-spot", "--name=palgan"} <= set(call)
    variables = {word.split("=")[1] for word in call if word.startswith("--env=")}
    assert variables == set(sky_yaml()["envs"])


def test_the_processes_of_a_sky_task_find_each_other(world):
    """On GPUs by the address of the first node; TPUs need none."""
    shows = "bash -c 'echo \"$JAX_COORDINATOR_ADDRESS/$JAX_NUM_PROCESSES/$JAX_PROCESS_ID\"'"
    node = {"SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2", "SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1"}

    def says() -> str:
        environment = world.variables | node | {"PALGAN_COMMAND": shows}
        command = ["bash", "-c", sky_yaml()["run"]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert says() == "//"
    world.program("nvidia-smi")
    assert says() == "10.0.0.1:8482/2/1"
