"""All launchers: their arguments, what is refused, and the training command that they give."""

import argparse
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from palgan_jax.config import duration_in_steps, load_config
from palgan_jax.training.command import add_arguments
from tests.support.launch_world import LAUNCH, NEEDED, PROGRAM, PROGRAMS, World
from tests.support.places import ROOT


@pytest.mark.parametrize("script", NEEDED)
def test_a_dry_run_shows_the_commands_and_runs_none(world, script):
    result = world.launch(script, "--dry-run", "--", "--config.data.train=folder:a b")
    assert result.returncode == 0, result.stderr
    assert world.calls == []
    commands = [shlex.split(line) for line in result.stdout.splitlines()]
    assert {command[0] for command in commands} <= set(PROGRAMS)
    assert PROGRAM[script] in {command[0] for command in commands}


@pytest.mark.parametrize("script", NEEDED)
def test_help_says_how_to_call_it(world, script):
    result = world.run(script, "--help")
    assert result.returncode == 0 and result.stderr == "" and world.calls == []
    assert f"launch/{script} [--dry-run]" in result.stdout
    for action in re.search(r'parse "(.*)" "\$@"', (LAUNCH / script).read_text())[1].split():
        assert f"--{action} " in result.stdout


@pytest.mark.parametrize(("script", "variable"), [(s, v) for s, variables in NEEDED.items() for v in variables])
def test_a_missing_value_is_named_in_one_sentence(world, script, variable):
    result = world.launch(script, **{variable: ""})
    assert result.returncode == 2 and result.stdout == "" and world.calls == []
    assert re.fullmatch(rf"launch: {variable} is not set: put [^\n]*\.\n", result.stderr)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"PALGAN_CONFIG": "configs/absent.py"}, "PALGAN_CONFIG=configs/absent.py is no file"),
        ({"PALGAN_CONFIG": "absent:runlocal"}, "PALGAN_CONFIG=absent:runlocal is no file"),
        ({"PALGAN_BUCKET": "gs://pictures"}, "PALGAN_BUCKET=gs://pictures has a gs:// too many"),
        ({"PALGAN_NAME": "My_run"}, "PALGAN_NAME=My_run is no name"),
        ({"PALGAN_NAME": "a" * 41}, "is no name"),
        ({"PALGAN_ATTEMPTS": "0"}, "PALGAN_ATTEMPTS=0 is no number above 0"),
        ({"PALGAN_SPOT": "yes"}, "PALGAN_SPOT=yes is neither true nor false"),
    ],
)
@pytest.mark.parametrize("script", ["tpu_vm.sh", "sky.sh"])
def test_values_that_cannot_be_meant_are_refused(world, script, value, said):
    result = world.launch(script, **value)
    assert (result.returncode, result.stdout, world.calls) == (2, "", [])
    assert result.stderr.startswith("launch: ") and said in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", NEEDED)
def test_unknown_arguments_and_absent_programs_are_told(world, script):
    for argument in ("--dryrun", "config.batch_size=1"):
        result = world.launch(script, argument)
        assert result.returncode == 2 and f"{argument} is not an option of {script}" in result.stderr
    (world.bin / PROGRAM[script]).unlink()
    result = world.launch(script, PATH=f"{world.bin}:{only_basics(world)}")
    assert result.returncode == 2 and f"{PROGRAM[script]} is not installed here: see https://" in result.stderr


def only_basics(world: World) -> Path:
    """A folder with bash and what lib.sh calls, where the machine of the tests may have the program itself."""
    folder = world.folder / "basics"
    folder.mkdir(exist_ok=True)
    for name in ("bash", "dirname", "sed"):
        (folder / name).symlink_to(shutil.which(name))
    return folder


def training_words(result: subprocess.CompletedProcess) -> list[str]:
    """The words of the training command in what a launcher shows, however often it was quoted."""
    if result.stdout.startswith(("apiVersion", "#")):
        template = yaml.safe_load(result.stdout)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
        return template["spec"]["containers"][0]["command"]
    (line,) = [line for line in result.stdout.splitlines() if "palgan_jax.main" in line]
    words = shlex.split(line)
    while "palgan_jax.main" not in words:
        (command,) = [word for word in words if "palgan_jax.main" in word]
        words = shlex.split(re.sub(r"^--(command|env)=(PALGAN_COMMAND=)?", "", command))
    return words[words.index("env") :]


@pytest.mark.parametrize("script", NEEDED)
def test_the_training_command_is_one_that_palgan_takes(world, script):
    more = ["--config.batch_size=256", '--config.data.val=folder:it\'s "a\\b" & c']
    arguments = ["--render" if script == "gke_jobset.sh" else "--dry-run", "--", *more]
    words = training_words(world.launch(script, *arguments, PALGAN_NAME="second"))
    assert words[:2] == ["env", "JAX_COMPILATION_CACHE_DIR=/mnt/palgan/runs/second/compiled"]
    words = words[2:]
    assert words[1:3] == ["-m", "palgan_jax.main"]
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    args, rest = parser.parse_known_args(words[3:])
    assert (args.distributed, args.workdir) == ("on", "/mnt/palgan/runs/second")
    assert all(re.match(r"--config\.[\w.]+=", word) for word in rest)
    config = load_config(args.config, [word.removeprefix("--config.") for word in rest])
    assert config.batch_size == 256 and config.data.val == more[1].partition("=")[2]
    prepared = "/mnt/palgan" if script == "slurm.sh" else "gs://pictures"
    assert config.data.tfds_dir == f"{prepared}/tensorflow_datasets"


def test_compiled_programs_stay_on_the_disk_of_a_run_in_a_bucket(world):
    words = training_words(world.launch("sky.sh", "--dry-run", PALGAN_WORKDIR="gs://pictures/runs/x"))
    assert not any("JAX_COMPILATION_CACHE_DIR" in word for word in words)
    assert words[words.index("--workdir") + 1] == "gs://pictures/runs/x"


def test_configs_without_prepared_sets_get_no_folder_of_them(world):
    values = {"PALGAN_CONFIG": "tiny:runlocal", "PALGAN_TFDS_DIR": "none"}
    words = training_words(world.launch("sky.sh", "--dry-run", **values))
    assert words[-1] == "--distributed=on" and "tiny:runlocal" in words


def test_env_sh_and_the_launchers_know_the_same_values():
    known_variables = set(re.findall(r"^: \"\$\{(PALGAN_\w+):=", (LAUNCH / "env.sh").read_text(), re.MULTILINE))
    scripts = [*LAUNCH.glob("*.sh"), LAUNCH / "jobset.yaml"]
    used_variables = {name for path in scripts for name in re.findall(r"PALGAN_[A-Z_]+", path.read_text())}
    assert used_variables - {"PALGAN_COMMAND"} == known_variables  # sky.yaml's own
    read_me = (LAUNCH / "README.md").read_text()
    assert all(f"launch/{script}" in read_me for script in NEEDED)
    assert set(re.findall(r"PALGAN_[A-Z_]+", read_me)) <= known_variables | {
        "PALGAN_JOIN_SECONDS"
    }  # the training's own


def test_the_arithmetic_of_the_imagenet_run_is_right():
    config = load_config(str(ROOT / "configs/imagenet256.py"))
    rows = re.findall(r"^\| v5e:(\d+)x(\d+) \|(.*)\|$", (LAUNCH / "README.md").read_text(), re.MULTILINE)
    assert len(rows) >= 3
    for x, y, cells in rows:
        chips, images, batch, steps, rate, hours, chip_hours = (float(c.replace(",", "")) for c in cells.split("|"))
        assert (chips, batch) == (int(x) * int(y), chips * images)
        assert hours == pytest.approx(steps * batch / (rate * chips) / 3600, abs=0.005)
        assert chip_hours == pytest.approx(steps * batch / rate / 3600, abs=0.5)
        assert steps == duration_in_steps(config.total, "total", batch_size=batch, epoch_examples=1_281_167)


def test_buckets_are_mounted_alike_everywhere():
    """A folder of a bucket can be renamed, and nothing is remembered about its files."""
    worker = (LAUNCH / "worker.sh").read_text()
    for flag in ("--implicit-dirs", "--rename-dir-limit=200000", "--metadata-cache-ttl-secs=0"):
        assert flag in worker
    option = "implicit-dirs,rename-dir-limit=200000,metadata-cache:ttl-secs:0,metadata-cache:negative-ttl-secs:0"
    assert f"mountOptions: {option}\n" in (LAUNCH / "jobset.yaml").read_text()
    assert f"--mount-options={option}\n" in (LAUNCH / "xpk.sh").read_text()
