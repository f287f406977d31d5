"""The files of launch/ themselves: linters, rights, the Dockerfile."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.launch_world import LAUNCH
from tests.support.places import ROOT


def tool(name: str) -> str:
    """A program that a package of the extra dev puts beside Python."""
    return str(Path(sys.executable).parent / name)


def test_shellcheck_finds_nothing():
    scripts = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
    assert len(scripts) >= 10
    command = [tool("shellcheck"), "--external-sources", "--shell=bash", *map(str, scripts)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("part", ["setup", "run"])
def test_shellcheck_finds_nothing_in_the_sky_task(part):
    # SC2155: that a variable is exported where it is set hides no code that matters.
    command = [tool("shellcheck"), "--shell=bash", "--exclude=SC2155", "-"]
    result = subprocess.run(
        command, input=yaml.safe_load((LAUNCH / "sky.yaml").read_text())[part], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_scripts_can_be_executed():
    sourced = {"env.sh", "lib.sh"}
    assert all(os.access(path, os.X_OK) for path in LAUNCH.glob("*.sh") if path.name not in sourced)


def test_the_dockerfile_is_sound():
    result = subprocess.run([tool("hadolint"), str(LAUNCH / "Dockerfile")], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    text = (LAUNCH / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from=)(.*)$", text, re.MULTILINE)
    sources = [word for line in copied for word in line.split()[:-1]]
    assert len(sources) >= 8 and all(list(ROOT.glob(source)) for source in sources)
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert not set(patterns) & set(sources)


def test_each_image_runs_as_a_person_without_rights():
    """Stage -> its instructions. The default, the last stage, is the training; what builds a stage is not run."""
    text = (LAUNCH / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)$(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(stages) == ["built", "colorize", "train"]
    users = {name: re.findall(r"^USER (.*)$", stages[name], re.MULTILINE) for name in ("colorize", "train")}
    assert users == {"colorize": ["1000"], "train": ["$RUN_AS"]} and "ARG RUN_AS=palgan\n" in stages["train"]
    assert re.findall(r"\.whl\)\[(.*?)\]", stages["built"]) == ["web"], "the light image has no JAX"
    assert all("ENTRYPOINT [" in stages[name] for name in users)
