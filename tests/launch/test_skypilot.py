"""The launcher with SkyPilot, read by the real SkyPilot."""

import json
import shlex
import subprocess

import pytest

from tests.support.launch_tools import ENVIRONMENT, needs
from tests.support.launch_world import World
from tests.support.places import ROOT

pytestmark = needs("sky")
PARSE = """
import json, os, sys
import click, sky, yaml
from sky.client.cli.command import cli
command, words = cli, sys.argv[1:]
while isinstance(command, click.Group):
    command = command.get_command(click.Context(command), words.pop(0))
given = command.make_context(command.name, words).params
if not given.get("entrypoint"):
    sys.exit()
(path,) = given["entrypoint"]
task = sky.Task.from_yaml_config(
    {**yaml.safe_load(open(path)), "workdir": given["workdir"], "num_nodes": given["num_nodes"]},
    env_overrides=given["env"],
)
(resources,) = task.resources
(mount,) = task.storage_mounts
print(json.dumps({
    "workdir": os.path.abspath(task.workdir), "envs": task.envs, "nodes": task.num_nodes,
    "mount": mount, "source": task.storage_mounts[mount].source, "mode": str(task.storage_mounts[mount].mode.value),
    "recovery": resources.job_recovery, "gpus": given["gpus"], "spot": given["use_spot"],
}, default=str))
"""


def parsed(line: str, world: World) -> subprocess.CompletedProcess:
    command = [str(ENVIRONMENT / "python"), "-c", PARSE, *shlex.split(line)[1:]]
    environment = {"HOME": str(world.home), "PATH": f"{ENVIRONMENT}:/usr/bin:/bin"}
    return subprocess.run(command, env=environment, cwd=world.folder, capture_output=True, text=True, timeout=600)


def test_skypilot_reads_the_task_and_takes_the_command(world: World):
    values = {"PALGAN_SKY_ACCELERATORS": "tpu-v5litepod-16", "PALGAN_NODES": "2", "PALGAN_SPOT": "false"}
    (line,) = world.launch("sky.sh", "--dry-run", **values).stdout.splitlines()
    process = parsed(line, world)
    assert process.returncode == 0, process.stderr
    task = json.loads(process.stdout.splitlines()[-1])
    assert task["workdir"] == str(ROOT), "from whatever folder"
    assert task["envs"]["PALGAN_COMMAND"].startswith("env JAX_COMPILATION_CACHE_DIR=/mnt/palgan/runs/palgan/compiled ")
    assert (task["mount"], task["source"], task["mode"]) == ("/mnt/palgan", "gs://pictures", "MOUNT")
    assert (task["nodes"], task["gpus"], task["spot"]) == (2, "tpu-v5litepod-16", False)
    assert task["recovery"]["recover_on_exit_codes"] == [75] and task["recovery"]["max_restarts_on_errors"] == 3
    assert parsed(line.replace("--num-nodes", "--nodes"), world).returncode != 0


@pytest.mark.parametrize("action", ["--delete"])
def test_skypilot_takes_what_ends_a_job(world: World, action):
    (line,) = world.launch("sky.sh", "--dry-run", action).stdout.splitlines()
    assert parsed(line, world).returncode == 0
