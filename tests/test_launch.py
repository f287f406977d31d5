"""The launchers, with programs of a cloud or a cluster that write down how they were called and do what a test says."""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import yaml

from palgan_jax.config import duration_in_steps, load_config
from palgan_jax.training.command import add_arguments
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
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60)

    def launch(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        return self.run(script, *arguments, **NEEDED[script] | variables)

    @property
    def calls(self) -> list[list[str]]:
        path = Path(self.variables["CALLS"])
        calls = path.read_text().split("\n\0")[:-1] if path.exists() else []
        return [call.split("\0")[:-1] for call in calls]

    def count(self, program: str, *words: str) -> int:
        return sum(call[0] == program and all(word in call for word in words) for call in self.calls)


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


# ------------------------------------------------------------------------------------------------------- all launchers


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
        (within,) = [word for word in words if "palgan_jax.main" in word]
        words = shlex.split(re.sub(r"^--(command|env)=(PALGAN_COMMAND=)?", "", within))
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


def test_configs_without_prepared_sets_get_no_folder_of_them(world):
    values = {"PALGAN_CONFIG": "tiny:runlocal", "PALGAN_TFDS_DIR": "none"}
    words = training_words(world.launch("sky.sh", "--dry-run", **values))
    assert words[-1] == "--distributed=on" and "tiny:runlocal" in words


def test_env_sh_and_the_launchers_know_the_same_values():
    known = set(re.findall(r"^: \"\$\{(PALGAN_\w+):=", (LAUNCH / "env.sh").read_text(), re.MULTILINE))
    scripts = [*LAUNCH.glob("*.sh"), LAUNCH / "jobset.yaml"]
    used = {name for path in scripts for name in re.findall(r"PALGAN_[A-Z_]+", path.read_text())}
    assert used - {"PALGAN_COMMAND"} == known  # sky.yaml's own
    read_me = (LAUNCH / "README.md").read_text()
    assert all(f"launch/{script}" in read_me for script in NEEDED)
    assert set(re.findall(r"PALGAN_[A-Z_]+", read_me)) <= known | {"PALGAN_JOIN_SECONDS"}  # the training's own


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


# ------------------------------------------------------------------------------------------------------------ TPU VMs

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


def test_a_tpu_vm_is_created_and_all_its_machines_train(cloud):
    cloud.lines("training", "finished")
    result = cloud.launch("tpu_vm.sh", "--", "--config.data.train=folder:it's a b")
    assert result.returncode == 0, result.stderr
    (create,) = [call for call in cloud.calls if "create" in call]
    assert {"--spot", "--accelerator-type=v5litepod-16", "--version=v2-alpha-tpuv5-lite"} <= set(create)
    assert {"--project=colors", "--zone=us-west4-a"} <= set(create)
    trainings = [call for call in cloud.calls if call[0] == "python"]
    assert len(trainings) == 2 and trainings[0] == trainings[1]
    assert trainings[0][-1] == "--config.data.train=folder:it's a b"
    mounts = [call for call in cloud.calls if call[0] == "gcsfuse"]
    assert len(mounts) == 2 and mounts[0][-2:] == ["pictures", "/mnt/palgan"]
    (installed,) = {" ".join(call) for call in cloud.calls if call[:2] == ["uv", "pip"]}
    assert all((ROOT / name).is_file() for name in re.findall(r"\S+\.txt", installed))
    assert (cloud.folder / "worker1/palgan_jax/launch/worker.sh").exists()
    assert "finished at step 12" in result.stderr and not cloud.count("gcloud", "delete")


@pytest.mark.parametrize(("end", "code"), [("stopped", 75), ("crashed", 1), ("refused", 2)])
def test_the_code_of_the_training_is_the_launchers(cloud, end, code):
    cloud.lines("vm", "READY")
    cloud.lines("training", end)
    assert cloud.launch("tpu_vm.sh", PALGAN_SPOT="false").returncode == code
    assert not cloud.count("gcloud", "create")


def losing(what: str, times: int) -> str:
    """The cloud, where the connection is lost when such a command comes, so many times."""
    lost = f'(($(cat "$HERE/lost" 2>/dev/null | wc -l) < {times}))'
    return f'if [[ "$*" == *"tpu-vm ssh"*"{what}"* ]] && {lost}; then echo >> "$HERE/lost"; exit 255; fi\n{CLOUD}'


def test_a_lost_connection_is_made_again_and_the_training_goes_on(cloud):
    cloud.program("gcloud", losing("worker.sh follow", 2))
    cloud.lines("vm", "READY")
    cloud.lines("training", "finished")
    result = cloud.launch("tpu_vm.sh")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("the connection was lost") == 2
    assert cloud.count("python") == 2  # once on each machine


def test_a_vm_that_is_taken_away_ends_with_a_code_of_its_own(cloud):
    cloud.program("gcloud", losing("worker.sh follow", 1))
    cloud.lines("vm", "READY", "PREEMPTED")
    cloud.lines("training", "finished")
    result = cloud.launch("tpu_vm.sh")
    assert result.returncode == 75 and "goes on from the last checkpoint" in result.stderr


def test_a_vm_that_never_answers_is_given_up(cloud):
    cloud.program("gcloud", losing("worker.sh follow", 100))
    cloud.lines("vm", "READY")
    cloud.lines("training", "finished")
    result = cloud.launch("tpu_vm.sh", PALGAN_ATTEMPTS="3")
    assert result.returncode == 75 and "cannot be reached" in result.stderr
    assert result.stderr.count("the connection was lost") == 3


def test_a_vm_that_was_stopped_by_hand_is_not_deleted(cloud):
    cloud.lines("vm", "STOPPED")
    result = cloud.launch("tpu_vm.sh")
    assert result.returncode == 2 and "start it with gcloud compute tpus tpu-vm start" in result.stderr
    assert not cloud.count("gcloud", "delete") and not cloud.count("gcloud", "create")


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED"])
def test_a_vm_that_was_taken_away_is_replaced(cloud, state):
    cloud.lines("vm", state)
    cloud.lines("training", "finished")
    assert cloud.launch("tpu_vm.sh").returncode == 0
    assert cloud.count("gcloud", "delete") == cloud.count("gcloud", "create") == 1


def test_a_vm_of_which_nothing_is_known_is_not_taken_for_gone(cloud):
    cloud.lines("vm", "UNAVAILABLE")
    result = cloud.launch("tpu_vm.sh")
    assert result.returncode == 1 and "UNAVAILABLE" in result.stderr
    assert not cloud.count("gcloud", "create") and not cloud.count("gcloud", "delete")
    cloud.program("gcloud", losing("worker.sh follow", 2))
    cloud.lines("vm", "READY", "UNAVAILABLE")
    cloud.lines("training", "finished")
    result = cloud.launch("tpu_vm.sh")
    assert result.returncode == 0 and result.stderr.count("the connection was lost") == 2
    cloud.program("gcloud", losing("worker.sh follow", 100))
    cloud.lines("vm", "READY", "UNAVAILABLE")
    result = cloud.launch("tpu_vm.sh", PALGAN_ATTEMPTS="2")
    assert result.returncode == 75 and "cannot be reached, and costs until --delete" in result.stderr
    assert "is gone" not in result.stderr


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def in_background(cloud: World) -> subprocess.Popen:
    """The launcher; what it says goes to the file `said`."""
    command = ["bash", str(LAUNCH / "tpu_vm.sh")]
    with (cloud.folder / "said").open("w") as said:
        return subprocess.Popen(command, env=cloud.variables | GOOGLE, stdout=said, stderr=said, cwd=cloud.folder)


def test_a_training_that_runs_is_followed_and_not_begun_twice(cloud):
    cloud.program("python", 'until [[ -e $HERE/enough ]]; do sleep 0.05; done; echo "finished at step 12"')
    cloud.lines("vm", "READY")
    first = in_background(cloud)
    wait_for(lambda: cloud.count("python") == 2)
    first.terminate()  # the person goes home
    first.wait()
    second = in_background(cloud)
    time.sleep(0.5)
    assert second.poll() is None
    (cloud.folder / "enough").touch()
    assert second.wait(timeout=20) == 0
    assert "finished at step 12" in (cloud.folder / "said").read_text()
    assert cloud.count("python") == 2 and cloud.count("uv", "pip") == 2


def test_a_training_can_be_stopped(cloud):
    cloud.program("python", 'trap "echo saved; exit 75" TERM; echo begun; while true; do sleep 0.05; done')
    cloud.lines("vm", "READY")
    process = in_background(cloud)
    logs = [cloud.folder / machine / "palgan_run/log" for machine in ("worker0", "worker1")]
    wait_for(lambda: all(log.exists() and log.read_text() for log in logs))
    assert cloud.launch("tpu_vm.sh", "--stop").returncode == 0
    assert process.wait(timeout=20) == 75
    assert "saved" in (cloud.folder / "said").read_text().splitlines()


@pytest.mark.parametrize("state", ["NOT_FOUND", "PREEMPTED"])
def test_an_existing_vm_is_never_created(cloud, state):
    cloud.lines("vm", state)
    assert cloud.launch("tpu_vm.sh", "--existing").returncode == 75
    assert not cloud.count("gcloud", "create") and not cloud.count("gcloud", "delete")


def test_a_preempted_vm_is_deleted_and_another_created(cloud):
    cloud.lines("vm", "PREEMPTED")
    cloud.lines("training", "finished")
    assert cloud.launch("tpu_vm.sh").returncode == 0
    assert [call[4] for call in cloud.calls if call[0] == "gcloud"][:3] == ["describe", "delete", "create"]
    cloud.lines("vm", "CREATING")
    assert cloud.launch("tpu_vm.sh").returncode == 2


# ---------------------------------------------------------------------------------------------------- queued resources


def queue_calls(world: World) -> list[str]:
    calls = [call[4] for call in world.calls if call[:4] == ["gcloud", "compute", "tpus", "queued-resources"]]
    return [name for name in calls if name != "describe"]


def test_a_queued_resource_is_made_anew_until_the_training_has_finished(cloud):
    """Stopped once with the TPUs still there, then preempted in the middle, then finished."""
    before = ["NOT_FOUND", "ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
    cloud.lines("queue", *before, "ACTIVE", "SUSPENDING", "SUSPENDED", "DELETING", *before)
    cloud.lines("training", "stopped", "stopped", "crashed", "crashed", "finished", "finished")
    result = cloud.launch("queued_resource.sh", "--", "--config.batch_size=256", PALGAN_VALID_UNTIL="6h")
    assert result.returncode == 0, result.stderr
    assert queue_calls(cloud) == ["create", "delete", "create", "delete"]
    create = next(call for call in cloud.calls if "create" in call)
    assert {"--node-id=palgan", "--spot", "--valid-until-duration=6h"} <= set(create)
    assert "--runtime-version=v2-alpha-tpuv5-lite" in create and "--accelerator-type=v5litepod-16" in create
    assert "attempt 1 of 50 ended with 75" in result.stderr and "attempt 2 of 50 ended with 1" in result.stderr
    assert "finished after 3 attempt(s)" in result.stderr
    trainings = [call for call in cloud.calls if call[0] == "python"]
    # Two machines, three attempts; where one ends, the other may be stopped before it has begun. The same --workdir.
    assert 3 <= len(trainings) <= 6 and all(call == trainings[0] for call in trainings)
    assert not cloud.count("gcloud", "tpu-vm", "create")


def test_attempts_come_to_an_end(cloud):
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", "crashed")
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3")
    assert result.returncode == 1 and "gave up after 3 attempts" in result.stderr
    assert 3 <= cloud.count("python") <= 6 and queue_calls(cloud) == ["delete"]


def test_tpus_that_are_refused_count_as_attempts(cloud):
    cloud.lines("queue", "FAILED", "NOT_FOUND", "FAILED", "NOT_FOUND", "FAILED")
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3", PALGAN_SPOT="false")
    assert result.returncode == 1
    assert queue_calls(cloud) == ["delete", "create", "delete", "create", "delete", "delete"]
    assert not cloud.count("gcloud", "--spot") and not cloud.count("python")


def test_bad_input_is_not_tried_again(cloud):
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", "refused")
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 2 and "palgan: error: that is no config." in result.stderr
    assert cloud.count("python") == 2 and queue_calls(cloud) == ["delete"]


def test_machines_that_cannot_be_made_ready_are_no_bad_input(cloud):
    """uv ends with 2 where the network fails, as the training does for bad input."""
    cloud.program("uv", '[[ $1 != pip || -e $HERE/network ]] || { touch "$HERE/network"; exit 2; }')
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", "finished")
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 0 and "attempt 1 of 50 ended with 1" in result.stderr
    assert "were not made ready" in result.stderr and cloud.count("python") == 2


def test_nothing_is_made_or_deleted_while_the_cloud_does_not_answer(cloud):
    cloud.lines("queue", "UNAVAILABLE")
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3")
    assert result.returncode == 2 and "UNAVAILABLE" in result.stderr and queue_calls(cloud) == []
    assert "it costs until --delete." in result.stderr
    cloud.lines("queue", "UNAVAILABLE", "UNAVAILABLE", "ACTIVE")
    cloud.lines("training", "finished")
    assert cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="3").returncode == 0
    assert queue_calls(cloud) == ["delete"]


def test_a_resource_that_cannot_be_queued_ends_the_launcher(cloud):
    cloud.lines("queue", "NOT_FOUND")
    cloud.program("gcloud", 'if [[ "$*" == *create* ]]; then echo INVALID_ARGUMENT >&2; exit 1; fi\n' + CLOUD)
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 2 and "gcloud refused to queue palgan" in result.stderr
    assert queue_calls(cloud) == ["create"]


def test_a_resource_that_is_refused_once_it_had_been_there_is_asked_for_again(cloud):
    refused = '{ echo >> "$HERE/refused"; echo UNAVAILABLE >&2; exit 1; }'
    first = 'if [[ "$*" == *create* ]]; then [[ -e $HERE/refused ]] || ' + refused + "; fi\n"
    cloud.program("gcloud", first + CLOUD)
    cloud.lines("queue", "SUSPENDED", "NOT_FOUND", "NOT_FOUND", "ACTIVE")
    cloud.lines("training", "finished")
    result = cloud.launch("queued_resource.sh")
    assert result.returncode == 0 and "attempt 1 of 50 ended with 1" in result.stderr
    assert queue_calls(cloud) == ["delete", "create", "create", "delete"]


@pytest.mark.parametrize(
    ("end", "code", "said"), [("finished", 0, "finished"), ("refused", 2, "refused"), ("crashed", 1, "gave up")]
)
def test_a_resource_that_is_left_over_is_told(cloud, end, code, said):
    cloud.program("gcloud", 'if [[ "$*" == *delete* ]]; then exit 1; fi\n' + CLOUD)
    cloud.lines("queue", "ACTIVE")
    cloud.lines("training", end)
    result = cloud.launch("queued_resource.sh", PALGAN_ATTEMPTS="1")
    assert result.returncode == code and said in result.stderr.splitlines()[-1]
    assert "palgan was not deleted and costs on: launch/queued_resource.sh --delete." in result.stderr


# --------------------------------------------------------------------------------------------------------- xpk and GKE


def test_xpk_is_told_to_begin_again_and_its_verdict_is_the_launchers(world):
    world.program("xpk", "[[ $2 != list ]] || exit 125")
    assert world.launch("xpk.sh").returncode == 125
    create, wait = world.calls
    assert create[:3] == ["xpk", "workload", "create"] and "--wait-for-job-completion=palgan" in wait
    assert {"--max-restarts=50", "--num-slices=1", "--tpu-type=v5litepod-16", "--storage=palgan"} <= set(create)
    assert {"--workload=palgan", "--cluster=tpus", "--docker-image=registry/palgan:1"} <= set(create)
    assert world.launch("xpk.sh", "--attach").returncode == world.launch("xpk.sh", "--delete").returncode == 0
    attach, delete = world.calls[2:]
    assert {"attach", "--bucket=pictures", "--mount-point=/mnt/palgan", "--readonly=false"} <= set(attach)
    assert delete[1:4] == ["workload", "delete", "--workload=palgan"]


KUBERNETES = """case "$1" in
  get)
    state=$(next "$HERE/conditions")
    if [[ $state != absent ]]; then [[ $* != *"{.metadata.name} "* ]] || printf 'palgan '; echo "$state"; fi ;;
  apply) cat >> "$HERE/applied" ;;
esac
"""


@pytest.mark.parametrize(
    ("conditions", "code", "verbs"),
    [
        (["absent", "", "StartupPolicyCompleted", "StartupPolicyCompleted Completed"], 0, ["apply"]),
        (["Failed", "", "Failed"], 1, ["delete", "apply"]),  # of another day, then of this
        (["Completed", "", "Completed"], 0, ["delete", "apply"]),
        (["Suspended", "Suspended", "", "Completed"], 0, ["apply"]),  # still there: followed
        (["absent", "", "absent"], 1, ["apply"]),  # deleted from elsewhere
    ],
)
def test_a_jobset_is_applied_and_followed_until_it_ends(world, conditions, code, verbs):
    world.program("kubectl", KUBERNETES)
    world.lines("conditions", *conditions)
    result = world.launch("gke_jobset.sh")
    assert result.returncode == code, result.stderr
    assert [call[1] for call in world.calls if call[1] != "get"] == verbs
    rendered = world.launch("gke_jobset.sh", "--render").stdout
    assert (world.folder / "applied").read_text() == rendered


SCHEMAS = json.loads((ROOT / "tests/golden/launch_schemas.json").read_text())


def checked(document: dict, schema: str) -> None:
    jsonschema.Draft202012Validator(SCHEMAS[schema]).validate(document)


def jobset(world: World, **variables: str) -> dict:
    text = world.launch("gke_jobset.sh", "--render", **variables).stdout
    assert "${" not in text
    return yaml.safe_load(text)


@pytest.mark.parametrize(
    ("topology", "chips", "hosts"), [("4x4", "4", 4), ("2x4", "8", 1), ("2x2x4", "4", 4), ("16x16", "4", 64)]
)
def test_the_jobset_is_one_by_its_schema(world, topology, chips, hosts):
    values = {"PALGAN_GKE_TOPOLOGY": topology, "PALGAN_GKE_CHIPS_PER_HOST": chips, "PALGAN_ATTEMPTS": "7"}
    document = jobset(world, **values)
    checked(document, "jobset")
    job = document["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["parallelism"] == job["completions"] == hosts and job["backoffLimit"] == 0
    assert document["spec"]["failurePolicy"]["maxRestarts"] == 7
    pod = job["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"] == topology
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": int(chips)}
    assert job["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "pictures"


def test_the_schema_of_the_jobset_refuses_what_is_misspelled(world):
    for path, value in [
        (("spec", "failurePolicy", "maxRestart"), 3),
        (("spec", "failurePolicy", "maxRestarts"), "3"),
        (("spec", "replicatedJobs", 0, "template", "spec", "podFailurePolicy", "rules", 0, "action"), "Fail"),
        (("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "containers", 0, "cmd"), []),
        (("spec", "replicatedJobs", 0, "template", "spec", "template", "spec", "volumes", 0, "csi", "bucket"), "b"),
    ]:
        document = place = jobset(world)
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            checked(document, "jobset")


@pytest.mark.parametrize("values", [{"PALGAN_GKE_TOPOLOGY": "big"}, {"PALGAN_GKE_TOPOLOGY": "3x3"}])
def test_slices_that_cannot_be_are_refused(world, values):
    result = world.launch("gke_jobset.sh", **values)
    assert result.returncode == 2 and result.stderr.startswith("launch: ") and world.calls == []


# --------------------------------------------------------------------------------------------------------------- SLURM

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


def test_a_slurm_job_is_queued_again_until_it_has_finished(slurm):
    slurm.lines("training", "stopped", "crashed", "finished")
    result = slurm.launch("slurm.sh", PALGAN_NODES="2", PALGAN_PARTITION="gpu")
    assert result.returncode == 0, result.stderr
    submit = slurm.calls[0]
    assert {"--nodes=2", "--ntasks-per-node=8", "--gpus-per-node=8", "--partition=gpu"} <= set(submit)
    assert not any(word.startswith("--account") for word in submit)
    assert [call[1:] for call in slurm.calls if call[0] == "scontrol"] == [["requeue", "7"]] * 2
    trainings = [call for call in slurm.calls if call[0] == "python"]
    assert len(trainings) == 3 and all(call == trainings[0] for call in trainings)
    assert f"{slurm.folder}/runs/palgan" in trainings[0]
    assert "finished after 3 turn(s)" in result.stdout


@pytest.mark.parametrize(("end", "code", "turns"), [("refused", 2, 1), ("stopped", 75, 3)])
def test_a_slurm_job_gives_up(slurm, end, code, turns):
    slurm.lines("training", end)
    result = slurm.launch("slurm.sh", PALGAN_ATTEMPTS="2")
    assert result.returncode == code and slurm.count("python") == turns
    assert slurm.count("scontrol") == turns - 1


def test_a_slurm_job_asks_for_sigterm_before_its_time_is_up(slurm):
    options = re.findall(r"^#SBATCH (\S+)$", (LAUNCH / "slurm.sbatch").read_text(), re.MULTILINE)
    assert {"--requeue", "--signal=TERM@120"} <= set(options)
    result = slurm.launch("slurm.sh", PALGAN_MOUNT="/nowhere/at/all")
    assert result.returncode == 2 and "PALGAN_MOUNT=/nowhere/at/all is no folder here" in result.stderr


# ------------------------------------------------------------------------------------------------------------ SkyPilot


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
    assert {"--gpus=H100:8", "--num-nodes=2", "--no-use-spot", "--name=palgan"} <= set(call)
    given = {word.split("=")[1] for word in call if word.startswith("--env=")}
    assert given == set(sky_yaml()["envs"])


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


# ------------------------------------------------------------------------------------------------------ what is written


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
    result = subprocess.run(command, input=sky_yaml()[part], capture_output=True, text=True)
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
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert not set(ignored) & set(sources)


def test_each_image_runs_as_a_person_without_rights():
    """Stage -> its instructions. The default, the last stage, is the training; what builds a stage is not run."""
    text = (LAUNCH / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS (\w+)$(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(stages) == ["built", "colorize", "train"]
    users = {name: re.findall(r"^USER (.*)$", stages[name], re.MULTILINE) for name in ("colorize", "train")}
    assert users == {"colorize": ["1000"], "train": ["$RUN_AS"]} and "ARG RUN_AS=palgan\n" in stages["train"]
    assert re.findall(r"\.whl\)\[(.*?)\]", stages["built"]) == ["web"], "the light image has no JAX"
    assert all("ENTRYPOINT [" in stages[name] for name in users)
