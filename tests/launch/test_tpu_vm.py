"""The launcher on TPU VMs, with a cloud of two machines that are folders."""

import re
import subprocess

import pytest

from tests.support.launch_world import CLOUD, GOOGLE, LAUNCH, World
from tests.support.places import ROOT
from tests.support.waiting import wait_for


def losing(command: str, times: int) -> str:
    """The cloud, where the connection is lost when such a command comes, so many times."""
    lost = f'(($(cat "$HERE/lost" 2>/dev/null | wc -l) < {times}))'
    return f'if [[ "$*" == *"tpu-vm ssh"*"{command}"* ]] && {lost}; then echo >> "$HERE/lost"; exit 255; fi\n{CLOUD}'


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


def in_background(cloud: World) -> subprocess.Popen:
    """The launcher; what it says goes to the file `said`."""
    command = ["bash", str(LAUNCH / "tpu_vm.sh")]
    with (cloud.folder / "said").open("w") as file:
        return subprocess.Popen(command, env=cloud.variables | GOOGLE, stdout=file, stderr=file, cwd=cloud.folder)


def test_a_training_that_runs_is_followed_and_not_begun_twice(cloud):
    cloud.program("python", 'until [[ -e $HERE/enough ]]; do sleep 0.05; done; echo "finished at step 12"')
    cloud.lines("vm", "READY")
    first = in_background(cloud)
    follow = "--command=bash palgan_jax/launch/worker.sh follow"
    wait_for(lambda: cloud.count("gcloud", follow) == 1)
    first.terminate()  # the person goes home
    first.wait()
    second = in_background(cloud)
    wait_for(lambda: cloud.count("gcloud", follow) == 2)
    assert second.poll() is None
    (cloud.folder / "enough").touch()
    assert second.wait(timeout=300) == 0
    assert "finished at step 12" in (cloud.folder / "said").read_text()
    assert cloud.count("python") == 2 and cloud.count("uv", "pip") == 2


def test_a_training_can_be_stopped(cloud):
    cloud.program("python", 'trap "echo saved; exit 75" TERM; echo begun; while true; do sleep 0.05; done')
    cloud.lines("vm", "READY")
    process = in_background(cloud)
    logs = [cloud.folder / machine / "palgan_run/log" for machine in ("worker0", "worker1")]
    wait_for(lambda: all(log.exists() and log.read_text() for log in logs))
    assert cloud.launch("tpu_vm.sh", "--stop").returncode == 0
    assert process.wait(timeout=300) == 75
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
