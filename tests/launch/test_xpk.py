"""The launcher on clusters of xpk with the real xpk, which shows the JobSet that it would apply."""

import re
import shlex
import signal
import subprocess
import sys

import pytest
import yaml

from tests.support.launch_tools import ENVIRONMENT, find, needs
from tests.support.launch_world import LAUNCH, World

pytestmark = needs("xpk")
PARSE = """
import argparse, sys
from xpk.parser.core import set_parser
parser = argparse.ArgumentParser(prog="xpk")
set_parser(parser=parser)
parser.parse_args()
"""
TRAINING = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(75)))
print("begun", *sys.argv[1:], flush=True)
while True: time.sleep(0.05)
"""


def parsed(line: str) -> subprocess.CompletedProcess:
    command = [str(ENVIRONMENT / "python"), "-c", PARSE, *shlex.split(line)[1:]]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("action", [[], ["--attach"], ["--delete"]])
def test_xpk_takes_what_it_is_given(world: World, action):
    for line in world.launch("xpk.sh", "--dry-run", *action).stdout.splitlines():
        process = parsed(line)
        assert process.returncode == 0, process.stderr
    assert parsed(f"{line} --mistake=1").returncode == 2


def test_xpk_takes_the_command_of_the_documents():
    (command,) = re.findall(r"`(xpk [^`]*)`", (LAUNCH / "README.md").read_text())
    assert "cluster create" in command and parsed(command).returncode == 0, command


@pytest.fixture
def manifest(world: World) -> dict:
    """The JobSet that xpk makes of the launcher's command."""
    line = world.launch("xpk.sh", "--dry-run", "--", "--config.data.train=folder:it's a b").stdout.splitlines()[0]
    command = [find("xpk"), *shlex.split(line)[1:], "--dry-run", "--skip-validation"]
    environment = {"HOME": str(world.home), "PATH": f"{ENVIRONMENT}:/usr/bin:/bin"}
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stdout + process.stderr
    text = re.search(r"^apiVersion: jobset.*?(?=^\[XPK\])", process.stdout, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(text[0])


def test_the_jobset_of_xpk_begins_again_but_for_bad_input(manifest):
    spec = manifest["spec"]
    assert spec["failurePolicy"]["maxRestarts"] == 50
    assert spec["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] == 4 and job["backoffLimit"] == 0
    (rule,) = job["podFailurePolicy"]["rules"]
    codes = rule["onExitCodes"]
    assert (rule["action"], codes["operator"]) == ("FailJob", "NotIn"), "which the JobSet fails for at once"
    assert {1, 75, 134, 137} <= set(codes["values"]) and 2 not in codes["values"]
    assert job["template"]["spec"]["terminationGracePeriodSeconds"] == 300


def test_the_container_of_xpk_passes_signals_arguments_and_the_code_on(manifest, world):
    (container,) = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]["containers"]
    world.program("python", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(TRAINING)} "$@"')
    process = subprocess.Popen(container["command"], env=world.variables, stdout=subprocess.PIPE, text=True)
    first = next(line for line in process.stdout if line.startswith("begun"))
    assert first.endswith("--config.data.train=folder:it's a b\n")
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=600)[0]
    assert process.returncode == 75 and "saved" in rest.splitlines()
